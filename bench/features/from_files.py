"""Features that were computed elsewhere, in the form in which sources and views read a cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spectral_bench.bench.features.backbones.interface import BackboneInfo
from spectral_bench.bench.features.cache.arrays import FeatureCache
from spectral_bench.bench.features.cache.meta import FORMAT_VERSION, CachedImage, CacheMeta, Costs, packed
from spectral_bench.bench.features.files import FeatureFiles, find
from spectral_bench.bench.features.pipeline import Extraction, grid_pixels, ordered_map
from spectral_bench.bench.features.recipes import Recipe, resized
from spectral_bench.common.errors import DataError, RunInterrupted
from spectral_bench.common.registry import short_name
from spectral_bench.datasets.interface import ImageLoader
from spectral_bench.datasets.reading import image_header
from spectral_bench.methods.interface import PatchBatch
from spectral_bench.results.specification import Features, Resize, TrainingData, View


class FileCache(FeatureCache):
    """The features of a split as its files have them; whole images, one shot each.

    Features are read when they are asked for, and kept nowhere. Pixels, a hundredth of their size, are held in memory.

    Args:
        files: of the features.
        meta: what is in them.
        pixels: (h, w, 3) of each image, in the dtype that a cache would keep them in.
    """

    reused = False

    def __init__(self, files: FeatureFiles, meta: CacheMeta, pixels: list[NDArray[Any]]) -> None:
        self.meta = meta
        self._files, self._pixels = files, pixels
        self.offsets = np.concatenate([[0], np.cumsum([image.n_patches for image in meta.images], dtype=np.int64)])

    def batch(self, image: int, start: int = 0, stop: int | None = None) -> PatchBatch:
        """Image number ``image``, float32 on the CPU; its one shot is the whole of it.

        Raises:
            DataError: the file is gone, or other than it was, or a number in it is not finite.
        """
        entry = self.meta.images[image]
        levels = self._files.levels(entry.id)
        found = tuple(tuple(level.shape) for level in levels)
        if found != tuple((*entry.grid, channels) for channels in self.meta.channels):
            raise DataError(f"{self._files.folder}: the features of {entry.id} changed while they were used")
        pixels = torch.from_numpy(self._pixels[image].astype(np.float32))
        return PatchBatch(tuple(level[None] for level in levels), pixels[None], (entry.id,), (entry.crop(0),))

    def rows(self, indices: NDArray[np.int64]) -> list[Tensor]:
        """Patches by their ascending rows: one (n, C_l) float32 tensor a level, then the (n, 3) pixels."""
        images = np.searchsorted(self.offsets, indices, side="right") - 1
        parts: list[list[Tensor]] = []
        for image in np.unique(images):
            places = torch.from_numpy(indices[images == image] - self.offsets[image])
            batch = self.batch(int(image))
            parts.append([level.flatten(0, -2)[places] for level in (*batch.features, batch.pixels)])
        return [torch.cat(tensors) for tensors in zip(*parts, strict=True)]


def open_files(
    features: Features, source: TrainingData | View, work: Extraction, recipe: Recipe, info: BackboneInfo, digest: str
) -> FileCache:
    """The features of the images of a fit or a view, every header checked.

    Args:
        features: where the files lie.
        source: the training data, or the view.
        work: the images, of which sizes and pixels are taken; no backbone is asked for.
        recipe: the whole of each image, resized.
        info: what planning knew of the files.
        digest: of the files, as planned.

    Raises:
        DataError: files are missing, not as they should be, or not those of the plan.
        RunInterrupted: the run was asked to stop.
    """
    files = find(features, source.dataset, source.split)
    if (here := files.digest()) != digest:
        raise DataError(
            f"{files.folder}: the run was planned with features of digest {digest}, and {here} lie there now; bring "
            "the same files here, or plan the grid again"
        )
    check(files, source, work.images, work.ids, info.channels)
    images, pixels = [], []
    work.progress(0, len(work.ids))
    for done, (entry, shown) in enumerate(_looked_at(files, work, recipe, info), start=1):
        if work.should_stop():
            raise RunInterrupted(f"stopped while images were read, after {done - 1} of {len(work.ids)}")
        images.append(entry)
        pixels.append(shown.astype(features.dtype))
        work.progress(done, len(work.ids))
    meta = CacheMeta(
        format_version=FORMAT_VERSION,
        material={},
        data_digest=digest,
        dtype=features.dtype,
        channels=info.channels,
        images=tuple(images),
        files={},
        costs=Costs(wall_s=0.0, cpu_s=0.0),
    )
    return FileCache(files, meta, pixels)


def check(
    files: FeatureFiles,
    source: TrainingData | View,
    images: ImageLoader,
    ids: tuple[str, ...],
    channels: tuple[int, ...],
) -> None:
    """Refuse files that do not go with the images, from names and headers: see ``FeatureFiles.check``."""
    training = isinstance(source, TrainingData)
    resize = source.transform.resize if isinstance(source, TrainingData) else source.resize
    name = f"{short_name(source.dataset)} {source.split}"
    files.check(ids, images.ids, channels, _frames(images, resize), one_grid=training, name=name)


def _frames(images: ImageLoader, resize: Resize) -> Callable[[str], tuple[int, int]]:
    """What gives (height, width) of an image after resizing, by its header where it is a file."""
    path = getattr(images, "path", None)

    def frame(image_id: str) -> tuple[int, int]:
        if resize.size is not None:
            return resize.size
        height, width = images.image(image_id).shape[:2] if path is None else image_header(path(image_id))
        return resized(resize, height, width)

    return frame


def _looked_at(
    files: FeatureFiles, work: Extraction, recipe: Recipe, info: BackboneInfo
) -> Iterator[tuple[CachedImage, NDArray[np.float32]]]:
    """Each image's size, grid and crop, and its (h, w, 3) pixels, in order."""

    def look(index: int) -> tuple[CachedImage, NDArray[np.float32]]:
        image_id = work.ids[index]
        image = work.images.image(image_id)
        height, width = image.shape[:2]
        (shot,) = recipe.shots(index, height, width)
        grid = files.shape(image_id).grid
        stacked = torch.from_numpy(np.stack([shot.take(image, (0, 0, 0))])).permute(0, 3, 1, 2).float() / 255
        pixels = grid_pixels(stacked, info.of_grid(grid))
        return CachedImage(id=image_id, size=(height, width), grid=grid, crops=(packed(shot.crop),)), pixels[0].numpy()

    return ordered_map(look, range(len(work.ids)), workers=work.workers, ahead=2 * work.workers + 1)
