"""Rows of methods of one's own that have not passed check-method are marked in every format."""

from __future__ import annotations

import csv
import io
import json
from typing import Literal

import pytest
from report_samples import add_row, outcomes, write_grid

from spectral_bench.reports import render
from spectral_bench.reports.api import all_tables
from spectral_bench.reports.collect import collect
from spectral_bench.reports.figures.all import caption
from spectral_bench.reports.figures.stages import stage_figure
from spectral_bench.reports.figures.trade_off import marks
from spectral_bench.reports.html.runs import RunBook
from spectral_bench.reports.own_methods import BROKEN_SYMBOL, NOTES, UNPROVEN_SYMBOL
from spectral_bench.reports.renderers.macros import render_macros
from spectral_bench.reports.rows import ScoredRow
from spectral_bench.reports.table import Table
from spectral_bench.results.checks import CheckResult, write_check
from spectral_bench.results.manifest import ManifestRow
from spectral_bench.results.record import MethodCheck
from spectral_bench.results.store import Store

CODES = {"passed": "a" * 16, "failed": "b" * 16, "not_checked": "c" * 16}


def own_row(store: Store, title: str, verdict: Literal["passed", "failed", "not_checked"], *wrong: int) -> ManifestRow:
    row = add_row(store, title, outcomes(*wrong), method="lab/own.py:Mine")
    for run_id in row.runs.values():
        record = store.fit_record(run_id)
        assert record is not None
        check = MethodCheck(code=CODES[verdict], verdict=verdict)
        store.write_fit(record.model_copy(update={"method_check": check}))
    return row


@pytest.fixture
def entries(store: Store) -> list[ScoredRow]:
    rows = (
        add_row(store, "ships", outcomes(30, 31, 32, 33, 34)),
        own_row(store, "proven", "passed", 10, 11, 12, 13, 14),
        own_row(store, "unproven", "not_checked", 20, 21, 22, 23, 24),
        own_row(store, "broken", "failed", 1, 2, 3, 4, 5),
        add_row(store, "old", outcomes(40, 41, 42, 43, 44), method="lab/old.py:Mine"),
    )
    return collect(write_grid(store, *rows))


@pytest.fixture
def main(entries: list[ScoredRow]) -> Table:
    return next(table for table in all_tables(entries) if table.name == "main")


def keep(store: Store, code: str, broken: dict[str, str]) -> None:
    result = CheckResult(method="m", code=code, params={}, device="cpu", finished="", promises=[], broken=broken)
    write_check(store.path, result)


def test_what_is_known_of_each_row(entries: list[ScoredRow]) -> None:
    assert {entry.row.title: (entry.own_code, entry.marked_title, entry.ranked) for entry in entries} == {
        "ships": ("", "ships", True),
        "proven": ("passed", "proven", True),
        "unproven": ("not checked", "unproven ‡", True),
        "broken": ("failed", "broken §", False),
        "old": ("not stated", "old ‡", True),
    }


def test_the_best_row_is_not_one_that_broke_a_promise(main: Table) -> None:
    bold = {str(row.cells["configuration"].value): row.cells["mIoU"].bold for row in main.rows}
    assert bold == {"ships": False, "proven": True, "unproven": False, "broken": False, "old": False}


def test_tables_mark_them_in_every_format_for_people(entries: list[ScoredRow]) -> None:
    for table in all_tables(entries):
        texts = [note.text for note in table.notes]
        if any("configuration" in row.cells for row in table.rows):
            assert texts.count(NOTES[UNPROVEN_SYMBOL]) == texts.count(NOTES[BROKEN_SYMBOL]) == 1, table.name
    main = next(table for table in all_tables(entries) if table.name == "main")
    markdown, latex = render(main, "markdown"), render(main, "latex")
    assert "| unproven [‡] " in markdown
    assert "| broken [§] " in markdown
    assert "| proven " in markdown
    assert f"[‡] {NOTES[UNPROVEN_SYMBOL]}" in markdown
    assert r"\textdaggerdbl{}" in latex
    assert r"\S{}" in latex


def test_csv_says_so_in_a_column_and_in_the_notes(main: Table) -> None:
    rows = {row["configuration"]: row for row in csv.DictReader(io.StringIO(render(main, "csv")))}
    assert {name: row["own_code"] for name, row in rows.items()} == {
        "ships": "",
        "proven": "passed",
        "unproven": "not checked",
        "broken": "failed",
        "old": "not stated",
    }
    assert "has not passed check-method" in rows["unproven"]["notes"]
    assert "check-method" not in rows["proven"]["notes"]


def test_macros_runs_of_the_page_and_figures_say_so(entries: list[ScoredRow], main: Table, store: Store) -> None:
    lines = [line for line in render_macros([main]).splitlines() if "bench:main/" in line]
    for line in lines:
        assert line.endswith(" (own code, not checked)") == ("/unproven/" in line or "/old/" in line), line
        assert line.endswith(" (own code that broke a promise)") == ("/broken/" in line), line
    told = {run["title"]: run["own_code"] for run in json.loads(RunBook(entries, store).payload())["runs"]}
    assert told == {"ships": "", "proven": "passed", "unproven ‡": "not checked", "broken §": "failed",
                    "old ‡": "not stated"}  # fmt: skip
    stages = stage_figure(entries)
    assert stages is not None
    assert "broken §" in [text.get_text() for text in stages.axes[0].get_yticklabels()]
    assert "‡: own code, not checked" in caption("stages-1")
    sound = {mark.title: mark.ranked for mark in marks(entries, lambda result: 1.0, 1.0)}
    assert sound == {"ships": True, "proven": True, "unproven ‡": True, "broken §": False, "old ‡": True}


def test_a_check_of_the_same_code_counts_though_it_came_after_the_run(entries: list[ScoredRow], store: Store) -> None:
    keep(store, CODES["not_checked"], {})
    keep(store, CODES["passed"], {"labels": "it looks at labels"})
    keep(store, CODES["failed"], {})
    assert {entry.row.title: entry.own_code for entry in collect(store)} == {
        "ships": "",
        "proven": "failed",
        "unproven": "passed",
        "broken": "passed",
        "old": "not stated",
    }


def test_the_worst_seed_decides(store: Store) -> None:
    row = own_row(store, "mixed", "passed", 1, 2, 3)
    record = store.fit_record(row.runs[1])
    assert record is not None
    check = MethodCheck(code=CODES["not_checked"], verdict="not_checked")
    store.write_fit(record.model_copy(update={"method_check": check}))
    (entry,) = collect(write_grid(store, row))
    assert entry.own_code == "not checked"
