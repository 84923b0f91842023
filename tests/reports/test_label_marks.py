"""Rows that use labels are marked wherever they appear, in every format."""

from __future__ import annotations

import csv
import io
import json

import pytest
from report_samples import Outcome, add_row, outcomes, write_grid

from spectral_bench.reports import render
from spectral_bench.reports.ablations import ablations
from spectral_bench.reports.api import all_tables
from spectral_bench.reports.collect import collect
from spectral_bench.reports.figures.ablation import ablation_figure
from spectral_bench.reports.figures.per_class import per_class_figure
from spectral_bench.reports.figures.stages import stage_figure
from spectral_bench.reports.figures.trade_off import trade_off_figure
from spectral_bench.reports.html.runs import RunBook
from spectral_bench.reports.renderers.macros import render_macros
from spectral_bench.reports.rows import ScoredRow
from spectral_bench.reports.table import Table
from spectral_bench.results.store import Store


@pytest.fixture
def entries(store: Store) -> list[ScoredRow]:
    rows = (
        add_row(store, "plain", outcomes(10, 12)),
        add_row(store, "seer", outcomes(5, 6), uses_labels=True),
        add_row(store, "base", outcomes(20, 21), uses_labels=True, role="baseline"),
        add_row(store, "more", outcomes(22, 23), uses_labels=True, role="variation", factor="k", value=4),
    )
    return collect(write_grid(store, *rows))


@pytest.fixture
def tables(entries: list[ScoredRow]) -> list[Table]:
    return all_tables(entries)


def test_every_table_marks_them_in_every_format_for_people(tables: list[Table]) -> None:
    assert {table.name.split("-")[0] for table in tables} >= {"main", "costs", "per", "ablation"}
    for table in tables:
        assert "Uses labels; kept out of rankings." in [note.text for note in table.notes], table.name
        markdown, latex = render(table, "markdown"), render(table, "latex")
        assert "[†] Uses labels; kept out of rankings." in markdown
        assert "Uses labels; kept out of rankings." in latex
        if table.name == "main":
            assert "| seer [†] " in markdown
            assert "| plain [†] " not in markdown


def test_csv_says_so_in_a_column_and_in_the_notes(tables: list[Table]) -> None:
    main = next(table for table in tables if table.name == "main")
    rows = {row["configuration"]: row for row in csv.DictReader(io.StringIO(render(main, "csv")))}
    assert {name: row["uses_labels"] for name, row in rows.items()} == {
        "plain": "no",
        "seer": "yes",
        "base": "yes",
        "more": "yes",
    }
    assert "Uses labels" in rows["seer"]["notes"]
    assert "Uses labels" not in rows["plain"]["notes"]


def test_macros_say_so_beside_each_number(tables: list[Table]) -> None:
    main = next(table for table in tables if table.name == "main")
    lines = [line for line in render_macros([main]).splitlines() if "bench:main/" in line]
    for line in lines:
        assert line.endswith(" (uses labels)") == ("bench:main/plain/" not in line), line


def test_the_runs_of_the_page_say_so(entries: list[ScoredRow], store: Store) -> None:
    book = RunBook(entries, store)
    told = {run["title"]: run["uses_labels"] for run in json.loads(book.payload())["runs"]}
    assert told == {"plain": False, "seer †": True, "base †": True, "more †": True}


def test_figures_mark_their_titles(entries: list[ScoredRow]) -> None:
    stages, classes, trade_off = stage_figure(entries), per_class_figure(entries), trade_off_figure(entries)
    assert stages is not None
    assert classes is not None
    assert trade_off is not None
    names = [text.get_text() for text in stages.axes[0].get_yticklabels()]
    assert names == ["plain", "seer †", "base †", "more †", "features of random, synthetic"]
    assert [text.get_text() for text in classes.axes[0].get_xticklabels()] == ["plain", "seer †", "base †", "more †"]
    assert "seer †" in trade_off.axes[0].get_legend_handles_labels()[1]
    assert ablation_figure(ablations(entries)[0]).axes[0].get_ylabel() == "mIoU (%) †"


def test_a_record_that_used_labels_marks_a_row_whose_grid_does_not_say_so(store: Store) -> None:
    row = add_row(store, "a", {0: Outcome(1)})
    record = store.fit_record(row.runs[0])
    assert record is not None
    store.write_fit(record.model_copy(update={"uses_labels": True}))
    (entry,) = collect(write_grid(store, row))
    assert entry.marked_title == "a †"


def test_a_row_that_starts_from_a_fit_that_used_labels_is_marked(store: Store) -> None:
    base = add_row(store, "base", {0: Outcome(1)})
    record = store.fit_record(base.runs[0])
    assert record is not None
    store.write_fit(record.model_copy(update={"uses_labels": True}))
    row = add_row(store, "a", {0: Outcome(2, base=base.runs[0])})
    (entry,) = collect(write_grid(store, row))
    assert entry.marked_title == "a †"
