"""Contingency against a loop over pixels, and its file against torn and foreign ones."""

from __future__ import annotations

import errno
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spectral_bench.common.errors import DataError, StoreError
from spectral_bench.results.contingency import Contingency, ContingencyBuilder, outside
from spectral_bench.results.npz import read_integers, write_integers

Pixels = NDArray[np.int64]


@st.composite
def scenes(draw: st.DrawFn) -> tuple[int, int, list[tuple[Pixels, Pixels]]]:
    """A number of clusters, of labels, and a few small images of both."""
    n_clusters, n_labels = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    images = []
    for _ in range(draw(st.integers(0, 5))):
        shape = tuple(rng.integers(1, 6, size=2))
        images.append((rng.integers(0, n_clusters, shape), rng.integers(0, n_labels, shape)))
    return n_clusters, n_labels, images


def build(n_clusters: int, n_labels: int, images: list[tuple[Pixels, Pixels]]) -> Contingency:
    builder = ContingencyBuilder(n_clusters, n_labels)
    for index, (clusters, labels) in enumerate(images):
        builder.add(f"image {index}", clusters, labels)
    return builder.build()


def count_by_loop(n_clusters: int, n_labels: int, images: list[tuple[Pixels, Pixels]]) -> Pixels:
    table = np.zeros((len(images), n_clusters, n_labels), dtype=np.int64)
    for index, (clusters, labels) in enumerate(images):
        for cluster, label in zip(clusters.ravel(), labels.ravel(), strict=True):
            table[index, cluster, label] += 1
    return table


def random_contingency(seed: int = 0, n_images: int = 7, n_clusters: int = 9, n_labels: int = 5) -> Contingency:
    rng = np.random.default_rng(seed)
    shape = (12, 11)
    images = [(rng.integers(0, n_clusters, shape), rng.integers(0, n_labels, shape)) for _ in range(n_images)]
    return build(n_clusters, n_labels, images)


@given(scenes())
def test_counts_equal_a_loop_over_pixels(scene: tuple[int, int, list[tuple[Pixels, Pixels]]]) -> None:
    contingency, expected = build(*scene), count_by_loop(*scene)
    dense = np.zeros_like(expected)
    dense[contingency.image, contingency.cluster, contingency.label] = contingency.count
    np.testing.assert_array_equal(dense, expected)
    np.testing.assert_array_equal(contingency.matrix(), expected.sum(axis=0))
    assert contingency.n_pixels == expected.sum()
    assert contingency.n_images == len(scene[2])
    assert np.count_nonzero(expected) == len(contingency.count)


@given(scenes(), st.integers(0, 2**32 - 1))
def test_resampling_equals_a_weighted_sum_of_dense_matrices(
    scene: tuple[int, int, list[tuple[Pixels, Pixels]]], seed: int
) -> None:
    contingency, dense = build(*scene), count_by_loop(*scene)
    weights = np.random.default_rng(seed).integers(0, 4, (3, len(dense)))
    sums = contingency.resample(weights)
    assert sums.dtype == np.int64
    np.testing.assert_array_equal(sums, np.einsum("rm,mkl->rkl", weights, dense))
    for row, total in zip(weights, sums, strict=True):
        np.testing.assert_array_equal(contingency.matrix(np.repeat(np.arange(len(dense)), row)), total)


def test_resampling_in_several_chunks() -> None:
    contingency = random_contingency()
    weights = np.random.default_rng(1).integers(0, 3, (150, contingency.n_images))
    one_by_one = np.stack([contingency.resample(row[None])[0] for row in weights])
    np.testing.assert_array_equal(contingency.resample(weights), one_by_one)


@given(scenes(), st.integers(0, 2**32 - 1))
def test_relabelling_equals_counting_mapped_labels(
    scene: tuple[int, int, list[tuple[Pixels, Pixels]]], seed: int
) -> None:
    n_clusters, n_labels, images = scene
    mapping = np.random.default_rng(seed).integers(-1, 3, n_labels)
    dense = count_by_loop(*scene)
    expected = np.stack([dense[..., mapping == new].sum(axis=-1) for new in range(3)], axis=-1)
    relabelled = build(n_clusters, n_labels, images).relabel(mapping, 3)
    found = np.zeros_like(expected)
    found[relabelled.image, relabelled.cluster, relabelled.label] = relabelled.count
    np.testing.assert_array_equal(found, expected)
    assert relabelled.image_ids == tuple(f"image {index}" for index in range(len(images)))


def test_counts_beyond_32_bits_stay_exact() -> None:
    big = 2**40 + 1
    one = np.zeros(1, dtype=np.int32)
    contingency = Contingency(("a",), 2, 2, one, one, one, np.array([big]))
    assert contingency.matrix([0, 0, 0])[0, 0] == 3 * big
    assert contingency.resample([[1000]])[0, 0, 0] == 1000 * big
    with pytest.raises(ValueError, match="too many for exact sums"):
        contingency.resample([[2**13]])


def test_images_are_selected_by_position_or_mask() -> None:
    contingency = random_contingency()
    parts = [contingency.matrix([index]) for index in range(contingency.n_images)]
    mask = np.array([True, False, True, False, False, False, False])
    np.testing.assert_array_equal(contingency.matrix(mask), parts[0] + parts[2])
    np.testing.assert_array_equal(contingency.matrix([-1]), parts[6])
    np.testing.assert_array_equal(contingency.matrix([]), np.zeros_like(parts[0]))
    for wrong in ([7], [0.5], np.array([True, False])):
        with pytest.raises(IndexError):
            contingency.matrix(wrong)


def test_weights_that_do_not_fit_are_refused() -> None:
    contingency = random_contingency()
    with pytest.raises(ValueError, match="7 images"):
        contingency.resample(np.ones((2, 6)))
    with pytest.raises(ValueError, match="7 images"):
        contingency.resample(np.ones(7))
    with pytest.raises(ValueError, match="negative"):
        contingency.resample(np.full((1, 7), -1, dtype=np.int64))
    with pytest.raises(ValueError, match="integers"):
        contingency.resample(np.full((1, 7), 0.5))
    with pytest.raises(ValueError, match=r"expected \(5,\)"):
        contingency.relabel([0, 1], 2)


def test_a_label_of_another_shape_names_the_image() -> None:
    builder = ContingencyBuilder(3, 3)
    with pytest.raises(DataError, match=r"street_7.*\(4, 5\).*\(5, 4\)"):
        builder.add("street_7", np.zeros((5, 4), dtype=int), np.zeros((4, 5), dtype=int))
    with pytest.raises(DataError, match="street_7"):
        builder.add("street_7", np.zeros(5, dtype=int), np.zeros(5, dtype=int))


@pytest.mark.parametrize("value", [-1, 3, 255])
def test_values_out_of_range_are_named(value: int) -> None:
    fine, bad = np.zeros((2, 2), dtype=int), np.array([[0, 0], [0, value]])
    with pytest.raises(DataError, match=rf"street_7: label value {value}; expected 0 to 2"):
        ContingencyBuilder(3, 3).add("street_7", fine, bad)
    with pytest.raises(ValueError, match=rf"street_7: cluster {value}; expected 0 to 2"):
        ContingencyBuilder(3, 3).add("street_7", bad, fine)


def test_an_image_that_was_refused_leaves_no_trace() -> None:
    builder = ContingencyBuilder(3, 3)
    with pytest.raises(DataError):
        builder.add("a", np.zeros((2, 2), dtype=int), np.full((2, 2), 9))
    builder.add("a", np.zeros((2, 2), dtype=int), np.full((2, 2), 2))
    with pytest.raises(ValueError, match="counted already"):
        builder.add("a", np.zeros((2, 2), dtype=int), np.full((2, 2), 2))
    assert builder.build().matrix()[0, 2] == 4


def test_small_unsigned_types_do_not_overflow() -> None:
    builder = ContingencyBuilder(256, 256)
    builder.add("a", np.full((3, 3), 255, dtype=np.uint8), np.full((3, 3), 255, dtype=np.uint8))
    assert builder.build().matrix()[255, 255] == 9


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"cluster": np.array([0, 9, 1], dtype=np.int32)}, "cluster 9"),
        ({"label": np.array([0, -1, 1], dtype=np.int32)}, "label -1"),
        ({"image": np.array([0, 0, 2], dtype=np.int32)}, "image 2"),
        ({"image": np.array([1, 0, 1], dtype=np.int32)}, "unsorted"),
        ({"cluster": np.array([0, 0, 1], dtype=np.int32), "label": np.zeros(3, dtype=np.int32)}, "repeated"),
        ({"count": np.array([1, 0, 1])}, "below 1"),
        ({"count": np.array([1, 1])}, "shapes"),
        ({"image_ids": ("a", "a")}, "twice"),
    ],
)
def test_broken_parts_are_refused(change: dict[str, object], problem: str) -> None:
    image, cluster, label = (np.array(part, dtype=np.int32) for part in ([0, 0, 1], [0, 1, 1], [0, 0, 1]))
    sound = Contingency(("a", "b"), 2, 2, image, cluster, label, np.array([1, 2, 3]))
    with pytest.raises(ValueError, match=problem):
        replace(sound, **change)  # type: ignore[arg-type]


def test_builders_need_a_cluster_and_a_label() -> None:
    for sizes in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match="at least one"):
            ContingencyBuilder(*sizes)


@settings(max_examples=25)
@given(scenes())
def test_files_give_back_what_was_saved(
    tmp_path_factory: pytest.TempPathFactory, scene: tuple[int, int, list[tuple[Pixels, Pixels]]]
) -> None:
    contingency = build(*scene)
    path = tmp_path_factory.mktemp("contingency") / "view.npz"
    contingency.save(path)
    loaded = Contingency.load(path)
    assert loaded == contingency
    assert loaded.sha256() == contingency.sha256()
    assert [array.dtype for array in (loaded.image, loaded.cluster, loaded.label, loaded.count)] == [
        np.dtype(kind) for kind in (np.int32, np.int32, np.int32, np.int64)
    ]


def test_image_ids_of_any_characters_survive(tmp_path: Path) -> None:
    builder = ContingencyBuilder(1, 1)
    names = ("übung_0", "a\nb", "c/d e", "")
    for name in names:
        builder.add(name, np.zeros((1, 1), dtype=int), np.zeros((1, 1), dtype=int))
    builder.build().save(tmp_path / "view.npz")
    assert Contingency.load(tmp_path / "view.npz").image_ids == names


def test_the_same_contingency_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random_contingency().save(tmp_path / "first.npz")
    monkeypatch.setattr(time, "time", lambda: 2e9)
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(2e9))
    random_contingency().save(tmp_path / "second.npz")
    assert (tmp_path / "first.npz").read_bytes() == (tmp_path / "second.npz").read_bytes()


def test_equality_and_hashes_see_every_part() -> None:
    base = random_contingency()
    others = [random_contingency(seed=1), random_contingency(n_images=6), random_contingency(n_labels=6)]
    others.append(replace(base, image_ids=("another", *base.image_ids[1:])))
    others.append(replace(base, n_clusters=base.n_clusters + 1))
    others.append(replace(base, count=base.count + (np.arange(len(base.count)) == 3)))
    assert base == random_contingency()
    assert hash(base) == hash(random_contingency())
    assert base != "something else"
    assert all(base != other for other in others)
    assert len({base.sha256(), *(other.sha256() for other in others)}) == 1 + len(others)


def test_a_file_torn_at_any_place_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "view.npz"
    random_contingency().save(path)
    whole = path.read_bytes()
    for end in range(0, len(whole), 97):
        path.write_bytes(whole[:end])
        with pytest.raises(StoreError, match=r"view\.npz"):
            Contingency.load(path)


def test_a_file_with_a_flipped_byte_is_refused_or_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "view.npz"
    original = random_contingency()
    original.save(path)
    whole = path.read_bytes()
    refused = 0
    for place in range(0, len(whole), 41):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            assert Contingency.load(path) == original
        except StoreError:
            refused += 1
    assert refused > 10


def test_foreign_missing_and_newer_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"absent\.npz"):
        Contingency.load(tmp_path / "absent.npz")
    write_integers(tmp_path / "foreign.npz", {"version": np.array([1]), "x": np.arange(3)})
    with pytest.raises(StoreError, match=r"foreign\.npz"):
        Contingency.load(tmp_path / "foreign.npz")
    np.save(tmp_path / "array.npy", np.arange(3))
    with pytest.raises(StoreError, match=r"array\.npy"):
        Contingency.load(tmp_path / "array.npy")
    write_integers(tmp_path / "newer.npz", {"version": np.array([2])})
    with pytest.raises(StoreError, match="version 2; this release reads up to 1"):
        Contingency.load(tmp_path / "newer.npz")


def test_sound_arrays_that_make_no_contingency_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "view.npz"
    random_contingency().save(path)
    arrays = read_integers(path, ("version", "shape", "image_ids", "image_nnz", "cluster", "label", "count"))
    arrays["cluster"][3] = 200
    write_integers(path, arrays)
    with pytest.raises(StoreError, match="cluster 200; expected 0 to 8"):
        Contingency.load(path)
    arrays["image_ids"] = np.arange(4)
    write_integers(path, arrays)
    with pytest.raises(StoreError, match=r"view\.npz"):
        Contingency.load(path)


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "view.npz"
    random_contingency().save(path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="no space left"):
        random_contingency(seed=1).save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["view.npz"]


def test_files_are_small(tmp_path: Path) -> None:
    contingency = random_contingency(n_images=40, n_clusters=64, n_labels=12)
    contingency.save(tmp_path / "view.npz")
    in_memory = sum(array.nbytes for array in (contingency.image, contingency.cluster, contingency.label))
    assert (tmp_path / "view.npz").stat().st_size < (in_memory + contingency.count.nbytes) / 8


def test_integers_must_not_be_negative(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="negative"):
        write_integers(tmp_path / "x.npz", {"x": np.array([1, -1])})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("values", "expected"), [([0, 4], None), ([], None), ([0, 5], 5), ([-2, 9], -2), ([3, 5, 7], 7)]
)
def test_outside(values: list[int], expected: int | None) -> None:
    assert outside(np.array(values, dtype=np.int64), 5) == expected
