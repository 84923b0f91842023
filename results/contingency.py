"""Contingency: per-image counts of (cluster, raw label id), the one stored form of accuracy."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spectral_bench.common.errors import DataError, StoreError
from spectral_bench.results.npz import read_integers, write_integers

if TYPE_CHECKING:
    from scipy import sparse

FILE_VERSION = 1
_EXACT = 2**53  # float64 holds every integer up to here, so sums in float64 below it are exact
_CHUNK = 64  # resamples a sparse product: the sums of one chunk stay in the processor's cache


@dataclass(frozen=True, eq=False)
class Contingency:
    """Sparse per-image count matrices, clusters x raw label ids.

    Attributes:
        image_ids: M image ids, in the order of the evaluation.
        n_clusters: K.
        n_labels: L; raw label ids run from 0 to ``n_labels - 1``.
        image, cluster, label: (nnz,) int32 coordinates, sorted by image, then cluster, then label.
        count: (nnz,) int64 pixels, all positive.

    Raises:
        ValueError: the coordinates are out of range, unsorted or repeated, a count is not positive, or an id repeats.
    """

    image_ids: tuple[str, ...]
    n_clusters: int
    n_labels: int
    image: NDArray[np.int32]
    cluster: NDArray[np.int32]
    label: NDArray[np.int32]
    count: NDArray[np.int64]

    def __post_init__(self) -> None:
        if problem := self._problem():
            raise ValueError(f"not a contingency: {problem}")

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same counts of the same images in the same order."""
        if not isinstance(other, Contingency):
            return NotImplemented
        return self._header() == other._header() and all(map(np.array_equal, self._arrays(), other._arrays()))

    def __hash__(self) -> int:
        return hash(self._header())

    @property
    def n_images(self) -> int:
        """The number M of images."""
        return len(self.image_ids)

    @property
    def n_pixels(self) -> int:
        """Pixels counted over all images, of every raw label id."""
        return int(self.count.sum())

    def positions(self, images: ArrayLike | None = None) -> NDArray[np.int64]:
        """The positions in ``image_ids`` that positions or an (M,) boolean mask select; None selects each image once.

        Raises:
            IndexError: a position is outside of ``image_ids``, or neither integers nor a mask were given.
        """
        if images is None:
            return np.arange(self.n_images)
        chosen = np.asarray(images)
        return np.asarray(np.arange(self.n_images)[chosen if chosen.size else chosen.astype(np.int64)])

    def matrix(self, images: ArrayLike | None = None) -> NDArray[np.int64]:
        """The (K, L) int64 matrix summed over images.

        Args:
            images: as for ``positions``; an image listed twice counts twice.

        Raises:
            IndexError: a position is outside of ``image_ids``.
            ValueError: the sums could reach 2^53.
        """
        times = np.bincount(self.positions(images), minlength=self.n_images)
        self._check_exact(int(times.max(initial=0)))
        size = self.n_clusters * self.n_labels
        sums = np.bincount(self._code, weights=(self.count * times[self.image]).astype(np.float64), minlength=size)
        return sums.astype(np.int64).reshape(self.n_clusters, self.n_labels)

    def resample(self, weights: ArrayLike) -> NDArray[np.int64]:
        """Sums of the images' matrices with multiplicities, as a bootstrap over images needs them.

        Args:
            weights: (R, M) non-negative integers: how often each image counts in each resample.

        Returns:
            (R, K, L) int64.

        Raises:
            ValueError: the shape of ``weights`` does not fit, a weight is negative, or the sums could reach 2^53.
        """
        times = np.asarray(weights)
        if times.ndim != 2 or times.shape[1] != self.n_images:
            raise ValueError(f"weights have shape {times.shape}; expected (resamples, {self.n_images} images)")
        if times.dtype.kind not in "iu" or int(times.min(initial=0)) < 0:
            raise ValueError("weights must be integers and not negative")
        self._check_exact(int(times.max(initial=0)))
        used, per_image = self._columns
        sums = np.zeros((len(times), self.n_clusters * self.n_labels), dtype=np.int64)
        for start in range(0, len(times), _CHUNK):
            part = np.ascontiguousarray(times[start : start + _CHUNK].T, dtype=np.float64)
            sums[start : start + _CHUNK, used] = (per_image @ part).T
        return sums.reshape(len(times), self.n_clusters, self.n_labels)

    def chosen(self, images: ArrayLike) -> Contingency:
        """The counts of some images alone, in their order here.

        Args:
            images: as for ``positions``, each once.

        Raises:
            IndexError: a position is outside of ``image_ids``.
        """
        kept = np.zeros(self.n_images, dtype=bool)
        kept[self.positions(images)] = True
        of_kept = kept[self.image]
        ids = tuple(name for name, keep in zip(self.image_ids, kept, strict=True) if keep)
        image = (np.cumsum(kept) - 1)[self.image[of_kept]]
        rest = (array[of_kept] for array in (self.cluster, self.label, self.count))
        return _contingency(ids, self.n_clusters, self.n_labels, image, *rest)

    def relabel(self, mapping: ArrayLike, n_labels: int) -> Contingency:
        """The same counts with label ids replaced, for example raw ids by class indices.

        Args:
            mapping: (L,) integers, the new id of each old one; a negative one drops its pixels.
            n_labels: the number of new ids.
        """
        new = np.asarray(mapping, dtype=np.int64)
        if new.shape != (self.n_labels,):
            raise ValueError(f"the mapping has shape {new.shape}; expected ({self.n_labels},), one entry a label id")
        keep = new[self.label] >= 0
        rows = self.image[keep].astype(np.int64) * self.n_clusters + self.cluster[keep]
        code, where = np.unique(rows * n_labels + new[self.label[keep]], return_inverse=True)
        count = np.bincount(where, weights=self.count[keep].astype(np.float64), minlength=len(code))
        rows, label = np.divmod(code, n_labels)
        image, cluster = np.divmod(rows, self.n_clusters)
        return _contingency(self.image_ids, self.n_clusters, n_labels, image, cluster, label, count)

    def sha256(self) -> str:
        """The SHA-256 of what is counted: independent of the file's compression and of the byte order of the host."""
        content = hashlib.sha256(json.dumps([*self._header(), len(self.count)]).encode())
        for array in self._arrays():
            content.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
        return content.hexdigest()

    def save(self, path: Path) -> None:
        """Write to ``path`` (npz) atomically. The same contingency gives the same bytes.

        Raises:
            StoreError: the disk is full or the folder cannot be written.
        """
        arrays = {
            "version": np.array([FILE_VERSION]),
            "shape": np.array([self.n_clusters, self.n_labels]),
            "image_ids": np.frombuffer(json.dumps(self.image_ids).encode(), dtype=np.uint8),
            "image_nnz": np.bincount(self.image, minlength=self.n_images),
            "cluster": self.cluster,
            "label": self.label,
            "count": self.count,
        }
        write_integers(path, arrays)

    @classmethod
    def load(cls, path: Path) -> Contingency:
        """Read what ``save`` wrote.

        Raises:
            StoreError: the file is missing, torn, of a newer version or not a contingency.
        """
        version = int(read_integers(path, ("version",))["version"][0])
        if version > FILE_VERSION:
            raise StoreError(f"{path}: a contingency of version {version}; this release reads up to {FILE_VERSION}")
        file = read_integers(path, ("shape", "image_ids", "image_nnz", "cluster", "label", "count"))
        try:
            ids = tuple(json.loads(file["image_ids"].astype(np.uint8).tobytes()))
            image = np.repeat(np.arange(len(ids)), file["image_nnz"])
            n_clusters, n_labels = map(int, file["shape"])
            return _contingency(ids, n_clusters, n_labels, image, file["cluster"], file["label"], file["count"])
        except ValueError as error:
            raise StoreError(f"{path}: {error}") from error

    @cached_property
    def _code(self) -> NDArray[np.int64]:
        """(nnz,) the position of each count in a flattened K x L matrix."""
        return np.asarray(self.cluster, dtype=np.int64) * self.n_labels + self.label

    @cached_property
    def _columns(self) -> tuple[NDArray[np.int64], sparse.csr_array]:
        """The U positions of a flattened K x L matrix that occur, and their (U, M) float64 counts."""
        from scipy import sparse  # slow to import, and records alone need none of it

        occurs = np.bincount(self._code, minlength=self.n_clusters * self.n_labels) > 0
        rows = (np.cumsum(occurs) - 1)[self._code]
        shape = (int(occurs.sum()), self.n_images)
        return np.flatnonzero(occurs), sparse.csr_array(
            (self.count.astype(np.float64), (rows, self.image)), shape=shape
        )

    def _check_exact(self, most: int) -> None:
        if self.n_pixels * most >= _EXACT:
            raise ValueError(f"{self.n_pixels} pixels counted up to {most} times: too many for exact sums in float64")

    def _header(self) -> tuple[tuple[str, ...], int, int]:
        return self.image_ids, self.n_clusters, self.n_labels

    def _arrays(self) -> tuple[NDArray[Any], ...]:
        return self.image, self.cluster, self.label, self.count

    def _problem(self) -> str | None:
        if any(array.shape != (len(self.count),) for array in self._arrays()):
            return f"arrays of shapes {[array.shape for array in self._arrays()]}; expected one common (nnz,)"
        if len(set(self.image_ids)) != self.n_images:
            return "an image id occurs twice"
        limits = {"image": self.n_images, "cluster": self.n_clusters, "label": self.n_labels}
        for (name, limit), array in zip(limits.items(), self._arrays(), strict=False):
            if (value := outside(array, limit)) is not None:
                return f"{name} {value}; expected 0 to {limit - 1}"
        if int(self.count.min(initial=1)) < 1:
            return "a count below 1"
        order = np.asarray(self.image, dtype=np.int64) * (self.n_clusters * self.n_labels) + self._code
        return None if np.all(np.diff(order) > 0) else "coordinates that are unsorted or repeated"


class ContingencyBuilder:
    """Counts images one by one.

    Args:
        n_clusters: K.
        n_labels: L; raw label ids run from 0 to ``n_labels - 1``.
    """

    def __init__(self, n_clusters: int, n_labels: int) -> None:
        if n_clusters < 1 or n_labels < 1:
            raise ValueError(f"{n_clusters} clusters and {n_labels} label ids; expected at least one of each")
        self.n_clusters = n_clusters
        self.n_labels = n_labels
        self._parts: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}

    def add(self, image_id: str, clusters: NDArray[Any], labels: NDArray[Any]) -> None:
        """Count the pixels of one image: one pass over them and one bincount into a table of K x L.

        Args:
            image_id: its name.
            clusters: (H, W) integer cluster indices.
            labels: (H, W) integer raw label ids.

        Raises:
            DataError: the shapes differ, or a label id is outside of its range.
            ValueError: a cluster index is outside of its range, or the image was counted already.
        """
        if image_id in self._parts:
            raise ValueError(f"image {image_id} was counted already")
        if clusters.ndim != 2 or clusters.shape != labels.shape:
            raise DataError(f"image {image_id}: label of shape {labels.shape} for clusters of shape {clusters.shape}")
        if (value := outside(labels, self.n_labels)) is not None:
            raise DataError(f"image {image_id}: label value {value}; expected 0 to {self.n_labels - 1}")
        if (value := outside(clusters, self.n_clusters)) is not None:
            raise ValueError(f"image {image_id}: cluster {value}; expected 0 to {self.n_clusters - 1}")
        code = clusters.astype(np.int64) * self.n_labels + labels
        table = np.bincount(code.ravel(), minlength=self.n_clusters * self.n_labels)
        used = np.flatnonzero(table)
        self._parts[image_id] = (used, table[used])

    def build(self) -> Contingency:
        """The contingency of all images added so far, in the order in which they were added."""
        image = np.repeat(np.arange(len(self._parts)), [len(code) for code, _ in self._parts.values()])
        nothing = np.zeros(0, dtype=np.int64)
        code = np.concatenate([nothing, *(code for code, _ in self._parts.values())])
        count = np.concatenate([nothing, *(count for _, count in self._parts.values())])
        cluster, label = np.divmod(code, self.n_labels)
        return _contingency(tuple(self._parts), self.n_clusters, self.n_labels, image, cluster, label, count)


def outside(values: NDArray[Any], limit: int) -> int | None:
    """The lowest value if it is negative, else the highest if it is not below ``limit``, else None."""
    if not values.size:
        return None
    low, high = int(values.min()), int(values.max())
    if low < 0:
        return low
    return high if high >= limit else None


def _contingency(ids: tuple[str, ...], n_clusters: int, n_labels: int, *arrays: NDArray[Any]) -> Contingency:
    image, cluster, label = (array.astype(np.int32) for array in arrays[:3])
    return Contingency(ids, n_clusters, n_labels, image, cluster, label, arrays[3].astype(np.int64))
