"""How often does ``bench compare --costs`` tell two stores apart that hold the very same runs?

Makes pairs of stores of one small grid (k-means on the synthetic data set, five seeds) on this machine, as it is:

    python benchmarks/aa_costs.py FOLDER [--pairs 40]

* one sitting a store: the five seeds of A one after the other, then those of B, as two calls of ``bench run`` do it,
* five sittings a store that take turns: seed 0 of A and B, seed 1 of B and A, and so on, each launched by itself.

Prints a Markdown table: the share of pairs in which a cost of B is called better or worse, by pairing seeds as scores
are paired, and as ``compare`` does it. Pairs that are in FOLDER already are not made again, so that a stopped
experiment goes on. Features are extracted once, for all stores.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from spectral_bench.bench.cli.launch import write_job
from spectral_bench.bench.executors.jobs import Job
from spectral_bench.bench.executors.local import PRELOAD
from spectral_bench.bench.grid.load import load_grid
from spectral_bench.bench.plan.build import make_plan
from spectral_bench.bench.plan.states import plan_orders
from spectral_bench.bench.plan.today import CurrentData
from spectral_bench.bench.work import worker
from spectral_bench.bench.work.order import Execution, begin_sitting
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.reports.collect import collect
from spectral_bench.reports.compare import compare_entries
from spectral_bench.reports.compare.cells import Comparison
from spectral_bench.reports.costs import RunCost, run_cost
from spectral_bench.results.comparison import LEVEL
from spectral_bench.results.statistics import holm, paired_difference
from spectral_bench.results.store import Store

GRID = """\
name: aa
protocols: [whole]
defaults: {dataset: synthetic, backbone: efficientnet_lite0, seeds: [0, 1, 2, 3, 4]}
runs: [{method: kmeans, params: {k: 8}}]
"""
COSTS: dict[str, Callable[[RunCost], float | None]] = {
    "fit_s": lambda cost: cost.fit_s,
    "evaluation_s": lambda cost: cost.evaluation_s,
    "peak_rss_bytes": lambda cost: cost.peak_rss,
}
DESIGNS = ("one sitting a store", "five sittings a store, taking turns")


class Maker:
    """Makes stores of the grid below one folder, each run in a fork of this process, like a fork server's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "aa.yaml").write_text(GRID)
        for module in PRELOAD:
            importlib.import_module(module)
        self._fork = multiprocessing.get_context("fork")
        self._features = folder / "first" / "features"
        shutil.rmtree(folder / "first" / "records", ignore_errors=True)
        for job in self.jobs("first")[:1]:
            worker.main(job.order_path)  # in this process: what it keeps, such as counts of operations, all forks have

    def jobs(self, name: str) -> list[Job]:
        """The jobs of a fresh store, one a seed."""
        store = Store.open(self.folder / name, create=True)
        shared = store.path / "features"
        if self._features.exists() and not shared.exists():
            shared.symlink_to(self._features.absolute())
        plan = make_plan(load_grid(self.folder / "aa.yaml"), store, store.path, data=CurrentData(DataRoots()))
        store.write_manifest(plan.manifest)
        execution = Execution(device="cpu", threads=1, workers=1, executor="local")
        return [write_job(order, store) for order in plan_orders(plan, execution, ())]

    def sitting(self, jobs: Iterable[Job]) -> None:
        """Carry out jobs one after the other, as one launch."""
        self._wait_for(self._launch, list(jobs))

    def _launch(self, jobs: list[Job]) -> None:
        begin_sitting()
        for job in jobs:
            self._wait_for(worker.main, job.order_path)

    def _wait_for(self, what: Callable[..., object], *arguments: object) -> None:
        process = self._fork.Process(target=what, args=arguments)
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"a run of {self.folder} failed")


def make_pair(maker: Maker, design: str, name: str) -> tuple[Path, Path]:
    """Two stores of the very same runs."""
    a, b = (maker.folder / name / side for side in "ab")
    if (maker.folder / name / "made").exists():
        return a, b
    shutil.rmtree(maker.folder / name, ignore_errors=True)  # half of a pair, of an experiment that was stopped
    jobs = [maker.jobs(f"{name}/{side}") for side in "ab"]
    if design == DESIGNS[0]:
        for side in jobs:
            maker.sitting(side)
    else:
        for number, pair in enumerate(zip(*jobs, strict=True)):
            for job in pair if number % 2 == 0 else reversed(pair):
                maker.sitting([job])
    (maker.folder / name / "made").touch()
    return a, b


def compared(a: Path, b: Path) -> Comparison:
    return compare_entries(collect(Store.open(a)), collect(Store.open(b)), costs=True)


def claims(found: Comparison) -> set[str]:
    """The costs that are called better or worse."""
    return {cell.metric for cell in found.differences if cell.metric in COSTS and cell.word in ("better", "worse")}


def claims_by_seed(found: Comparison) -> set[str]:
    """The costs whose differences paired by seed are significant, corrected over the costs."""
    p_values: dict[str, float] = {}
    for pair in found.pairs:
        for name, measure in COSTS.items():
            first, second = (
                {r.seed: v for r in row.done if (v := measure(run_cost(r))) is not None} for row in (pair.a, pair.b)
            )
            difference = paired_difference(first, second)
            if difference is not None and difference.p is not None:
                p_values[name] = difference.p
    return {name for name, p in holm(p_values).items() if p <= LEVEL}


def line(label: str, told: list[set[str]]) -> str:
    counts = [sum(name in found for found in told) for name in COSTS]
    rates = [100 * count / len(told) for count in (*counts, sum(map(bool, told)))]
    return f"| {label} | {' | '.join(f'{rate:.1f}' for rate in rates)} |\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path, help="where the stores are made")
    parser.add_argument("--pairs", type=int, default=40)
    arguments = parser.parse_args()
    maker = Maker(arguments.folder)
    found: dict[str, list[Comparison]] = {design: [] for design in DESIGNS}
    for number in range(arguments.pairs):
        for index, design in enumerate(DESIGNS):
            found[design].append(compared(*make_pair(maker, design, f"{index}-{number}")))
    out = sys.stdout.write
    out(f"| {arguments.pairs} A/A pairs: a claim in so many per cent | fit | evaluation | peak RSS | any |\n")
    out("|---|---:|---:|---:|---:|\n")
    for design, comparisons in found.items():
        out(line(f"{design}: differences paired by seed", [claims_by_seed(one) for one in comparisons]))
        out(line(f"{design}: as printed", [claims(one) for one in comparisons]))


if __name__ == "__main__":
    main()
