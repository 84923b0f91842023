"""Labels at the resolution of patches, cut out of an image exactly as its features were."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spectral_bench.bench.features.backbones.interface import BackboneInfo
from spectral_bench.bench.features.pipeline import ordered_map
from spectral_bench.common.errors import ConfigError, DataError, RunInterrupted
from spectral_bench.common.geometry import Crop
from spectral_bench.datasets.digests import label_files
from spectral_bench.datasets.interface import DataInfo, LabelLoader
from spectral_bench.datasets.transforms import crop_label
from spectral_bench.methods.labels import VOID

_REMEMBERED = 4096  # crops whose labels are kept: all of a small data set's whole images, few bytes of a large one's


class PatchLabels:
    """A ``methods.interface.LabelSource`` over the labels of one split, in the data set's default class set.

    A label is resized by nearest neighbours, cut and mirrored as the crop says. What lies beyond the image, and beyond
    a crop that was padded to whole patches, is void. A patch's class is the most frequent one among its pixels, void
    counted as one; of equally frequent classes the first, and void last.

    Args:
        labels: loader of the split.
        info: of the data set.
        backbone: tells which pixels belong to which patch.

    Attributes:
        digest: 16 hexadecimal digits over ids, sizes and pixels of the labels that ``require`` read; empty before.

    Raises:
        ConfigError: the data set has no classes.
    """

    digest: str = ""

    def __init__(self, labels: LabelLoader, info: DataInfo, backbone: BackboneInfo) -> None:
        if not info.class_sets:
            raise ConfigError(f"data set {info.name} has no labels, and the method is fitted with labels")
        classes = info.class_sets[info.default_classes]
        self._loader = labels
        self._backbone = backbone
        self._n_classes = len(classes.classes)
        self._outside = info.n_raw_labels  # the raw id given to what lies outside of the image
        self._index = np.full(info.n_raw_labels + 1, self._n_classes)
        for index, raw_ids in enumerate(classes.raw_ids):
            self._index[list(raw_ids)] = index
        self._majority = lru_cache(_REMEMBERED)(self._find_majority)

    @property
    def files(self) -> str:
        """A digest of the labels' files, as ``datasets.digests.label_files`` gives it."""
        return label_files(self._loader)

    @property
    def n_classes(self) -> int:
        """The number C of classes."""
        return self._n_classes

    def labels(self, image_id: str, crop: Crop, grid: tuple[int, int]) -> Tensor:
        """(h, w) int64 class indices, -1 where void. Raises ``DataError`` naming the label's file."""
        return torch.from_numpy(self._majority(image_id, crop, grid).astype(np.int64))

    def shares(self, image_id: str, crop: Crop, grid: tuple[int, int]) -> Tensor:
        """(C, h, w) float32 shares of a patch's pixels. Raises ``DataError`` naming the label's file."""
        counts = self._counts(image_id, crop, grid)
        shares = counts[..., : self._n_classes] / counts.sum(-1, keepdims=True)
        return torch.from_numpy(np.ascontiguousarray(shares.transpose(2, 0, 1), np.float32))

    def require(self, ids: Sequence[str], *, workers: int, should_stop: Callable[[], bool]) -> None:
        """Read the labels of all ``ids`` once, so that what is wrong with any is told before a fit begins.

        Args:
            ids: the images that the fit is going to ask for.
            workers: threads that read.
            should_stop: asked after every label.

        Raises:
            DataError: a label is missing, corrupt, out of range or of another size than its image (names the file), or
                none of them shows any class.
            RunInterrupted: the run was asked to stop.
        """
        labelled, content = False, hashlib.sha256()
        read = ordered_map(self._loader.label, ids, workers=workers, ahead=2 * workers + 1)
        for image_id, label in zip(ids, read, strict=True):
            if should_stop():
                raise RunInterrupted
            content.update(f"{image_id}\0{label.shape}\0".encode())
            content.update(np.ascontiguousarray(label, "<u2").tobytes())
            labelled = labelled or bool((self._index[label] != self._n_classes).any())
        if not labelled:
            raise DataError(f"the labels of all {len(ids)} training images are void: nothing to fit a method with")
        self.digest = content.hexdigest()[:16]

    def _find_majority(self, image_id: str, crop: Crop, grid: tuple[int, int]) -> NDArray[np.int32]:
        found = self._counts(image_id, crop, grid).argmax(-1)
        return np.where(found == self._n_classes, VOID, found).astype(np.int32)

    def _counts(self, image_id: str, crop: Crop, grid: tuple[int, int]) -> NDArray[np.int64]:
        """(h, w, C + 1) pixels of each class in each patch, void last; a patch of no pixel is void."""
        backbone = self._backbone.of_grid(grid)
        if grid != backbone.grid(crop.height, crop.width):
            raise ValueError(f"image {image_id}: a grid of {grid} patches is not that of {crop} in {backbone}")
        classes = self._index[crop_label(self._loader.label(image_id), crop, self._outside)]
        span = backbone.cover(crop.height, crop.width)
        rows, columns = _owners(crop.height, span[0], grid[0]), _owners(crop.width, span[1], grid[1])
        size = self._n_classes + 1
        cells = (rows[:, None] * grid[1] + columns) * size + classes
        counts = np.bincount(cells.ravel(), minlength=grid[0] * grid[1] * size).reshape(-1, size)
        pixels = np.outer(_shown(span[0], grid[0]), _shown(span[1], grid[1])).ravel()
        counts[:, -1] += pixels - counts.sum(-1)
        return counts.reshape(*grid, size)


def _owners(length: int, span: int, patches: int) -> NDArray[np.int64]:
    """The patch that each of the first ``length`` of ``span`` pixels belongs to, by the pixel's centre."""
    return (2 * np.arange(length) + 1) * patches // (2 * span)


def _shown(span: int, patches: int) -> NDArray[np.int64]:
    """How many of ``span`` pixels belong to each patch; at least 1, so that a patch between two pixels is void."""
    return np.maximum(np.bincount(_owners(span, span, patches), minlength=patches), 1)
