"""Rows that are named by text: marked wherever they stand, and scored by their own names where that is asked for."""

from __future__ import annotations

import pytest
from report_samples import CLASSES, Outcome, add_row, contingency, miou, outcomes, write_grid

from spectral_bench.reports import build_table, render
from spectral_bench.reports.cells import TEXT_NOTE
from spectral_bench.reports.collect import collect
from spectral_bench.reports.figures.all import caption
from spectral_bench.reports.table import CellState
from spectral_bench.results.specification import Scoring
from spectral_bench.results.store import Store

TEXT = {"text": "/somewhere/t.safetensors", "text_digest": "0123456789abcdef", "k": 2}


@pytest.fixture
def filled(store: Store) -> Store:
    by_text = {seed: Outcome(counts=contingency(90 + seed)) for seed in range(2)}  # most pixels are named wrongly
    rows = [add_row(store, "text", by_text, method="maskclip", params=TEXT), add_row(store, "plain", outcomes(20, 21))]
    return write_grid(store, *rows)


def test_names_are_kept_by_matching_text_and_labels_may_mend_them_by_others(filled: Store) -> None:
    own, named = (collect(filled, matching=how)[0] for how in ("own", "text"))
    scores = [[100 * result.scores.miou for result in entry.done if result.scores] for entry in (own, named)]
    assert scores == [pytest.approx([miou(10), miou(9)]), pytest.approx([miou(90), miou(91)])]
    assert CLASSES.classes == ["sky", "sea"]


def test_clusters_without_names_have_no_score_by_text(filled: Store) -> None:
    plain = collect(filled, matching="text")[1]
    assert {result.state for result in plain.seeds} == {CellState.NOT_APPLICABLE}
    assert "these clusters have no names" in plain.seeds[0].reason


@pytest.mark.parametrize("form", ["markdown", "latex", "csv"])
@pytest.mark.parametrize("matching", ["own", "text"])
def test_each_form_of_a_table_marks_them_alone(filled: Store, form: str, matching: str) -> None:
    text = render(build_table(filled, matching=matching), form)
    assert TEXT_NOTE.split(":")[0] in text
    if form == "markdown":
        (line,) = [line for line in text.splitlines() if "‖" in line and line.startswith("|")]
        assert "text" in line
    if form == "latex":
        assert r"\ensuremath{\|}" in text
        assert "‖" not in text


def test_figures_explain_the_mark_where_it_stands(filled: Store) -> None:
    entries = collect(filled)
    assert [entry.marked_title for entry in entries] == ["text ‖", "plain"]
    assert "‖: named by text" in caption("ablation", entries)
    assert "‖" not in caption("ablation", entries[1:])


def test_they_take_part_in_rankings_as_they_see_no_label(filled: Store) -> None:
    assert [entry.ranked for entry in collect(filled)] == [True, True]


def test_a_matching_by_text_is_fitted_nowhere() -> None:
    with pytest.raises(ValueError, match="matching text is fitted on no labels"):
        Scoring(matching="text", fit_split="train")
