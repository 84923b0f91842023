"""Differences of every row to a named one: paired by seed, and only between rows of one K, data and protocol."""

from __future__ import annotations

import numpy as np
import pytest
from report_samples import WHOLE, Outcome, add_row, miou, outcomes, write_grid

from spectral_bench.common.errors import UserError
from spectral_bench.reports.against_table import against_table, differences
from spectral_bench.reports.collect import collect
from spectral_bench.reports.figures.all import all_figures
from spectral_bench.reports.figures.clusters import MOST_LINES, clusters_figure, curves
from spectral_bench.reports.figures.differences import differences_figures
from spectral_bench.reports.rows import ScoredRow
from spectral_bench.results.comparison import MIN_SEEDS
from spectral_bench.results.manifest import ManifestRow
from spectral_bench.results.specification import Protocol, Scoring
from spectral_bench.results.statistics import holm, paired_difference
from spectral_bench.results.store import Store

HUNGARIAN = Protocol(name="one", view=WHOLE.view, scoring=Scoring(matching="hungarian"))
REFERENCE, BETTER, NEAR = (20, 22, 21, 24, 23), (10, 13, 11, 13, 14), (20, 23, 21, 25, 22)


@pytest.fixture
def entries(store: Store) -> list[ScoredRow]:
    """Three rows under two protocols, and one of another backbone."""
    both = [WHOLE, HUNGARIAN]
    rows = [
        add_row(store, "near", outcomes(*NEAR), protocols=both),
        add_row(store, "k-means", outcomes(*REFERENCE), protocols=both),
        add_row(store, "better", outcomes(*BETTER), protocols=both),
        add_row(store, "elsewhere", outcomes(1, 2), backbone="other"),
    ]
    return collect(write_grid(store, *rows))


def test_rows_are_compared_with_the_named_one_under_each_protocol(entries: list[ScoredRow]) -> None:
    table = against_table(entries, ["k-means"])
    told = [(row.cells["configuration"].value, row.cells["protocol"].value) for row in table.rows]
    names = ["k-means", "near", "better"]
    assert told == [(name, protocol) for protocol in ("whole", "one") for name in names]
    assert {row.cells["against"].value for row in table.rows} == {"k-means"}
    first, near, better, *_ = (row.cells for row in table.rows)
    assert "mIoU_difference" not in first
    found = paired_difference(dict(enumerate(map(miou, BETTER))), dict(enumerate(map(miou, REFERENCE))))
    assert found is not None
    cell = better["mIoU_difference"]
    assert (cell.value, cell.low, cell.high) == pytest.approx(
        (found.summary.mean, found.summary.low, found.summary.high)
    )
    assert len(BETTER) >= MIN_SEEDS
    assert (near["verdict"].value, better["verdict"].value) == ("undecided", "better")
    assert any("Left out" in note.text and "elsewhere" in note.text for note in table.notes)


def test_p_values_are_corrected_over_the_whole_table(entries: list[ScoredRow]) -> None:
    """Two rows, two protocols and two metrics are eight differences, of which Holm's method corrects all."""
    rows = against_table(entries, ["k-means"]).rows
    told = [row.cells[key].number for row in rows for key in ("mIoU_p", "accuracy_p") if key in row.cells]
    raw = []
    for wrong in (NEAR, BETTER):
        pair = paired_difference(dict(enumerate(map(miou, wrong))), dict(enumerate(map(miou, REFERENCE))))
        accuracy = paired_difference(
            {seed: 100.0 - value for seed, value in enumerate(wrong)},
            {seed: 100.0 - value for seed, value in enumerate(REFERENCE)},
        )
        assert pair is not None
        assert accuracy is not None
        assert pair.p is not None
        assert accuracy.p is not None
        raw += [pair.p, accuracy.p]
    assert told == pytest.approx(list(holm(dict(enumerate(raw * 2))).values()))


def test_each_k_has_a_reference_of_its_own(store: Store) -> None:
    rows = [
        add_row(
            store, f"{name}, K = {k}", {seed: Outcome(wrong + seed, evaluation_status=None) for seed in (0, 1)}, k=k
        )
        for k in (2, 8)
        for name, wrong in (("k-means", 20), ("cut", 10))
    ]
    table = against_table(collect(write_grid(store, *rows)), ["k-means*"])
    told = [(row.cells["configuration"].value, row.cells["against"].value) for row in table.rows]
    assert told == [(f"{name}, K = {k}", f"k-means, K = {k}") for k in (2, 8) for name in ("k-means", "cut")]


def test_the_same_runs_under_another_title_are_no_other_row(store: Store) -> None:
    row = add_row(store, "k-means", outcomes(3, 4))
    write_grid(store, row)
    write_grid(store, row.model_copy(update={"title": "baseline"}), name="other")
    assert len(against_table(collect(store), ["k-means"]).rows) == 1


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["k_means"], '--against: unknown row "k_means"; did you mean "k-means"'),
        (["k-means", "x*"], '--against: unknown row "x*"; valid: "better", "elsewhere", "k-means", "near"'),
        (["near", "k-means"], '--against: "near" and "k-means" are both named, and have K, data and protocol whole in'),
    ],
)
def test_bad_names(entries: list[ScoredRow], names: list[str], message: str) -> None:
    with pytest.raises(UserError) as refused:
        against_table(entries, names)
    assert message in str(refused.value)


def test_the_figure_shows_the_differences_of_the_table(store: Store, entries: list[ScoredRow]) -> None:
    table = against_table(entries, ["k-means"])
    (figure,) = differences_figures(differences(entries, ["k-means"]))
    names = ["near", "better"]
    assert [axes.get_title() for axes in figure.axes] == ["whole", "one"]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == names
    for axes in figure.axes:
        zero, *drawn = axes.get_lines()
        assert np.asarray(zero.get_xdata()).tolist() == [0, 0]
        for place, name in enumerate(names):
            interval, mark = drawn[2 * place : 2 * place + 2]
            wanted = (name, axes.get_title())
            (cells,) = (
                row.cells
                for row in table.rows
                if (row.cells["configuration"].value, row.cells["protocol"].value) == wanted
            )
            cell = cells["mIoU_difference"]
            assert np.asarray(interval.get_xdata()).tolist() == [cell.low, cell.high]
            assert np.asarray(mark.get_data()).tolist() == [[cell.value], [place]]
            assert (mark.get_markerfacecolor() == "white") == (cells["verdict"].value == "undecided")
    assert "differences-1" in all_figures(entries, store.run_folder, against=["k-means"])
    assert "differences-1" not in all_figures(entries, store.run_folder)


def of_k(store: Store, title: str, k: int, wrong: int, **changes: object) -> ManifestRow:
    return add_row(
        store, f"{title}, K = {k}", outcomes(wrong, wrong + 1), k=k, settings={"k": k, "title": title}, **changes
    )


def with_k(entries: list[ScoredRow], monkeypatch: pytest.MonkeyPatch) -> list[ScoredRow]:
    """Counts of the samples all have two clusters: take K from the grid."""
    monkeypatch.setattr("spectral_bench.reports.figures.clusters.clusters", lambda entry: entry.row.k)
    return entries


def test_curves_join_rows_that_differ_in_k_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [of_k(store, title, k, k // 8) for k in (64, 11) for title in ("a", "b")]
    rows += [of_k(store, "alone", 64, 5), of_k(store, "sees", 64, 1, uses_labels=True)]
    rows += [of_k(store, "sees", 11, 1, uses_labels=True)]
    entries = with_k(collect(write_grid(store, *rows)), monkeypatch)
    found = curves(entries)
    assert {title: list(points) for title, points in found.items()} == {"a": [11, 64], "b": [11, 64]}
    assert found["a"][64].mean == pytest.approx((miou(8) + miou(9)) / 2)
    figure = clusters_figure(entries)
    assert figure is not None
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["11", "64"]
    assert axes.get_legend_handles_labels()[1] == ["a", "b"]
    assert "clusters-1" in all_figures(entries, store.run_folder)


def test_no_second_k_gives_no_figure_and_many_are_cut(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [of_k(store, f"row{number}", 8, 5) for number in range(MOST_LINES + 1)]
    assert clusters_figure(with_k(collect(write_grid(store, *rows)), monkeypatch)) is None
    rows += [of_k(store, f"row{number}", 16, 5) for number in range(MOST_LINES + 1)]
    figure = clusters_figure(collect(write_grid(store, *rows)))
    assert figure is not None
    assert len(figure.axes[0].get_legend_handles_labels()[1]) == MOST_LINES
