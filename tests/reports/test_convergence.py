"""A run that fails a check of its health is "not converged" in every table and never a number."""

from __future__ import annotations

import re

import pytest
from report_samples import Outcome, add_row, outcomes, write_grid

from spectral_bench.reports.ablation_table import ablation_tables
from spectral_bench.reports.api import all_tables, render
from spectral_bench.reports.collect import collect
from spectral_bench.reports.cost_table import cost_table
from spectral_bench.reports.health_table import health_table
from spectral_bench.reports.html.page import render_html
from spectral_bench.reports.main_table import main_table
from spectral_bench.reports.per_class_table import per_class_tables
from spectral_bench.reports.table import CellState
from spectral_bench.results.record import HealthCheck
from spectral_bench.results.store import Store

ANGLE = HealthCheck(name="angle_largest", value=80.0, limit=5.0, passed=False, note="80, expected at most 5")
SOUND = HealthCheck(name="angle_largest", value=3.0, limit=5.0, passed=True)
BROKEN = Outcome(37, evaluation_status="not_converged", evaluation_health=[ANGLE])
BROKEN_FIT = Outcome(37, fit_status="not_converged", health=[ANGLE])


@pytest.fixture(params=[BROKEN, BROKEN_FIT], ids=["evaluation", "fit"])
def broken(store: Store, request: pytest.FixtureRequest) -> Store:
    """A sound baseline, and a variation that counted 37 wrong pixels of each hundred and failed a check."""
    sound = {seed: Outcome(10, evaluation_health=[SOUND]) for seed in range(3)}
    return write_grid(
        store,
        add_row(store, "sound", sound, role="baseline"),
        add_row(store, "broken", dict.fromkeys(range(3), request.param), role="variation", factor="beta", value=0.08),
    )


def test_main_and_class_tables_say_so_in_words(broken: Store) -> None:
    row = main_table(collect(broken)).rows[1]
    for key in ("mIoU", "accuracy", "mean_accuracy", "ARI", "NMI", "clusters_in_use"):
        assert (row.cells[key].value, row.cells[key].state) == (None, CellState.NOT_CONVERGED)
    assert [row.cells[key].value for key in ("fit_s", "evaluation_s", "peak_rss_bytes")] == [None] * 3
    (classes,) = per_class_tables(collect(broken))
    column = classes.column("2: broken")
    assert {row.cell(column).state for row in classes.rows} == {CellState.NOT_CONVERGED}


def test_an_ablation_neither_prints_nor_compares_it(broken: Store) -> None:
    (table,) = ablation_tables(collect(broken))
    cells = table.rows[1].cells
    assert (cells["mIoU"].value, cells["mIoU"].state) == (None, CellState.NOT_CONVERGED)
    assert cells["mIoU_difference"].value is None
    assert "verdict" not in cells


def test_costs_leave_it_out(broken: Store) -> None:
    numbers = [cell.number for cell in cost_table(collect(broken)).rows[1].cells.values()]
    assert numbers == [None] * len(numbers)


def test_the_reason_is_named_and_the_health_table_keeps_the_value(broken: Store) -> None:
    main, health = main_table(collect(broken)), health_table(collect(broken))
    assert any("not converged (failed checks: angle_largest)" in note.text for note in main.notes)
    assert health is not None
    cell = health.rows[1].cells["angle_largest"]
    assert cell.value == 80.0
    assert [note.text for note in health.notes if note.symbol in cell.marks] == [
        "Check angle_largest failed (limit 5): 80, expected at most 5"
    ]
    assert health.rows[0].cells["passed"].value == "3 of 3"


@pytest.mark.parametrize("renderer", ["markdown", "latex", "csv"])
def test_no_renderer_prints_a_score_of_it(broken: Store, renderer: str) -> None:
    """37 wrong of each hundred would be an accuracy of 63 and an mIoU of 45.985."""
    tables = [table for table in all_tables(collect(broken)) if table.name != "health"]
    text = "\n".join(render(table, renderer) for table in tables)
    assert "not converged" in text
    assert not re.search(r"63\.0|45\.98|46\.0", text)


def test_the_page_shows_it_in_words_too(broken: Store) -> None:
    entries = collect(broken)
    text = render_html(entries, broken, all_tables(entries), {})
    tables = text.split('<script type="application/json"')[0]
    assert "not converged" in tables
    assert not re.search(r">\s*(63\.0|45\.98|46\.0)", tables)


def test_what_the_checks_cost_is_a_column_of_its_own_and_no_part_of_the_run(store: Store) -> None:
    write_grid(store, add_row(store, "a", {0: Outcome(10, health_s=7.0)}))
    entries = collect(store)
    costs, main = cost_table(entries).rows[0].cells, main_table(entries).rows[0].cells
    assert costs["evaluation_health_s"].value == 7.0
    assert (costs["images_per_s"].value, main["evaluation_s"].value) == (0.5, 2.0)
    assert costs["peak_rss_bytes"].value == main["peak_rss_bytes"].value == 4 * 10**8


def test_a_note_on_a_check_that_passed_is_printed(store: Store) -> None:
    note = HealthCheck(name="graph_patches", value=1980.0, passed=True, note="of images that the fit was trained on")
    write_grid(store, add_row(store, "a", {0: Outcome(10, evaluation_health=[note])}), add_row(store, "b", outcomes(1)))
    table = health_table(collect(store))
    assert table is not None
    cell = table.rows[0].cells["graph_patches"]
    assert [note.text for note in table.notes if note.symbol in cell.marks] == [
        "Check graph_patches: of images that the fit was trained on."
    ]
    assert any("held-out images" in note.text for note in table.notes)
