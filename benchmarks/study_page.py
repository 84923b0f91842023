"""Write the tables of docs/results.md from the study's capsule, so that no number on that page is typed.

    python benchmarks/study_page.py [--capsule results/study] [--page docs/results.md]

A table stands between ``<!-- study: PROTOCOL [PROTOCOL] -->`` and ``<!-- end of study -->``. Its rows are those of the
capsule's tables ``main`` and ``against`` under these protocols, and the CPU minutes of a fit from its records. Prints
what it changed.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from spectral_bench.results.record import BASE_STAGE, FitRecord
from spectral_bench.results.store import Store

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"(<!-- study: ([\w -]+) -->\n).*?(<!-- end of study -->)", re.DOTALL)
DECIDED = ("better", "worse")
NOTHING = "–"
Line = Mapping[str, str]


def rewritten(text: str, capsule: Path) -> str:
    """A page with each of its tables made anew from a capsule."""
    rows = {name: _rows(capsule / "report" / "tables" / f"{name}.csv") for name in ("main", "against")}
    store = Store.open(capsule)

    def table(found: re.Match[str]) -> str:
        return found[1] + "\n" + "\n".join(_table(found[2].split(), rows, store)) + "\n\n" + found[3]

    return BLOCK.sub(table, text)


def _rows(path: Path) -> dict[tuple[str, str], Line]:
    with path.open(encoding="utf-8", newline="") as lines:
        return {(line["protocol"], line["configuration"]): line for line in csv.DictReader(lines)}


def _table(protocols: Sequence[str], rows: Mapping[str, Mapping[tuple[str, str], Line]], store: Store) -> Iterator[str]:
    """A line for each configuration that the first protocol scores."""
    head = ["configuration", *(f"{name}: mIoU | Δ [95 %]" for name in protocols), "fit, CPU min"]
    yield f"| {' | '.join(head)} |"
    yield "|---" + "|---:" * (2 * len(protocols) + 1) + "|"
    for (protocol, title), line in rows["main"].items():
        if protocol != protocols[0]:
            continue
        cells = [f"{title} †" if line["uses_labels"] == "yes" else title]
        for name in protocols:
            cells += [_score(rows["main"].get((name, title))), _difference(rows["against"].get((name, title)))]
        cells.append(_cpu_minutes(line["runs"].split(), store))
        yield f"| {' | '.join(cells)} |"


def _score(line: Line | None) -> str:
    if line is None or not line["mIoU"]:
        return NOTHING
    spread = f" ± {float(line['mIoU_std']):.1f}" if line["mIoU_std"] else ""
    return f"{float(line['mIoU']):.1f}{spread}"


def _difference(line: Line | None) -> str:
    """The difference with its interval, in bold where the verdict of the table is better or worse."""
    if line is None or not line.get("mIoU_difference"):
        return NOTHING
    # Adding 0 turns a rounded -0 into 0.
    mean, low, high = (round(float(line[f"mIoU_difference{end}"]), 1) + 0.0 for end in ("", "_low", "_high"))
    text = f"{mean:+.1f} [{low:.1f}, {high:.1f}]" if mean else f"0.0 [{low:.1f}, {high:.1f}]"
    return f"**{text}**" if line["verdict"] in DECIDED else text


def _cpu_minutes(run_ids: Sequence[str], store: Store) -> str:
    """Of one fit alone, features left out: what a cohort computed once counts as if each run had computed it."""
    records = [record for name in run_ids if (record := store.fit_record(name)) is not None]
    minutes = fmean(_cpu_seconds(record) for record in records) / 60
    return f"{minutes:.1f}" if minutes >= 0.1 else f"{minutes:.2f}"


def _cpu_seconds(record: FitRecord) -> float:
    return sum(cost.cpu_s for cost in record.costs if cost.stage not in ("features", BASE_STAGE) and not cost.reused)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capsule", type=Path, default=ROOT / "results" / "study")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "results.md")
    given = parser.parse_args()
    before = given.page.read_text(encoding="utf-8")
    after = rewritten(before, given.capsule)
    given.page.write_text(after, encoding="utf-8")
    print("nothing to change" if after == before else f"{given.page}: tables made anew")  # noqa: T201


if __name__ == "__main__":
    main()
