"""Names of clusters from planted mean features: the nearest word, ties, clusters without a name, and their files."""

from __future__ import annotations

import numpy as np
import pytest

from spectral_bench.common.errors import ConfigError, StoreError
from spectral_bench.common.words import Words
from spectral_bench.methods.maskclip.text_vectors import TextVectors
from spectral_bench.results.naming import ClusterVectors, nearest_words, read_words, write_words
from spectral_bench.results.store import Store

AXES = np.eye(4, dtype=np.float32)


def words(vectors, class_of=None, classes=None) -> Words:
    class_of = np.arange(len(vectors)) if class_of is None else np.array(class_of)
    names = tuple(f"class {index}" for index in range(int(class_of.max()) + 1))
    return Words(classes or names, np.asarray(vectors, np.float32), class_of.astype(np.int64))


def clusters(vectors, counts=None) -> ClusterVectors:
    vectors = np.asarray(vectors, np.float32)
    counts = np.ones(len(vectors)) if counts is None else np.array(counts)
    return ClusterVectors(counts.astype(np.int64), vectors)


def test_a_cluster_is_called_as_the_word_of_largest_cosine_whatever_the_lengths():
    planted = clusters([[0, 9, 1, 0], [0.01, 0, 0, 0], [0, 0.2, 0.1, 0.3], [0.3, 0.2, 0, 0]])
    assert nearest_words(planted, words(AXES)).tolist() == [1, 0, 3, 0]
    assert nearest_words(planted, words(AXES[::-1])).tolist() == [2, 3, 0, 3]


def test_of_equal_cosines_the_lowest_class_counts():
    rng = np.random.default_rng(0)
    one = rng.normal(size=768)
    equal = np.stack([one / np.linalg.norm(one)] * 5)
    assert set(nearest_words(clusters(rng.normal(size=(64, 768))), words(equal)).tolist()) == {0}
    assert nearest_words(clusters([[1, 1, 0, 0]]), words(AXES)).tolist() == [0]
    assert nearest_words(clusters([[0, 0, 1, 1]]), words(AXES[[3, 2, 0, 1]])).tolist() == [0]


def test_of_several_vectors_of_a_class_the_nearest_counts():
    several = words(AXES, class_of=[1, 0, 1, 0])
    assert nearest_words(clusters([[0, 0, 1, 0.5], [0, 0, 0.5, 1]]), several).tolist() == [1, 0]


def test_clusters_without_a_patch_or_a_direction_have_no_name():
    planted = clusters([[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]], counts=[3, 0, 2])
    assert nearest_words(planted, words(AXES)).tolist() == [0, -1, -1]
    assert nearest_words(clusters(np.zeros((3, 4)), [0, 0, 0]), words(AXES)).tolist() == [-1, -1, -1]


def test_names_are_a_literal_argmax():
    rng = np.random.default_rng(1)
    found, own = rng.normal(size=(40, 32)), rng.normal(size=(25, 32))
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    class_of = np.concatenate([np.arange(10), rng.integers(0, 10, 15)])
    expected = []
    for vector in found.astype(np.float32).astype(np.float64):
        cosines = [float(vector @ row / np.linalg.norm(vector) / np.linalg.norm(row)) for row in own.astype(np.float32)]
        expected.append(int(class_of[int(np.argmax(cosines))]))
    assert nearest_words(clusters(found), words(own, class_of)).tolist() == expected


def test_another_width_is_told_in_one_line():
    with pytest.raises(ConfigError, match="its vectors have 4 channels, and those of the clusters 3"):
        nearest_words(clusters(np.ones((2, 3))), words(AXES))


def test_files_give_back_every_bit_and_the_same_bytes(tmp_path):
    vectors = np.array([[-1.5, 0.0, 3e-39, np.pi], [-0.0, 1e30, -1e-30, 7]], np.float32)
    stored = clusters(vectors, [5, 0])
    for name in ("a.npz", "b.npz"):
        stored.save(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    again = ClusterVectors.load(tmp_path / "a.npz")
    assert again.vectors.tobytes() == vectors.tobytes()
    assert again.counts.tolist() == [5, 0]
    (tmp_path / "a.npz").write_bytes(b"torn")
    with pytest.raises(StoreError, match=r"a\.npz: missing, torn"):
        ClusterVectors.load(tmp_path / "a.npz")


def test_a_store_keeps_words_by_their_digest(tmp_path):
    store, kept = Store.open(tmp_path / "store", create=True), words(AXES, classes=("sky", "Straße", "tree", "car"))
    store.keep_words(kept)
    store.keep_words(kept)
    again = store.words(kept.digest)
    assert (again.classes, again.digest) == (kept.classes, kept.digest)
    assert again.vectors.tobytes() == AXES.tobytes()
    path = store.path / "texts" / f"{kept.digest}.npz"
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    write_words(path, words(AXES[::-1]))
    with pytest.raises(StoreError, match="holds other words"):
        read_words(path)
    with pytest.raises(StoreError, match="missing, torn"):
        store.words("0123456789abcdef")


def test_the_digest_of_a_text_is_that_of_its_words():
    own = words(AXES)
    text = TextVectors(own.classes, own.vectors, own.class_of, (("a",),) * 4, "any", "any", synonyms="max")
    assert text.digest == own.digest
