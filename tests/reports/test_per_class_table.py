from __future__ import annotations

import numpy as np
import pytest
from report_samples import FAILED, VIEW, WHOLE, Outcome, add_row, miou, outcomes, write_grid

from spectral_bench.reports import render
from spectral_bench.reports.collect import collect
from spectral_bench.reports.per_class_table import per_class_tables
from spectral_bench.reports.table import CellState, Table
from spectral_bench.results.contingency import Contingency
from spectral_bench.results.specification import Protocol, Scoring
from spectral_bench.results.store import Store

THREE = Protocol(name="three", view=VIEW, scoring=Scoring(classes="three"))


def tables(store: Store) -> list[Table]:
    return per_class_tables(collect(store))


def only_sky() -> Contingency:
    zero, one = np.zeros(1, dtype=np.int32), np.ones(1, dtype=np.int64)
    return Contingency(("image0",), 2, 2, zero, zero, zero, one)


def test_a_row_a_class_and_a_column_a_configuration(store: Store):
    write_grid(store, add_row(store, "a", outcomes(10, 20)), add_row(store, "b", outcomes(30)))
    (table,) = tables(store)
    assert [row.cells["class"].value for row in table.rows] == ["sky", "sea"]
    assert [column.label for column in table.columns[-2:]] == ["a", "b"]
    cell = table.rows[0].cell(table.columns[-2])
    assert (cell.value, cell.n) == (pytest.approx((miou(10) + miou(20)) / 2), 2)
    assert table.rows[1].cell(table.columns[-1]).std is None
    assert "protocol: whole" in table.folded().caption


def test_a_class_that_never_occurs_is_absent_not_zero(store: Store):
    write_grid(store, add_row(store, "a", outcomes(10), protocols=[THREE]))
    (table,) = tables(store)
    cell = table.rows[2].cell(table.columns[-1])
    assert (cell.value, cell.state) == (None, CellState.ABSENT)
    assert "absent [a]" in render(table, "markdown")
    assert "left out of the mIoU" in render(table, "markdown")


def test_a_class_that_is_only_predicted_counts_as_zero_and_is_marked(store: Store):
    train = VIEW.model_copy(update={"split": "train"})
    fitted = Protocol(name="fitted", view=VIEW, fit_view=train, scoring=Scoring())
    row = add_row(store, "a", outcomes(10), protocols=[Protocol(name="t", view=train, scoring=Scoring())])
    zero, both = np.zeros(2, dtype=np.int32), np.array([0, 1], dtype=np.int32)
    sky = Contingency(("image0",), 2, 2, zero, both, zero, np.array([60, 40], dtype=np.int64))
    add_row(store, "a", {0: Outcome(counts=sky)})
    write_grid(store, row.model_copy(update={"protocols": [fitted]}))
    (table,) = tables(store)
    cell = table.rows[1].cell(table.columns[-1])
    assert cell.value == 0.0
    assert [note.text for note in table.notes if note.symbol in cell.marks] == [
        "Not labelled in the evaluated images, but predicted: counts as 0 in the mIoU."
    ]


def test_a_class_that_only_some_seeds_know_says_so(store: Store):
    seeds = {0: Outcome(counts=only_sky()), 1: Outcome(10)}
    write_grid(store, add_row(store, "a", seeds))
    (table,) = tables(store)
    sky, sea = (row.cell(table.columns[-1]) for row in table.rows)
    assert (sky.n, sky.marks) == (2, ())
    assert sea.n == 1
    assert len(sea.marks) == 1


def test_each_way_of_scoring_has_a_table(store: Store):
    write_grid(store, add_row(store, "a", outcomes(10), protocols=[WHOLE, THREE]), add_row(store, "b", outcomes(20)))
    first, second = tables(store)
    assert (first.name, second.name) == ("per-class-1", "per-class-2")
    assert [column.label for column in first.columns[-2:]] == ["a", "b"]
    assert len(second.rows) == 3


def test_failed_rows_keep_their_column_and_failed_tables_vanish(store: Store):
    write_grid(store, add_row(store, "a", outcomes(10)), add_row(store, "b", {0: FAILED}, uses_labels=True))
    (table,) = tables(store)
    assert table.rows[0].cell(table.columns[-1]).state is CellState.FAILED
    assert table.columns[-1].label == "b †"
    write_grid(store, add_row(store, "b", {0: FAILED}))
    assert tables(store) == []
