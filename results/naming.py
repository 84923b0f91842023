"""Names of clusters without labels: what is stored of each cluster, and the text vector that its mean feature is at.

A cluster is called as the class of the text vector of largest cosine to the mean of its patches' features, each of
length 1, in the space that images and texts share. Of equal cosines the class of the lowest index counts. A cluster
without a patch, or whose features cancel out, has no name: it predicts no class.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spectral_bench.common.errors import ConfigError, StoreError
from spectral_bench.common.words import Words
from spectral_bench.results.matching import NO_CLASS
from spectral_bench.results.npz import read_integers, write_integers

FILE_VERSION = 1


@dataclass(frozen=True)
class ClusterVectors:
    """The mean feature of each cluster over some images.

    Attributes:
        counts: (K,) int64, the patches of each cluster.
        vectors: (K, D) float32, the mean of their features of length 1; zeros where there is no patch.
    """

    counts: NDArray[np.int64]
    vectors: NDArray[np.float32]

    def save(self, path: Path) -> None:
        """Write to ``path`` (npz) atomically; floats by their bits. The same numbers give the same bytes.

        Raises:
            StoreError: the disk is full or the folder cannot be written.
        """
        bits = np.ascontiguousarray(self.vectors, dtype="<f4").view("<u4")
        write_integers(path, {"version": np.array([FILE_VERSION]), "patches": self.counts, "vectors": bits})

    @classmethod
    def load(cls, path: Path) -> ClusterVectors:
        """Read what ``save`` wrote.

        Raises:
            StoreError: the file is missing, torn, of a newer version, or holds something else.
        """
        version = int(read_integers(path, ("version",))["version"][0])
        if version > FILE_VERSION:
            raise StoreError(f"{path}: cluster vectors of version {version}; this release reads up to {FILE_VERSION}")
        file = read_integers(path, ("patches", "vectors"))
        return cls(file["patches"], _floats(file["vectors"]))


def nearest_words(clusters: ClusterVectors, words: Words) -> NDArray[np.int64]:
    """The class that each cluster is called as.

    Args:
        clusters: of any method.
        words: the classes.

    Returns:
        (K,) int64 class indices; -1 for a cluster without a name.

    Raises:
        ConfigError: vectors of clusters and of words are of different widths.
    """
    width = clusters.vectors.shape[1]
    if width != words.width:
        raise ConfigError(f"its vectors have {words.width} channels, and those of the clusters {width}")
    texts = words.vectors.astype(np.float64)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    names = np.full(len(clusters.counts), NO_CLASS, dtype=np.int64)
    for cluster, vector in enumerate(clusters.vectors.astype(np.float64)):
        if clusters.counts[cluster] and np.any(vector):
            # Row by row: a matrix product rounds equal vectors differently, and no tie would be one.
            cosines = (texts * vector).sum(axis=1)
            best = np.full(len(words.classes), -np.inf)
            np.maximum.at(best, words.class_of, cosines)
            names[cluster] = best.argmax()
    return names


def write_words(path: Path, words: Words) -> None:
    """Keep the vectors of classes in a file (npz); the same words give the same bytes.

    Raises:
        StoreError: the disk is full or the folder cannot be written.
    """
    arrays = {
        "version": np.array([FILE_VERSION]),
        "classes": np.frombuffer(json.dumps(words.classes).encode(), dtype=np.uint8),
        "vectors": np.ascontiguousarray(words.vectors, dtype="<f4").view("<u4"),
        "class_of": words.class_of,
    }
    write_integers(path, arrays)


def read_words(path: Path) -> Words:
    """Read what ``write_words`` wrote, if it is the words of the digest that the file is called by.

    Raises:
        StoreError: the file is missing or torn, or holds other words.
    """
    file = read_integers(path, ("version", "classes", "vectors", "class_of"))
    if int(file["version"][0]) > FILE_VERSION:
        raise StoreError(f"{path}: words of a newer version; this release reads up to {FILE_VERSION}")
    classes = tuple(json.loads(file["classes"].astype(np.uint8).tobytes()))
    words = Words(classes, _floats(file["vectors"]), file["class_of"])
    if words.digest != path.stem:
        raise StoreError(f"{path}: holds other words ({words.digest}) than its name says")
    return words


def _floats(bits: NDArray[np.int64]) -> NDArray[np.float32]:
    return bits.astype("<u4").view("<f4").astype(np.float32)
