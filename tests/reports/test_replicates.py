"""A method that ignores its seed: its seeds are one result. No interval, no claim, no bold, and a note that says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_samples import VIEW, WHOLE, Outcome, add_row, contingency, miou, outcomes, write_grid

from spectral_bench.reports import build_table, render
from spectral_bench.reports.ablation_table import ablation_tables
from spectral_bench.reports.api import all_tables
from spectral_bench.reports.collect import collect
from spectral_bench.reports.compare import compare_entries
from spectral_bench.reports.figures.ablation import points
from spectral_bench.reports.overview_table import overview_table
from spectral_bench.reports.renderers.macros import render_macros
from spectral_bench.reports.table import Table, TableRow
from spectral_bench.results.contingency import Contingency
from spectral_bench.results.statistics import NO_CLAIM, replicated
from spectral_bench.results.store import Store

SAME, VARIED, BETTER = (10,) * 5, (20, 21, 22, 20, 21), (1, 2, 3, 1, 2)
NOTE = (
    "All seeds gave the same result, bit for bit: the method ignores its seed. They are one result: no spread over "
    "seeds, no interval, no claim, no rank."
)


def grid(store: Store, **rows: tuple[int, ...]) -> Store:
    return write_grid(store, *(add_row(store, title, outcomes(*wrong)) for title, wrong in rows.items()))


def row(table: Table, title: str) -> TableRow:
    return next(row for row in table.rows if row.cells["configuration"].value == title)


def bold(table: Table) -> set[str]:
    return {str(row.cells["configuration"].value) for row in table.rows if row.cells["mIoU"].bold}


def test_two_equal_results_are_no_replicates_and_one_tells_nothing():
    assert not replicated(["a", "a"])
    assert replicated(["a"])
    assert replicated([])
    assert replicated(["a", "a", "b"])
    assert replicated(["", ""])  # records that do not tell


def test_no_spread_and_a_note(store: Store):
    table = build_table(grid(store, same=SAME, varied=VARIED))
    cell = row(table, "same").cells["mIoU"]
    assert (cell.value, cell.std) == (pytest.approx(miou(10)), None)
    assert row(table, "varied").cells["mIoU"].std is not None
    marked = [note for note in table.notes if note.text == NOTE]
    assert [note.symbol in row(table, "same").cells["configuration"].marks for note in marked] == [True]
    assert "81.8 |" in render(table, "markdown")
    assert "81.8 ±" not in render(table, "markdown")


def test_equal_scores_of_unlike_counts_are_replicates(store: Store):
    plain = contingency(10)
    turned = Contingency(plain.image_ids, 2, 2, plain.image, plain.cluster, plain.label, plain.count[[1, 0, 3, 2]])
    write_grid(store, add_row(store, "a", {0: Outcome(counts=plain), 1: Outcome(counts=turned)}))
    cell = build_table(store).rows[0].cells["mIoU"]
    assert (cell.value, cell.std) == (pytest.approx(miou(10)), 0.0)


def test_it_is_never_bold_and_others_are_ranked_without_it(store: Store):
    table = build_table(grid(store, worst=(40, 41, 42, 40, 41), same=SAME, best=BETTER))
    assert bold(table) == {"best"}


def test_no_bold_where_it_stands_above_the_ranked_rows(store: Store):
    table = build_table(grid(store, same=SAME, low=(40, 41, 42, 40, 41), high=VARIED))
    assert bold(table) == set()
    assert any(note.text.startswith("No bold in a column where a row without replicates") for note in table.notes)
    assert not any(note.text.startswith("Bold:") for note in table.notes)


def test_two_of_them_are_not_told_apart_by_seeds_that_do_not_exist(store: Store):
    assert bold(build_table(grid(store, same=SAME, other=(30,) * 5))) == set()


def test_ablations_make_no_claim(store: Store):
    baseline = add_row(store, "base", outcomes(*VARIED), role="baseline")
    same = add_row(store, "same", outcomes(*SAME), role="variation", factor="k", value=2)
    other = add_row(store, "other", outcomes(*BETTER), role="variation", factor="k", value=3)
    (table,) = ablation_tables(collect(write_grid(store, baseline, same, other)))
    cells = row(table, "same").cells
    difference = cells["mIoU_difference"]
    assert difference.value == pytest.approx(miou(10) - sum(map(miou, VARIED)) / 5)
    assert (difference.low, difference.high, cells["mIoU_p"].value) == (None, None, None)
    assert (cells["verdict"].value, cells["in_words"].value) == ("no claim", NO_CLAIM)
    assert row(table, "other").cells["verdict"].value == "better"


def test_figures_draw_no_interval(store: Store):
    baseline = add_row(store, "base", outcomes(*SAME), role="baseline")
    other = add_row(store, "other", outcomes(*VARIED), role="variation", factor="k", value=3)
    first, second = collect(write_grid(store, baseline, other))
    drawn = {point.baseline: point.summary for point in points(first, [second], "k")}
    assert drawn[True] is not None
    assert drawn[False] is not None
    assert (drawn[True].low, drawn[False].low is None) == (None, False)


def test_comparisons_make_no_claim(tmp_path: Path):
    a, b = (Store.open(tmp_path / name, create=True) for name in ("a", "b"))
    found = compare_entries(collect(grid(a, same=SAME)), collect(grid(b, same=(30,) * 5)))
    assert {(cell.word, cell.reason, cell.p, cell.differs) for cell in found.differences} == {
        ("no claim", NO_CLAIM, None, True)
    }
    again = compare_entries(collect(a), collect(a))
    assert {cell.word for cell in again.differences} == {"same"}
    near = compare_entries(collect(a), collect(b), tolerance=100.0)
    for cell in [*found.differences, *near.differences]:
        shown = [summary for summary in (cell.a, cell.b, cell.difference) if summary is not None]
        assert [(one.std, one.low, one.high) for one in shown] == [(None, None, None)] * 3


def test_the_overview_tells_it_too(store: Store):
    other = WHOLE.model_copy(update={"view": VIEW.model_copy(update={"split": "test"}), "name": "test"})
    overview = overview_table(
        collect(write_grid(store, add_row(store, "same", outcomes(*SAME), protocols=[WHOLE, other])))
    )
    assert overview is not None
    (line,) = overview.rows
    (symbol,) = [note.symbol for note in overview.notes if note.text == NOTE]
    assert (line.cells["mIoU_1"].marks, line.cells["accuracy_2"].marks) == ((symbol,), (symbol,))


def test_macros_of_it_have_no_spread(store: Store):
    text = render_macros(all_tables(collect(grid(store, same=SAME, varied=VARIED))))
    assert "bench:main/varied/miou-std" in text.lower()
    assert "bench:main/same/miou-std" not in text.lower()
