from __future__ import annotations

from report_samples import FAILED, Outcome, add_row, outcomes, write_grid

from spectral_bench.reports import render
from spectral_bench.reports.collect import collect
from spectral_bench.reports.health_table import health_table
from spectral_bench.results.record import HealthCheck
from spectral_bench.results.store import Store


def check(value: float | None, passed: bool = True, note: str = "") -> HealthCheck:
    return HealthCheck(name="orthogonality_error", value=value, limit=0.1, passed=passed, note=note)


def test_no_check_no_table(store: Store):
    write_grid(store, add_row(store, "a", outcomes(10)))
    assert health_table(collect(store)) is None


def test_values_over_seeds_and_how_many_passed(store: Store):
    seeds = {
        0: Outcome(10, health=[check(0.02)]),
        1: Outcome(10, health=[check(0.04)]),
        2: Outcome(fit_status="not_converged", evaluation_status=None, health=[check(0.5, False, "too far")]),
    }
    write_grid(store, add_row(store, "a", seeds), add_row(store, "b", {0: FAILED}))
    table = health_table(collect(store))
    assert table is not None
    first, second = table.rows
    cell = first.cells["orthogonality_error"]
    assert cell.n == 3
    assert [note.text for note in table.notes if note.symbol in cell.marks] == [
        "Check orthogonality_error failed (limit 0.1): too far"
    ]
    assert first.cells["passed"].value == "2 of 3"
    assert second.cells["orthogonality_error"].value is None
    assert second.cells["passed"].value == "0 of 0"


def test_a_value_that_is_not_finite_is_said_to_be_so(store: Store):
    seeds = {0: Outcome(fit_status="not_converged", evaluation_status=None, health=[check(None, False)])}
    write_grid(store, add_row(store, "a", seeds))
    table = health_table(collect(store))
    assert table is not None
    assert "not finite [a]" in render(table, "markdown")


def test_what_is_small_is_not_printed_as_zero(store: Store):
    large = {seed: Outcome(10, health=[check(value)]) for seed, value in enumerate((0.31, 0.33))}
    small = {seed: Outcome(10, health=[check(value)]) for seed, value in enumerate((2e-6, 4e-6, 0.0))}
    write_grid(store, add_row(store, "large", large), add_row(store, "small", small))
    table = health_table(collect(store))
    assert table is not None
    assert "0.320 ± 0.014" in render(table, "markdown")
    assert "2.0e-6 ± 2.0e-6" in render(table, "markdown")
    assert r"{$2.0\times10^{-6}$} & \,$\pm$\,$2.0\times10^{-6}$" in render(table, "latex")
