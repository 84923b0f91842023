"""Rows that are named by text: marked wherever they stand, and scored by their own names where that is asked for."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from report_samples import CLASSES, START, VIEW, Outcome, add_row, contingency, miou, outcomes, write_grid

from spectral_bench.common.words import Words
from spectral_bench.reports import build_table, render
from spectral_bench.reports.capsule import pack
from spectral_bench.reports.cells import CALLED_NOTE, TEXT_NOTE
from spectral_bench.reports.collect import collect
from spectral_bench.reports.cost_table import cost_table
from spectral_bench.reports.figures.all import caption
from spectral_bench.reports.images import image_intervals
from spectral_bench.reports.replay import replay
from spectral_bench.reports.rows import TEXT_SYMBOL
from spectral_bench.reports.table import CellState
from spectral_bench.results.naming import ClusterVectors
from spectral_bench.results.record import EvaluationRecord, StageCost
from spectral_bench.results.specification import BackboneSpec, Names, Protocol, Scoring
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


AXES = np.eye(2, dtype=np.float32)
NETWORK = BackboneSpec(name="clip", weights="0123")


def called(names: tuple[str, ...] = ("sky", "sea")) -> tuple[Protocol, Words]:
    words = Words(names, AXES, np.arange(2))
    chosen = Names(text="/t.safetensors", text_digest=words.digest)
    named = VIEW.model_copy(update={"names": NETWORK})
    return Protocol(name="named", view=VIEW, name_view=named, scoring=Scoring(matching="text", names=chosen)), words


@pytest.fixture
def vectors(store: Store) -> Store:
    """Seed 0 has its clusters exchanged: by their features both are called as the other's class; of seed 1 one."""
    protocol, words = called()
    row = add_row(store, "kmeans", outcomes(10, 20), protocols=[protocol])
    store.keep_words(words)
    for seed, found in ((0, AXES[::-1]), (1, [[0.1, 0.2], [0, 0]])):
        run_id, view = row.runs[seed], protocol.name_view
        assert view is not None
        took = {"features": 9.0, "predict": 1.0 + seed, "names": 0.5}
        costs = [StageCost(stage=name, wall_s=each, cpu_s=each, peak_rss=1) for name, each in took.items()]
        record = EvaluationRecord(
            run_id=run_id, view_id=view.view_id, view=view, status="done", started=START, finished=START, costs=costs
        )
        counts = np.array([5, 5 if seed == 0 else 0])
        store.write_evaluation(record, ClusterVectors(counts, np.array(found, np.float32)))
    return write_grid(store, row)


def test_clusters_are_called_by_their_features_and_scored_from_stored_counts(vectors: Store) -> None:
    (entry,) = collect(vectors)
    first, second = (result.scores for result in entry.done)
    assert first is not None
    assert second is not None
    assert (first.matching.tolist(), second.matching.tolist()) == ([1, 0], [1, -1])
    assert 100 * first.miou == pytest.approx(miou(90))
    assert second.accuracy == pytest.approx(0.1)  # 20 of 200 pixels: the nameless cluster is wrong
    again = collect(vectors)[0].done[0].scores  # kept scores
    assert again is not None
    assert again.matching.tolist() == [1, 0]


def test_what_calling_them_took_has_a_column_of_its_own(vectors: Store) -> None:
    table = cost_table(collect(vectors))
    (column,) = [column for column in table.columns if column.key == "names_s"]
    assert column.label == "names by text"
    assert table.rows[0].cells["names_s"].value == pytest.approx(2.0)  # 1.5 and 2.5; the features have their own
    assert not [column for column in cost_table(collect(vectors, matching=["iou"])).columns if column.key == "names_s"]


def test_they_stand_beside_what_labels_give(vectors: Store) -> None:
    own, best, one = collect(vectors, matching=["own", "iou", "hungarian"])
    assert [entry.named_by_text for entry in (own, best, one)] == [True, False, False]
    by_labels = [100 * entry.done[0].scores.miou for entry in (best, one) if entry.done[0].scores]
    assert by_labels == [pytest.approx(miou(10))] * 2
    text = render(build_table(vectors, matching=["own", "iou", "hungarian"]), "markdown")
    assert CALLED_NOTE in text
    assert "by text, no label looked at, mean features of the evaluated images" in text
    assert "Features of clip, text " in text
    assert "0 or 1 clusters without a patch have no name" in text
    assert text.count("‖") == 2


def test_names_of_both_kinds_in_one_table_have_one_note(vectors: Store) -> None:
    given = add_row(vectors, "text", {0: Outcome(counts=contingency(90))}, method="maskclip", params=TEXT)
    write_grid(vectors, given, name="given")
    notes = build_table(vectors).notes
    (note,) = [note.text for note in notes if note.symbol == TEXT_SYMBOL]
    assert sorted(note.removeprefix("Named by text: ").split(" Or: ")) == sorted(
        text.removeprefix("Named by text: ") for text in (CALLED_NOTE, TEXT_NOTE)
    )


def test_the_interval_over_images_keeps_the_names(vectors: Store) -> None:
    (entry,) = collect(vectors)
    found = image_intervals(vectors, 20)(entry)  # of one image, so that all resamples are it
    mean = np.mean([result.scores.miou for result in entry.done if result.scores])
    assert found is not None
    assert (found.low, found.high) == (pytest.approx(mean), pytest.approx(mean))


@pytest.mark.parametrize("lost", ["vectors", "words"])
def test_what_is_missing_is_said_in_the_row(vectors: Store, lost: str) -> None:
    (entry,) = collect(vectors)
    view = entry.protocol.name_view
    assert view is not None
    shutil.rmtree(vectors.scores_folder)
    if lost == "vectors":
        for run_id in entry.all_runs:
            (vectors.run_folder(run_id) / "evaluations" / f"{view.view_id}.json").unlink()
    else:
        shutil.rmtree(vectors.path / "texts")
    (entry,) = collect(vectors)
    assert {result.state for result in entry.seeds} == {CellState.NOT_APPLICABLE}
    assert ("mean features of its clusters are missing" if lost == "vectors" else "missing") in entry.seeds[0].reason


def test_words_of_other_classes_have_no_score(store: Store) -> None:
    protocol, words = called(("sky", "moon"))
    row = add_row(store, "kmeans", outcomes(10), protocols=[protocol])
    store.keep_words(words)
    view = protocol.name_view
    assert view is not None
    record = EvaluationRecord(
        run_id=row.runs[0], view_id=view.view_id, view=view, status="done", started=START, finished=START
    )
    store.write_evaluation(record, ClusterVectors(np.array([1, 1]), AXES))
    (entry,) = collect(write_grid(store, row))
    assert "text /t.safetensors is of other classes than today's list" in entry.seeds[0].reason


def test_a_capsule_keeps_the_names(vectors: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spectral_bench.reports.capsule.rendered", lambda _, form: form.encode())
    vectors.keep_words(called(("land", "air"))[1])  # which no grid names clusters by
    packed = pack(vectors, tmp_path / "capsule").capsule
    assert [path for path in packed.kept if path.startswith("texts/")] == [f"texts/{called()[1].digest}.npz"]
    assert packed.left_out["words that the grids do not name clusters by"].files == 1
    ours, theirs = (
        [one.scores for one in collect(store)[0].done] for store in (vectors, Store.open(tmp_path / "capsule"))
    )
    assert [one.miou for one in ours if one] == [one.miou for one in theirs if one]
    assert len(theirs) == 2
    assert replay(tmp_path / "capsule").equal
    (tmp_path / "capsule" / next(iter(path for path in packed.kept if path.startswith("texts/")))).unlink()
    assert "missing" in {one.what for one in replay(tmp_path / "capsule").differences}
