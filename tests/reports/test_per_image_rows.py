"""Rows whose clusters are matched in each image: beside others, marked wherever they stand, never ranked with them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from report_samples import VIEW, WHOLE, Outcome, add_row, outcomes, write_grid

from spectral_bench.reports import build_table, build_tables, render, write_all
from spectral_bench.reports.ablations import ablations
from spectral_bench.reports.cells import PER_IMAGE_NOTE
from spectral_bench.reports.collect import collect
from spectral_bench.reports.compare import compare_entries
from spectral_bench.reports.figures.ablation import ablation_figure
from spectral_bench.reports.per_run import per_run
from spectral_bench.reports.table import CellState
from spectral_bench.results.contingency import Contingency
from spectral_bench.results.specification import Protocol, Scoring
from spectral_bench.results.store import Store

BOTH = ("own", "per_image_hungarian")
SUMS, MEAN = "per_image_hungarian", "per_image_hungarian_mean"


def turned(wrong: int) -> Contingency:
    """Two images; what cluster 0 is in the one, cluster 1 is in the other."""
    cells = [[0, 0, 0, 100 - wrong], [0, 0, 1, wrong], [0, 1, 1, 100], [1, 0, 1, 100], [1, 1, 0, 100]]
    image, cluster, label, count = np.array([cell for cell in cells if cell[3]], dtype=np.int64).T
    narrow = (part.astype(np.int32) for part in (image, cluster, label))
    return Contingency(("a", "b"), 2, 2, *narrow, count)


def seeds(*wrong: int) -> dict[int, Outcome]:
    return {seed: Outcome(counts=turned(value)) for seed, value in enumerate(wrong)}


@pytest.fixture
def filled(store: Store) -> Store:
    rows = [add_row(store, "a", seeds(0, 1, 2, 3, 4)), add_row(store, "b", seeds(50, 52, 53, 51, 55))]
    return write_grid(store, *rows)


def test_matchings_stand_beside_each_other_without_a_new_run(filled: Store) -> None:
    found = collect(filled, matching=[*BOTH, MEAN, "iou"])
    assert [(entry.row.title, entry.protocol.scoring.matching, entry.per_image) for entry in found[:4]] == [
        ("a", "iou", False),
        ("a", SUMS, True),
        ("a", MEAN, True),
        ("a", "iou", False),
    ]
    first = [entry.done[0].scores for entry in found[:3]]
    assert [scores.miou for scores in first if scores] == [0.25, 1.0, 1.0]
    assert len(build_table(filled, matching=[*BOTH, MEAN, "iou"]).rows) == 6  # own is iou here, and stands once


def test_rows_are_ranked_with_those_of_their_own_matching_alone(filled: Store) -> None:
    table = build_table(filled, matching=BOTH)
    marked = [row.cells for row in table.rows if str(row.cells["matching"].value).startswith("¶")]
    assert [(cells["configuration"].value, cells["mIoU"].bold) for cells in marked] == [("a", True), ("b", False)]
    own, other = (collect(filled, matching=how) for how in BOTH)
    (pair, _) = compare_entries(own, other).pairs
    assert {difference.word for difference in pair.differences} == {"not comparable"}
    assert "scoring.matching differ" in pair.differences[0].reason


@pytest.mark.parametrize("form", ["markdown", "latex", "csv"])
def test_each_form_of_a_table_marks_them(filled: Store, form: str) -> None:
    text = render(build_table(filled, matching=BOTH), form)
    assert PER_IMAGE_NOTE.split(":")[0] in " ".join(text.split())
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(text)))
        assert ["¶" in row["matching"] for row in rows] == [PER_IMAGE_NOTE in row["notes"] for row in rows]
        assert sum("¶" in row["matching"] for row in rows) == 2
    else:
        assert text.count("[¶]" if form == "markdown" else r"\P{}") >= 3


def test_a_caption_names_it_where_all_rows_have_it(filled: Store) -> None:
    head = render(build_table(filled, matching=MEAN), "markdown").splitlines()[0]
    assert "matching: ¶ Hungarian on counts anew in each image, mean of images" in head
    assert "[¶]" in render(build_table(filled, matching=MEAN), "markdown")


def test_reports_explain_the_mark_in_captions_and_count_costs_once(filled: Store, tmp_path: Path) -> None:
    write_all(filled, tmp_path / "r", matching=BOTH)
    index, page = ((tmp_path / "r" / name).read_text(encoding="utf-8") for name in ("index.md", "index.html"))
    assert "¶: clusters matched to classes anew in each image; not comparable with other rows." in index
    assert PER_IMAGE_NOTE in page
    assert len(list(csv.DictReader((tmp_path / "r/tables/costs.csv").open(encoding="utf-8")))) == 2
    assert r"a \P{}" in (tmp_path / "r/tables/per-class-2.tex").read_text()
    write_all(filled, tmp_path / "plain")
    assert "¶" not in (tmp_path / "plain" / "index.html").read_text(encoding="utf-8")
    assert "matched in each image" in (tmp_path / "r" / "numbers.tex").read_text()


def test_baselines_are_paired_with_changes_under_the_same_matching(store: Store) -> None:
    base = add_row(store, "a", seeds(0, 1), role="baseline")
    change = add_row(store, "b", seeds(50, 52), role="variation", factor="k", value=2)
    write_grid(store, base, change)
    (ablation,) = ablations(collect(store, matching=BOTH))
    assert {(one.asked, other.asked) for one, other in ablation.pairs} == {("", ""), (SUMS, SUMS)}
    assert len(ablation.pairs) == 4
    figure = ablation_figure(ablations(collect(store, matching=SUMS))[0])
    assert figure.axes[0].get_ylabel() == "mIoU (%) ¶"
    assert "[¶]" in render(build_tables(store, matching=SUMS)[1], "markdown")


def test_a_matching_of_another_split_is_refused_in_words(store: Store) -> None:
    train = VIEW.model_copy(update={"split": "train"})
    fitted = Protocol(name="fitted", view=VIEW, fit_view=train, scoring=Scoring(fit_split="train"))
    both = [fitted, Protocol(name="t", view=train, scoring=Scoring())]
    write_grid(store, add_row(store, "a", outcomes(10), protocols=both))
    (entry,) = collect(store, protocol="fitted", matching=SUMS)
    assert entry.seeds[0].state is CellState.NOT_APPLICABLE
    assert "matched in each image by its own labels" in entry.seeds[0].reason


def test_intervals_kept_scores_and_frames_hold_them(filled: Store) -> None:
    cells = [row.cells["mIoU_images"] for row in build_table(filled, matching=[SUMS, MEAN], resamples=50).rows]
    assert all(cell.low <= cell.value <= cell.high for cell in cells)
    again = [collect(filled, matching=how)[0].done[1].scores for how in (SUMS, SUMS)]
    assert again[0].matching is None
    assert again[0].miou == again[1].miou == pytest.approx((99 / 100 * 2 + 199 / 200 + 199 / 201) / 4, abs=0.01)
    frame = per_run(collect(filled, matching=BOTH))
    assert frame["matching"].value_counts().to_dict() == {"iou": 10, SUMS: 10}


def test_the_usual_protocol_is_as_before(filled: Store) -> None:
    assert [entry.protocol for entry in collect(filled)] == [WHOLE, WHOLE]
    assert "¶" not in render(build_table(filled), "markdown")
