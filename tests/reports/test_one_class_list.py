"""All scores of a report are over one class list, today's, whatever lists the counts were made under."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_samples import CLASSES, Outcome, add_row, miou, outcomes

from spectral_bench.reports import build_table, render
from spectral_bench.reports.ablations import ablations, compare
from spectral_bench.reports.api import all_tables
from spectral_bench.reports.collect import collect, collect_together
from spectral_bench.reports.compare import compare_entries
from spectral_bench.reports.gallery.choice import galleries
from spectral_bench.reports.main_table import METRICS
from spectral_bench.reports.per_class_table import class_cells
from spectral_bench.reports.renderers.macros import render_macros
from spectral_bench.reports.rows import ScoredRow, SeedResult
from spectral_bench.reports.table import CellState, NoteBook
from spectral_bench.results.class_lists import ClassList
from spectral_bench.results.contingency import Contingency
from spectral_bench.results.manifest import DataFacts, Manifest, ManifestRow
from spectral_bench.results.metrics import score
from spectral_bench.results.record import ClassTable
from spectral_bench.results.store import Store

FINE = ClassTable(classes=["sky", "sea", "ship"], raw_ids=[[0], [1], [2]])
COARSE = ClassTable(classes=["water", "sky"], raw_ids=[[2, 1], [0]])
BEYOND = ClassTable(classes=["sky", "sea", "whale"], raw_ids=[[0], [1], [7]])
BEFORE, AFTER = "2026-02-01T00:00:00.000+00:00", "2026-03-01T00:00:00.000+00:00"


def counts(*table: tuple[int, int, int]) -> Contingency:
    """Pixels of clusters x the raw ids 0, 1, 2, in one image."""
    cells = [(0, k, label, n) for k, row in enumerate(table) for label, n in enumerate(row) if n]
    image, cluster, label, count = np.array(cells, dtype=np.int64).T
    return Contingency(
        ("i",), len(table), 3, image.astype(np.int32), cluster.astype(np.int32), label.astype(np.int32), count
    )


ONE, TWO = counts((50, 0, 3), (4, 60, 5), (1, 7, 20)), counts((40, 2, 0), (9, 50, 9), (5, 12, 23))


def write(
    store: Store, *rows: ManifestRow, today: ClassTable | None = None, name: str = "g", written: str = AFTER
) -> Store:
    facts = {} if today is None else {"two": today}
    data = {"synthetic": DataFacts(title="s", class_sets=facts, default_classes="two")} if facts else {}
    store.write_manifest(Manifest(name=name, written=written, rows=list(rows), data=data))
    return store


def row(store: Store, title: str = "a") -> ManifestRow:
    return add_row(store, title, {0: Outcome(counts=ONE), 1: Outcome(counts=TWO)})


def only(entries: list[ScoredRow]) -> ScoredRow:
    (entry,) = entries
    return entry


def test_a_row_is_scored_over_todays_list_and_says_so(store: Store):
    made = build_table(write(store, row(store), today=COARSE))
    wanted = [100 * score(one, COARSE, "iou").miou for one in (ONE, TWO)]
    assert made.rows[0].cells["mIoU"].value == pytest.approx(sum(wanted) / 2, abs=1e-12)
    assert made.rows[0].cells["classes"].value == "2 (two)"
    assert [note.text for note in made.notes if note.symbol] == [
        "Scored over today's class list (2 classes), which was edited after the evaluation."
    ]


def test_another_name_or_order_is_no_other_list(store: Store):
    turned = ClassTable(classes=["ocean", "air"], raw_ids=[[1], [0]])
    store = write(store, add_row(store, "a", outcomes(10)), today=turned)
    made = build_table(store)
    assert made.rows[0].cells["mIoU"].value == pytest.approx(miou(10))
    assert not [note for note in made.notes if note.symbol]
    assert only(collect(store)).class_table == turned


def test_the_list_of_the_last_launch_holds_for_every_grid(store: Store):
    write(store, row(store), today=FINE, name="before", written=BEFORE)
    write(store, add_row(store, "b", {0: Outcome(counts=TWO)}), today=COARSE, name="after")
    alone, together = collect(store, grid="before"), collect(store)
    assert only(alone).class_table == COARSE
    assert {entry.row.title: entry.class_table for entry in together} == {"a": COARSE, "b": COARSE}


def test_stores_of_before_take_the_newest_record(store: Store):
    entry = only(collect(write(store, row(store))))
    assert entry.class_table == CLASSES
    assert not any(result.relisted for result in entry.done)


def test_counts_that_lack_an_id_are_stale_and_neither_averaged_nor_ranked(store: Store):
    wide = counts((50, 0, 3), (4, 60, 5))
    wide = Contingency(wide.image_ids, 2, 8, wide.image, wide.cluster, wide.label, wide.count)
    old: dict[str, Any] = {"files": ("i", "old labels")}
    new: dict[str, Any] = {"files": ("i", "new labels"), "finished": "2026-02-03T00:00:00+00:00"}
    mixed = add_row(store, "mixed", {0: Outcome(counts=ONE, **old), 1: Outcome(counts=wide, **new)})
    older = add_row(store, "older", {0: Outcome(counts=TWO, **old)})
    store = write(store, mixed, older, today=BEYOND)
    entries = collect(store)
    assert [[result.state for result in entry.seeds] for entry in entries] == [
        [CellState.STALE, CellState.DONE],
        [CellState.STALE],
    ]
    made = build_table(store)
    assert made.rows[0].cells["mIoU"].value == pytest.approx(100 * score(wide, BEYOND, "iou").miou)
    assert (made.rows[1].cells["mIoU"].value, made.rows[1].cells["mIoU"].state) == (None, CellState.STALE)
    text = render(made, "csv")
    assert "1 of 2 seeds: seed 0 stale (today's class list has raw ids that its labels ended before: 7; and its" in text
    for table in all_tables(entries):  # nothing breaks on the way, in any table and format
        assert all(render(table, form) for form in ("markdown", "latex", "csv"))
    assert "mixed" in render_macros(all_tables(entries))


def test_ids_that_were_not_counted_have_no_pixel_while_the_labels_are_the_same(store: Store):
    store = write(store, row(store), today=BEYOND)
    entry = only(collect(store))
    wanted = [100 * score(one, ClassTable(classes=["a", "b"], raw_ids=[[0], [1]]), "iou").miou for one in (ONE, TWO)]
    assert build_table(store, resamples=9).rows[0].cells["mIoU"].value == pytest.approx(sum(wanted) / 2)
    assert [cell.state for cell in class_cells(entry, BEYOND.classes, NoteBook())][-1] is CellState.ABSENT
    assert galleries([entry], store)[0].images


def test_every_table_scores_over_it(store: Store):
    baseline = row(store, "base").model_copy(update={"role": "baseline"})
    varied = add_row(store, "b", {0: Outcome(counts=TWO), 1: Outcome(counts=ONE)}, method="spin")
    changes = {"role": "variation", "factor": "k", "value": 2}
    entries = collect(write(store, baseline, varied.model_copy(update=changes), today=COARSE))
    (ablation,) = ablations(entries)
    found = compare(ablation, {"mIoU": METRICS["mIoU"][1]}).differences[1, "mIoU"]
    moved = 100 * (score(TWO, COARSE, "iou").miou - score(ONE, COARSE, "iou").miou)
    assert found is not None
    assert found.summary.std == pytest.approx(2**0.5 * abs(moved))
    classes = next(table for table in all_tables(entries) if table.name.startswith("per-class"))
    assert [line.cells["class"].value for line in classes.rows] == ["water", "sky"]
    wanted = [100 * float(score(one, COARSE, "iou").iou[1]) for one in (ONE, TWO)]
    assert classes.rows[1].cells["1: base"].value == pytest.approx(sum(wanted) / 2)


def test_a_value_is_found_by_its_class_whatever_the_order_of_the_scores(store: Store):
    entry = only(collect(write(store, row(store), today=FINE)))
    turned = ClassTable(classes=["ship", "sky"], raw_ids=[[2], [0]])
    first, second = entry.done
    other = ScoredRow("g", "", entry.row, entry.protocol, (first, _scored(second, TWO, turned)), ClassList("two", FINE))
    cells = class_cells(other, ["sea", "ship", "sky", "whale"], NoteBook())
    one, two = score(ONE, FINE, "iou").iou, score(TWO, turned, "iou").iou
    assert cells[0].value == pytest.approx(100 * one[1])
    assert cells[1].value == pytest.approx(50 * (one[2] + two[0]))
    assert cells[2].value == pytest.approx(50 * (one[0] + two[1]))
    assert (cells[3].value, cells[3].state) == (None, CellState.NOT_APPLICABLE)


def _scored(result: SeedResult, counted: Contingency, table: ClassTable) -> SeedResult:
    return replace(result, scores=score(counted, table, "iou"))


def test_two_stores_are_compared_over_the_newer_list(tmp_path: Path):
    a, b = (Store.open(tmp_path / name, create=True) for name in ("a", "b"))
    write(a, row(a), today=FINE, written=BEFORE)
    write(b, row(b), today=COARSE, written=AFTER)
    left, right = collect_together([(a, None), (b, None)])
    found = compare_entries(left, right)
    assert [cell.word for cell in found.differences] == ["same", "same"]
    assert only(left).class_table == COARSE
    assert found.pairs[0].remarks == ("classes: A and B scored over today's list, edited after the evaluation",)
    apart = compare_entries(collect(a), collect(b))  # not of one list: never compared
    assert {cell.reason for cell in apart.differences} == {"protocol: the classes differ"}
