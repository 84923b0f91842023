"""What a report may cost, in operations: contingencies opened, records read, tests computed, figures drawn."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from fontTools import subset
from fontTools.ttLib.tables.otBase import BaseTTXConverter
from matplotlib.figure import Figure
from report_samples import VIEW, WHOLE, Outcome, add_row, outcomes, write_grid
from work_counter import calls

from spectral_bench.reports.api import build_tables
from spectral_bench.reports.collect import collect
from spectral_bench.reports.figures.style import FORMATS, new_figure, rendered
from spectral_bench.reports.renderers.macros import render_macros
from spectral_bench.reports.table import Cell, Column, Table, TableRow
from spectral_bench.results import comparison, kept_scores, pairs
from spectral_bench.results.comparison import rank
from spectral_bench.results.contingency import Contingency
from spectral_bench.results.runs import RunRecords
from spectral_bench.results.specification import Protocol, Scoring
from spectral_bench.results.store import Store

Count = Callable[[Callable[[], object]], int]


def counter(owner: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> Count:
    """Counts how often a function is called during some work."""
    seen: list[object] = []
    original = getattr(owner, name)
    bound = classmethod if name == "load" else lambda function: function

    def told(*given: Any, **named: Any) -> Any:
        seen.append(given)
        return original(*given[1:], **named) if bound is classmethod else original(*given, **named)

    monkeypatch.setattr(owner, name, bound(told))

    def count(work: Callable[[], object]) -> int:
        before = len(seen)
        work()
        return len(seen) - before

    return count


@pytest.fixture
def filled(store: Store) -> Store:
    hungarian = Protocol(name="hungarian", view=VIEW, scoring=Scoring(matching="hungarian"))
    one = add_row(store, "a", outcomes(1, 2, 3), protocols=[WHOLE, hungarian])
    return write_grid(store, one, add_row(store, "b", outcomes(4, 5, 6), protocols=[WHOLE, hungarian]))


def test_a_contingency_is_opened_once_a_scoring_and_never_again(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = counter(Contingency, "load", monkeypatch)
    assert opened(lambda: collect(filled)) == 12  # six runs under two protocols
    assert opened(lambda: collect(Store.open(filled.path))) == 0
    assert opened(lambda: collect(filled, matching="hungarian")) == 0  # scored so for the other protocol
    assert opened(lambda: collect(filled, matching="majority")) == 6
    assert opened(lambda: build_tables(filled, matching="majority")) == 0


def test_only_new_runs_are_opened(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    collect(filled)
    opened = counter(Contingency, "load", monkeypatch)
    row = add_row(filled, "c", {0: Outcome(7)})
    write_grid(filled, row, name="later")
    assert opened(lambda: collect(filled)) == 1
    add_row(filled, "c", {0: Outcome(8)})  # evaluated anew: other counts
    assert opened(lambda: collect(filled)) == 1
    add_row(filled, "c", {0: Outcome(2)})  # counts that another run has, too
    assert opened(lambda: collect(filled)) == 0


def test_changed_code_and_a_removed_folder_open_all_again(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    collect(filled)
    opened = counter(Contingency, "load", monkeypatch)
    monkeypatch.setattr(kept_scores, "CODE", "0" * 32)
    assert opened(lambda: collect(filled)) == 12
    for path in filled.scores_folder.rglob("*.json"):
        path.unlink()
    assert opened(lambda: collect(filled)) == 12


def test_a_torn_contingency_is_no_score_although_one_is_kept(filled: Store) -> None:
    before = [result.scores for entry in collect(filled) for result in entry.seeds]
    assert None not in before
    torn = next(filled.records_folder.rglob("*.npz"))
    torn.write_bytes(torn.read_bytes()[:-1])
    after = [result.scores for entry in collect(filled) for result in entry.seeds]
    assert after.count(None) == 2  # under both protocols


@pytest.mark.parametrize(("read", "expected"), [("fit_record", 6), ("evaluation_record", 6)])
def test_each_record_is_read_once(read: str, expected: int, filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    collect(filled)
    counted = counter(RunRecords, read, monkeypatch)
    assert counted(lambda: collect(filled)) == expected


def test_records_share_what_is_equal(store: Store) -> None:
    seeds = {seed: Outcome(seed, environment={"cpu": "one", "packages": {"torch": "2"}}) for seed in range(3)}
    write_grid(store, add_row(store, "a", seeds))
    (entry,) = collect(store)
    fits = [result.fit for result in entry.seeds]
    assert len({id(fit.environment) for fit in fits if fit is not None}) == 1
    evaluations = [result.evaluation for result in entry.seeds]
    assert len({id(record.class_sets) for record in evaluations if record is not None}) == 1
    assert len({id(record.view) for record in evaluations if record is not None}) == 1


def test_pairs_are_compared_by_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    def columns(n: int) -> dict[str, dict[str, dict[int, float]]]:
        return {"x": {f"row {row}": {seed: row + 0.1 * seed * row for seed in range(5)} for row in range(n)}}

    blocks = counter(pairs, "_compared", monkeypatch)
    assert blocks(lambda: rank(columns(200))) == 1  # of 19 900 pairs
    alone = counter(comparison, "summarise", monkeypatch)
    assert alone(lambda: rank(columns(200))) == 200  # the mean of each row
    assert calls(lambda: rank(columns(200))) < 200 * 50


def table(n: int) -> Table:
    columns = (Column("name", "name"), *(Column(f"c{number}", "c", "number", spread="std") for number in range(5)))
    cells = [
        {"name": Cell(f"row {row % 7}")} | {f"c{number}": Cell(1.5 * row, std=0.1) for number in range(5)}
        for row in range(n)
    ]
    return Table("t", "C.", columns, tuple(TableRow(one) for one in cells))


def test_the_numbers_of_twice_the_rows_take_twice_the_work() -> None:
    small, large = (calls(lambda n=n: render_macros([table(n)])) for n in (100, 200))
    assert large < 2.2 * small


def test_a_figure_is_laid_out_once_and_drawn_once_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = new_figure(2.0)
    figure.subplots().set_xlabel("x")
    drawn = counter(Figure, "draw", monkeypatch)
    assert drawn(lambda: [rendered(figure, form) for form in FORMATS]) == len(FORMATS)


def test_rules_of_layout_of_an_embedded_font_are_never_read(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = new_figure(2.0)
    figure.subplots().set_xlabel("fi")  # a ligature, which rules of layout would add
    load, embedded = subset.load_font, []
    monkeypatch.setattr(subset.Subsetter, "subset", _told(subset.Subsetter.subset, embedded))
    read = counter(BaseTTXConverter, "decompile", monkeypatch)  # of the tables of layout, which are one class
    assert read(lambda: rendered(figure, "pdf")) == 0
    assert embedded
    for font in embedded:
        assert not {"GDEF", "GPOS", "GSUB", "MATH", "kern"} & set(font.keys())
        assert {"glyf", "hmtx", "fpgm", "prep"} <= set(font.keys())
    assert subset.load_font is load


def _told(cut: Callable[..., None], seen: list[Any]) -> Callable[..., None]:
    """``Subsetter.subset`` that adds the font which it has cut down to ``seen``."""

    def told(self: subset.Subsetter, font: Any) -> None:
        cut(self, font)
        seen.append(font)

    return told


def loaded_by(module: str) -> set[str]:
    """What a process has imported that imports one module."""
    look = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", look], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_what_draws_imports_neither_seaborn_nor_what_it_brings() -> None:
    """seaborn, pandas and scipy.stats take longer to import than a figure to draw."""
    assert not {"seaborn", "pandas", "scipy.stats", "torch"} & loaded_by("spectral_bench.reports.write")


def test_tables_wait_for_no_drawing_and_panels_for_no_triton() -> None:
    assert not {"matplotlib", "torch"} & loaded_by("spectral_bench.bench.cli.report")
    assert "triton" not in loaded_by("spectral_bench.bench.predict.panels")
