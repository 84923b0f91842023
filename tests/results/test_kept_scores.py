"""Scores that a store keeps: found again bit for bit, and only for what they were computed from."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from spectral_bench.results import kept_scores
from spectral_bench.results.kept_scores import MOST_FILES, KeptScores, ScoreKey
from spectral_bench.results.metrics import Scores
from spectral_bench.results.record import ClassTable

CLASSES = ClassTable(classes=["sky", "sea"], raw_ids=[[0, 3], [1]])
KEY = ScoreKey(("c" * 64,), CLASSES, "iou")
SCORES = Scores(
    classes=("sky", "sea"),
    iou=np.array([1 / 3, math.nan]),
    class_accuracy=np.array([0.1 + 0.2, math.nan]),
    miou=1 / 3,
    accuracy=0.1,
    mean_accuracy=2 / 3,
    ari=-0.25,
    nmi=1e-17,
    clusters_in_use=3,
    classes_present=1,
    matching=np.array([0, -1, 1]),
    n_images=7,
    n_pixels=2**40,
)


def key(number: int) -> ScoreKey:
    return replace(KEY, counted=(f"{number:064d}",))


def save(folder: Path, *keys: ScoreKey) -> None:
    kept = KeptScores(folder)
    for one in keys:
        kept.add(one, SCORES)
    kept.save()


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def assert_same(found: Scores | None) -> None:
    assert found is not None
    for field in fields(Scores):
        one, other = getattr(found, field.name), getattr(SCORES, field.name)
        if isinstance(other, np.ndarray):
            assert (one.dtype, one.tobytes(), one.flags.writeable) == (other.dtype, other.tobytes(), True)
        else:
            assert (type(one), one) == (type(other), other)


def test_a_score_is_found_again_bit_for_bit(tmp_path: Path) -> None:
    kept = KeptScores(tmp_path / "scores")
    assert kept.find(KEY) is None
    kept.add(KEY, SCORES)
    assert_same(kept.find(KEY))
    kept.save()
    assert_same(kept.find(KEY))
    assert_same(KeptScores(tmp_path / "scores").find(KEY))


@pytest.mark.parametrize(
    "other",
    [
        replace(KEY, counted=("d" * 64,)),
        replace(KEY, counted=("c" * 64, "d" * 64)),
        replace(KEY, classes=ClassTable(classes=["sky", "sea"], raw_ids=[[0], [1, 3]])),
        replace(KEY, matching="hungarian"),
    ],
    ids=["counts", "counts that the matching is fitted on", "classes", "matching"],
)
def test_no_other_score_is_served(other: ScoreKey, tmp_path: Path) -> None:
    save(tmp_path, KEY)
    assert KeptScores(tmp_path).find(other) is None


def test_classes_that_were_renamed_keep_their_scores(tmp_path: Path) -> None:
    save(tmp_path, KEY)
    renamed = replace(KEY, classes=ClassTable(classes=["air", "water"], raw_ids=CLASSES.raw_ids))
    found = KeptScores(tmp_path).find(renamed)
    assert found is not None
    assert found.classes == ("air", "water")


def test_other_code_finds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, KEY)
    monkeypatch.setattr(kept_scores, "CODE", "0" * 32)
    assert KeptScores(tmp_path).find(KEY) is None


@pytest.mark.parametrize("module", ["agreement", "contingency", "matching", "metrics", "npz", "kept_scores"])
def test_the_digest_of_the_code_knows_every_module_on_the_way(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = kept_scores.loaded_source

    def edited(path: str) -> bytes | None:
        source = loaded(path) or Path(path).read_bytes()
        return source + b"\n# edited\n" if Path(path).stem == module else source

    assert kept_scores._code() == kept_scores.CODE
    monkeypatch.setattr(kept_scores, "loaded_source", edited)
    assert kept_scores._code() != kept_scores.CODE


def test_the_digest_of_the_code_knows_numpy_and_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    for library in (kept_scores.np, kept_scores.scipy):
        with monkeypatch.context() as patch:
            patch.setattr(library, "__version__", "0")
            assert kept_scores._code() != kept_scores.CODE


def test_a_file_that_is_not_what_its_name_says_counts_for_nothing(tmp_path: Path) -> None:
    save(tmp_path, KEY)
    (path,) = files(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"0.1", b"0.9"))
    assert KeptScores(tmp_path).find(KEY) is None
    path.write_bytes(b"")
    (path.parent / "notes.json").write_text("[")
    assert KeptScores(tmp_path).find(KEY) is None
    save(tmp_path, KEY)
    assert_same(KeptScores(tmp_path).find(KEY))


def test_many_files_become_one_and_nothing_is_lost(tmp_path: Path) -> None:
    for number in range(MOST_FILES + 3):
        save(tmp_path, key(number))
    assert len(files(tmp_path)) == 3
    kept = KeptScores(tmp_path)
    assert all(kept.find(key(number)) is not None for number in range(MOST_FILES + 3))


def test_writers_side_by_side_keep_what_each_of_them_has(tmp_path: Path) -> None:
    one, other = KeptScores(tmp_path), KeptScores(tmp_path)
    one.find(KEY), other.find(KEY)  # both have read the store before either wrote
    one.add(key(1), SCORES)
    other.add(key(1), SCORES)
    other.add(key(2), SCORES)
    one.save(), other.save()
    kept = KeptScores(tmp_path)
    assert_same(kept.find(key(1)))
    assert_same(kept.find(key(2)))


def test_a_file_that_another_process_merged_meanwhile_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, KEY)
    listed = kept_scores._files
    monkeypatch.setattr(kept_scores, "_files", lambda folder: ["0" * 32 + ".json", *listed(folder)])
    assert_same(KeptScores(tmp_path).find(KEY))


def test_a_store_that_cannot_be_written_keeps_nothing_and_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "scores").write_text("no folder")
    kept = KeptScores(tmp_path / "scores")
    kept.add(KEY, SCORES)
    kept.save()
    assert_same(kept.find(KEY))
    assert (tmp_path / "scores").read_text() == "no folder"


def test_what_a_killed_writer_left_is_no_score(tmp_path: Path) -> None:
    save(tmp_path, KEY)
    (path,) = files(tmp_path)
    (path.parent / f".{path.name}.x.tmp").write_bytes(b"{")
    assert_same(KeptScores(tmp_path).find(KEY))
