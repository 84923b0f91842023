"""What a fit costs that starts from another's: its own seconds, and beside them those of the other."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_samples import Outcome, add_row, write_grid

from spectral_bench.reports import render
from spectral_bench.reports.collect import collect
from spectral_bench.reports.cost_table import cost_table
from spectral_bench.reports.costs import run_cost
from spectral_bench.reports.figures.trade_off import _fit_seconds, marks
from spectral_bench.reports.main_table import main_table
from spectral_bench.reports.rows import ScoredRow
from spectral_bench.results.store import Store


@pytest.fixture
def entries(store: Store) -> list[ScoredRow]:
    psi = add_row(store, "psi", {0: Outcome(5, fit_s=100.0), 1: Outcome(5, fit_s=300.0)}, method="neuralef")
    seeds = {seed: Outcome(4, fit_s=2.0, reused=("base",), base=psi.runs[seed]) for seed in (0, 1)}
    return collect(write_grid(store, psi, add_row(store, "psi, clustered", seeds, method="neuralef_kmeans")))


@pytest.mark.parametrize("make", [main_table, cost_table])
def test_the_fit_that_a_row_starts_from_has_a_column_of_its_own(entries: list[ScoredRow], make) -> None:
    table = make(entries)
    first, second = (row.cells["base_fit_s"] for row in table.rows)
    assert first.value is None
    assert (second.value, second.n) == (200.0, 2)
    assert "fit started from" in render(table, "markdown")


def test_the_main_table_says_that_the_fit_is_not_all(entries: list[ScoredRow]) -> None:
    table = main_table(entries)
    cell = table.rows[1].cells["fit_s"]
    assert cell.value == 2.0
    texts = [note.text for note in table.notes if note.symbol in cell.marks]
    assert texts == [
        "Without the stored fit that it starts from, whose own seconds stand beside it where they are on record."
    ]
    assert table.rows[0].cells["fit_s"].marks == ()


def test_a_cost_table_tells_readers_to_add_it(entries: list[ScoredRow]) -> None:
    assert any("has to add it" in note.text for note in cost_table(entries).notes)
    assert not any("has to add it" in note.text for note in cost_table(entries[:1]).notes)
    assert "fit started from" not in render(cost_table(entries[:1]), "markdown")


def test_trade_offs_count_both(entries: list[ScoredRow]) -> None:
    assert [mark.cost for mark in marks(entries, _fit_seconds, 1.0)] == [200.0, 202.0]


def test_bases_of_bases_are_added(store: Store, tmp_path: Path) -> None:
    one = add_row(store, "one", {0: Outcome(1, fit_s=100.0)})
    two = add_row(store, "two", {0: Outcome(1, fit_s=10.0, base=one.runs[0])})
    three = add_row(store, "three", {0: Outcome(1, fit_s=1.0, base=two.runs[0])})
    entry = collect(write_grid(store, one, two, three))[2]
    assert run_cost(entry.seeds[0]).base_fit_s == 110.0


def test_a_base_that_the_store_lacks_is_no_number(store: Store) -> None:
    row = add_row(store, "a", {0: Outcome(1, reused=("base",), base="neuralef-s0-0123456789ab")})
    (entry,) = collect(write_grid(store, row))
    table = main_table([entry])
    assert table.rows[0].cells["base_fit_s"].value is None
    assert table.rows[0].cells["fit_s"].marks
