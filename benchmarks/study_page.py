"""Write the tables of docs/results.md from the study's capsule, so that no number on that page is typed.

    python benchmarks/study_page.py [--capsule results/study] [--page docs/results.md]

A table stands between ``<!-- study: PROTOCOL [PROTOCOL] -->`` and ``<!-- end of study -->``. Its rows are those of the
capsule's tables ``main`` and ``against`` under these protocols, and the CPU minutes of a fit from its records. Between
``<!-- classes: PROTOCOL; ROW; OTHER ROW -->`` and ``<!-- end of classes -->`` stands the IoU of each class in two rows.
Prints what it changed.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from spectral_bench.reports.collect import collect
from spectral_bench.reports.rows import ScoredRow
from spectral_bench.results.record import BASE_STAGE, FitRecord
from spectral_bench.results.statistics import paired_difference
from spectral_bench.results.store import Store

ROOT = Path(__file__).parents[1]
CLASSES = re.compile(r"(<!-- classes: ([^>]+) -->\n).*?(<!-- end of classes -->)", re.DOTALL)
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

    def by_class(found: re.Match[str]) -> str:
        protocol, *titles = found[2].split("; ")
        entries = {entry.row.title: entry for entry in collect(store) if entry.protocol.name == protocol}
        first, second = (entries[title] for title in titles)
        return found[1] + "\n" + "\n".join(_classes(first, second, store)) + "\n\n" + found[3]

    return CLASSES.sub(by_class, BLOCK.sub(table, text))


def _classes(first: ScoredRow, second: ScoredRow, store: Store) -> Iterator[str]:
    """Each class, the rarest first: its share of the pixels, its IoU in two rows, and the second minus the first."""
    yield f"| class | pixels (%) | {first.row.title} | {second.row.title} | difference [95 %] |"
    yield "|---|---:|---:|---:|---:|"
    ious = [{one.seed: one.scores.iou for one in row.done if one.scores is not None} for row in (first, second)]
    shares = _shares(first, store)
    for place, name in sorted(enumerate(shares), key=lambda item: shares[item[1]]):
        values = [{seed: 100 * float(iou[place]) for seed, iou in row.items()} for row in ious]
        found = paired_difference(values[1], values[0])
        means = " | ".join(f"{fmean(own.values()):.1f}" for own in values)
        told = NOTHING if found is None else _interval(found.summary.mean, found.summary.low, found.summary.high)
        yield f"| {name} | {100 * shares[name]:.2f} | {means} | {told} |"


def _shares(row: ScoredRow, store: Store) -> dict[str, float]:
    """Class -> its part of the valid pixels that the row is evaluated on, in the order of the classes."""
    evaluation, table = row.done[0].evaluation, row.class_table
    if evaluation is None or table is None:
        raise SystemExit(f"{row.row.title}: no evaluation with classes")
    by_label = store.contingency(evaluation.run_id, evaluation.view_id).matrix().sum(axis=0)
    counts = [int(by_label[ids].sum()) for ids in table.raw_ids]
    return {name: count / sum(counts) for name, count in zip(table.classes, counts, strict=True)}


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
    text = _interval(*(float(line[f"mIoU_difference{end}"]) for end in ("", "_low", "_high")))
    return f"**{text}**" if line["verdict"] in DECIDED else text


def _interval(mean: float, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"{mean:+.1f}"
    mean, low, high = (round(one, 1) + 0.0 for one in (mean, low, high))  # adding 0 turns a rounded -0 into 0
    return f"{mean:+.1f} [{low:.1f}, {high:.1f}]" if mean else f"0.0 [{low:.1f}, {high:.1f}]"


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
