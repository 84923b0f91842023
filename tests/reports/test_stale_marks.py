"""Rows made with code that has changed since carry a note in every table, and their runs a mark on the page."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from report_samples import Outcome, add_row, outcomes, write_grid

from spectral_bench.reports import build_table, render
from spectral_bench.reports.ablations import ablations, compare
from spectral_bench.reports.api import all_tables
from spectral_bench.reports.collect import alike, collect
from spectral_bench.reports.html.page import render_html
from spectral_bench.reports.renderers.macros import render_macros
from spectral_bench.results.record import EvaluationRecord, FitRecord
from spectral_bench.results.store import Store


@pytest.fixture
def grid(store: Store) -> Store:
    return write_grid(store, add_row(store, "old", outcomes(10, 11)), add_row(store, "new", outcomes(20, 21)))


def changed(fit: FitRecord, evaluations: Sequence[EvaluationRecord]) -> list[str]:
    assert [record.run_id for record in evaluations] == [fit.run_id]
    is_old = fit.spec.params["title"] == "old"
    return ["methods.d", "methods.b", "methods.c", "methods.a"] if is_old and fit.spec.seed == 1 else []


def test_a_stale_row_has_a_note_that_names_seeds_and_modules(grid: Store):
    made = build_table(grid, changed=changed)
    (note,) = [note for note in made.notes if note.text.startswith("Stale")]
    assert note.text == "Stale (seed 1): code changed since: methods.a, methods.b, methods.c and 1 more."
    assert note.symbol in made.rows[0].cells["configuration"].marks
    assert note.symbol not in made.rows[1].cells["configuration"].marks


@pytest.mark.parametrize("form", ["markdown", "latex", "csv"])
def test_every_format_has_it(grid: Store, form: str):
    assert "code changed since" in render(build_table(grid, changed=changed), form)


def test_every_table_has_it(grid: Store):
    for table in all_tables(collect(grid, changed=changed)):
        assert any(note.text.startswith("Stale (seed 1)") for note in table.notes), table.name


def test_all_seeds_stale_are_not_counted_out(grid: Store):
    made = build_table(grid, changed=lambda fit, evaluations: ["methods.a"])
    assert [note.text for note in made.notes if note.text.startswith("Stale")] == [
        "Stale: code changed since: methods.a."
    ]


def test_nobody_asks_nothing_is_said(grid: Store):
    assert "Stale" not in render(build_table(grid), "markdown")


def test_the_page_names_all_modules_of_a_stale_run(grid: Store):
    entries = collect(grid, changed=changed)
    page = render_html(entries, grid, all_tables(entries), {})
    assert '"changed": ["methods.a", "methods.b", "methods.c", "methods.d"]' in page
    assert page.count('"changed": []') == 3


def rows_on_other_files(store: Store) -> Store:
    """A row whose second seed saw other labels than the newest row, one that says nothing of its data, the newest."""
    mixed = {0: Outcome(10, files=("a", "b")), 1: Outcome(11, files=("a", "x"))}
    newest = {seed: Outcome(20 + seed, files=("a", "b"), finished="2026-02-01T00:00:00+00:00") for seed in range(2)}
    return write_grid(
        store,
        add_row(store, "mixed", mixed),
        add_row(store, "silent", outcomes(5, 6)),
        add_row(store, "newest", newest),
    )


def test_rows_evaluated_on_other_files_are_marked_and_not_compared(store: Store):
    made = build_table(rows_on_other_files(store))
    (note,) = [note for note in made.notes if note.text.startswith("Not comparable")]
    assert note.text == "Not comparable (seed 1): saw other files of its data than newer runs."
    assert [note.symbol in row.cells["configuration"].marks for row in made.rows] == [True, False, False]
    assert sorted(map(sorted, alike(collect(store)).values())) == [[0], [1, 2]]


def test_rows_that_saw_other_data_are_neither_best_nor_an_effect(store: Store):
    later = "2026-02-01T00:00:00+00:00"
    old = {seed: Outcome(5 + seed % 2, files=("a", "x")) for seed in range(6)}
    new = {seed: Outcome(20 + seed % 2, files=("a", "b"), finished=later) for seed in range(6)}
    base = add_row(store, "base", old, role="baseline")
    write_grid(store, base, add_row(store, "varied", new, role="variation", factor="k", value=8))
    made = build_table(store)
    assert [row.ranked for row in made.rows] == [False, True]
    assert not any(cell.bold for row in made.rows for cell in row.cells.values())
    (ablation,) = ablations(collect(store))
    assert compare(ablation, {"miou": lambda scores: scores.miou}).differences == {}


def test_a_number_of_a_row_that_saw_other_data_is_not_said_to_use_labels(store: Store):
    lines = render_macros([build_table(rows_on_other_files(store))]).splitlines()
    mixed, newest = ([line for line in lines if f"bench:main/{row}/" in line] for row in ("mixed", "newest"))
    assert mixed
    assert newest
    assert all(line.endswith(" (not ranked)") for line in mixed)
    assert not any("(not ranked)" in line or "(uses labels)" in line for line in newest)
