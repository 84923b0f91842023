"""What part of a run's CPU time its health checks take, run by run: ``python benchmarks/health_share.py STORE``.

Features that are kept belong to no single run and are left out, as in tables; all else that the records of fit and
evaluations say is counted. Of the runs of one method that share a held-out graph the first to end has decomposed it
(``eigenspaces/`` of the store); those are marked. For example, from an empty store each::

    python -m bench run --grid ablations.yaml --threads 1 --out STORE
    python -m bench run --grid grids/camvid_spectral.yaml --data-root DIR --threads 1 --out STORE
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from spectral_bench.methods.health import HEALTH_STAGE
from spectral_bench.results.record import EvaluationRecord, FitRecord
from spectral_bench.results.store import Store

LEFT_OUT = ("features",)


def records(store: Store) -> Iterator[tuple[FitRecord, list[EvaluationRecord]]]:
    """Fit and evaluations of each finished run, in the order in which they ended."""
    found = []
    for folder in sorted((store.path / "records").iterdir()):
        fit = store.fit_record(folder.name)
        if fit is not None and fit.status != "failed":
            files = sorted((folder / "evaluations").glob("*.json"))
            looked = [store.evaluation_record(folder.name, file.stem) for file in files]
            found.append((fit, [one for one in looked if one is not None and one.status != "failed"]))
    yield from sorted(found, key=lambda run: run[0].finished)


def main(path: Path) -> None:
    shares: dict[str, list[float]] = defaultdict(list)
    for fit, looked in records(Store.open(path)):
        both: list[FitRecord | EvaluationRecord] = [fit, *looked]
        costs = [cost for record in both for cost in record.costs if cost.stage not in LEFT_OUT]
        whole, health = (sum(c.cpu_s for c in costs if names(c.stage)) for names in (bool, HEALTH_STAGE.__eq__))
        shares[fit.spec.method].append(health / whole)
        sys.stdout.write(f"{fit.run_id}: {health:6.2f} of {whole:7.2f} CPU s, {health / whole:6.1%}\n")
    for method, parts in shares.items():
        words = f"median {statistics.median(parts):.1%} [{min(parts):.1%}, {max(parts):.1%}] of {len(parts)} runs"
        sys.stdout.write(f"{method}: {words}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    main(parser.parse_args().store)
