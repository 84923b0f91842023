from __future__ import annotations

import csv
import io
import statistics

import numpy as np
import pytest
from report_samples import (
    FAILED,
    MISSING,
    NOT_CONVERGED,
    VIEW,
    WHOLE,
    Outcome,
    add_row,
    miou,
    outcomes,
    write_grid,
)

from spectral_bench.reports import build_table, render
from spectral_bench.reports.table import Cell, CellState, Table
from spectral_bench.results.contingency import Contingency
from spectral_bench.results.specification import Protocol, Scoring
from spectral_bench.results.store import Store


def cell(table: Table, configuration: str, key: str) -> Cell:
    (row,) = [row for row in table.rows if row.cells["configuration"].value == configuration]
    return row.cell(table.column(key))


def note(table: Table, found: Cell) -> list[str]:
    return [note.text for note in table.notes if note.symbol in found.marks]


def test_mean_and_standard_deviation_over_seeds_in_per_cent(store: Store):
    row = add_row(store, "a", outcomes(10, 20, 30))
    table = build_table(write_grid(store, row))
    values = [miou(10), miou(20), miou(30)]
    found = cell(table, "a", "mIoU")
    assert found.value == pytest.approx(statistics.mean(values))
    assert found.std == pytest.approx(statistics.stdev(values))
    assert (found.n, found.runs, found.marks) == (3, tuple(row.runs.values()), ())
    assert cell(table, "a", "accuracy").value == pytest.approx(80)
    assert cell(table, "a", "mean_accuracy").value == pytest.approx(80)
    assert cell(table, "a", "seeds").value == 3
    assert cell(table, "a", "clusters_in_use").value == 2


def test_one_seed_has_no_standard_deviation(store: Store):
    table = build_table(write_grid(store, add_row(store, "a", outcomes(10))))
    assert cell(table, "a", "mIoU").std is None
    (row,) = csv.DictReader(io.StringIO(render(table, "csv")))
    assert (row["mIoU_std"], row["accuracy_std"], row["seeds"]) == ("", "", "1")
    assert float(row["mIoU"]) == pytest.approx(miou(10))


def test_a_mean_over_some_of_the_seeds_says_which_are_not_in(store: Store):
    seeds = {0: Outcome(10), 1: FAILED, 2: FAILED, 3: NOT_CONVERGED}
    table = build_table(write_grid(store, add_row(store, "a", seeds)))
    found = cell(table, "a", "mIoU")
    assert (found.value, found.std, found.n) == (pytest.approx(miou(10)), None, 1)
    assert note(table, found) == [
        "1 of 4 seeds: seeds 1, 2 failed (out_of_memory: tried to allocate); seed 3 not converged."
    ]
    assert cell(table, "a", "seeds").marks == found.marks
    assert cell(table, "a", "seeds_planned").value == 4


def test_a_row_without_a_finished_seed_gives_its_gravest_state_and_no_number(store: Store):
    rows = (
        add_row(store, "fails", {0: MISSING, 1: FAILED}),
        add_row(store, "never", {0: MISSING}),
        add_row(store, "odd", {0: NOT_CONVERGED, 1: MISSING}),
    )
    table = build_table(write_grid(store, *rows))
    states = [cell(table, name, "mIoU").state for name in ("fails", "never", "odd")]
    assert states == [CellState.FAILED, CellState.MISSING, CellState.NOT_CONVERGED]
    assert all(cell(table, name, "mIoU").value is None for name in ("fails", "never", "odd"))
    assert "failed [a]" in render(table, "markdown")


def test_rows_that_use_labels_are_marked_and_not_ranked(store: Store):
    rows = (add_row(store, "a", outcomes(10)), add_row(store, "probe", outcomes(5), uses_labels=True))
    table = build_table(write_grid(store, *rows))
    assert [row.ranked for row in table.rows] == [True, False]
    assert cell(table, "probe", "configuration").marks == ("†",)
    assert note(table, cell(table, "probe", "configuration")) == ["Uses labels; kept out of rankings."]
    assert cell(table, "probe", "uses_labels").value == "yes"


def test_the_protocol_travels_with_the_numbers(store: Store):
    caption = build_table(write_grid(store, add_row(store, "a", outcomes(10)), note="Small.")).folded().caption
    for fact in ("protocol: whole", "split: val", "classes: 2 (two)", "matching: IoU, many-to-one", "images: 1"):
        assert fact in caption
    assert "Small." in render(build_table(store), "markdown")


def test_protocols_that_differ_become_columns(store: Store):
    sky = Protocol(name="sky", view=VIEW, scoring=Scoring(classes="sky", matching="majority"))
    table = build_table(write_grid(store, add_row(store, "a", outcomes(10), protocols=[WHOLE, sky])))
    assert {"protocol", "classes", "matching"} <= {column.key for column in table.folded().columns}
    assert [row.cells["matching"].value for row in table.rows] == ["IoU, many-to-one", "majority, many-to-one"]
    assert [row.cells["classes"].value for row in table.rows] == ["2 (two)", "1 (sky)"]


def test_one_to_one_matching_of_unequal_numbers_is_marked(store: Store):
    sky = Protocol(name="sky", view=VIEW, scoring=Scoring(classes="sky"))
    table = build_table(write_grid(store, add_row(store, "a", outcomes(10), protocols=[sky])), matching="hungarian")
    (text,) = note(table, cell(table, "a", "configuration"))
    assert text.startswith("One-to-one matching of 2 clusters to 1 classes")
    write_grid(store, add_row(store, "b", outcomes(10)))
    assert cell(build_table(store, matching="hungarian"), "b", "configuration").marks == ()


def test_absent_classes_that_a_one_to_one_matching_counts_are_named(store: Store):
    only_sky = Contingency(("image0",), 2, 2, *np.array([[0, 0], [0, 1], [0, 0]], dtype=np.int32), np.array([90, 10]))
    write_grid(store, add_row(store, "a", {0: Outcome(10, counts=only_sky)}))
    table = build_table(store, matching="hungarian")
    assert cell(table, "a", "mIoU").value == pytest.approx(45)
    (text,) = note(table, cell(table, "a", "configuration"))
    assert text == "No pixel is labelled sea: predicted by a left-over cluster, such a class counts with an IoU of 0."
    without = build_table(store, matching="hungarian_present")
    assert cell(without, "a", "mIoU").value == pytest.approx(90)
    assert cell(without, "a", "configuration").marks == ()


def test_costs_leave_reused_stages_and_features_out(store: Store):
    seeds = {0: Outcome(1, fit_s=10.0, reused=("network",)), 1: Outcome(1, fit_s=20.0, peak_device=5 * 10**9)}
    table = build_table(write_grid(store, add_row(store, "a", seeds)))
    fit = cell(table, "a", "fit_s")
    assert (fit.value, fit.n) == (15.0, 2)
    assert note(table, fit) == ["Without what another run had paid for already: network."]
    assert cell(table, "a", "features_s").value == 3.0
    assert cell(table, "a", "evaluation_s").value == 2.0
    assert cell(table, "a", "peak_rss_bytes").value == 4 * 10**8
    device = cell(table, "a", "peak_device_bytes")
    assert (device.value, device.n) == (5 * 10**9, 1)


def test_the_peak_is_that_of_runs_that_extracted_nothing_for_others(store: Store):
    """What an extraction leaves in memory is in the peaks of the stages after it."""
    rows = [
        add_row(store, "first", {0: Outcome(1, peak_device=9), 1: Outcome(1, peak_device=5, features_reused=True)}),
        add_row(store, "alone", {0: Outcome(1, peak_device=9)}),
        add_row(store, "later", {0: Outcome(1, peak_device=4, features_reused=True)}),
    ]
    table = build_table(write_grid(store, *rows))
    assert [row.cells["peak_device_bytes"].value for row in table.rows] == [5, 9, 4]
    assert [bool(row.cells["peak_rss_bytes"].marks) for row in table.rows] == [False, True, False]
    (text,) = note(table, cell(table, "alone", "peak_rss_bytes"))
    assert text.startswith("Its runs extracted the features that others read")


def test_no_device_memory_is_no_zero(store: Store):
    table = build_table(write_grid(store, add_row(store, "a", outcomes(1))))
    assert cell(table, "a", "peak_device_bytes").value is None
    assert "device" not in render(table, "markdown")


def test_a_row_that_two_grids_share_appears_once_and_grids_can_be_chosen(store: Store):
    shared, other = add_row(store, "a", outcomes(10)), add_row(store, "b", outcomes(20))
    write_grid(store, shared, name="one")
    write_grid(store, other, shared, name="two")
    assert [row.cells["configuration"].value for row in build_table(store).rows] == ["a", "b"]
    assert [row.cells["configuration"].value for row in build_table(store, grid="two").rows] == ["b", "a"]


def test_unequal_seeds_are_counted_row_by_row(store: Store):
    rows = (add_row(store, "a", outcomes(10, 11, 12)), add_row(store, "b", {5: Outcome(20)}))
    table = build_table(write_grid(store, *rows))
    assert [row.cells["seeds"].value for row in table.rows] == [3, 1]


@pytest.mark.parametrize("format", ["markdown", "csv", "latex", "standalone"])
def test_names_with_underscores_and_other_alphabets_survive(store: Store, format: str):
    table = build_table(write_grid(store, add_row(store, "k_means Nyström α", outcomes(10, 20))))
    text = render(table, format)
    expected = r"k\_means Nystr\"{o}m \ensuremath{\alpha}" if format in ("latex", "standalone") else "k_means Nyström α"
    assert expected in text
    assert text == render(build_table(store), format)
