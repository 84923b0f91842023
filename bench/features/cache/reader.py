"""Read a feature cache; whatever is torn or foreign is not read at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from spectral_bench.bench.features.cache.meta import META_FILE, CacheMeta, array_files, file_check
from spectral_bench.bench.features.cache.size import ITEM_BYTES
from spectral_bench.methods.interface import PatchBatch


class FeatureCache:
    """A complete cache, memory-mapped: patches of image after image, shot after shot, row after row.

    Args:
        folder: of the cache.
        meta: its description, already found to match its files.
        reused: whether it was there before it was asked for.
    """

    def __init__(self, folder: Path, meta: CacheMeta, *, reused: bool) -> None:
        self.meta = meta
        self.reused = reused
        dtype = np.dtype(meta.dtype).newbyteorder("<")
        self._arrays: list[NDArray[Any]] = [
            np.memmap(folder / name, dtype, "r", shape=(meta.n_patches, width))
            for name, width in array_files(meta.channels).items()
        ]
        counts = [image.n_patches for image in meta.images]
        self.offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])

    def batch(self, image: int, start: int = 0, stop: int | None = None) -> PatchBatch:
        """The shots ``start`` to ``stop`` (None: all) of image number ``image``, float32 on the CPU."""
        entry = self.meta.images[image]
        stop = len(entry.crops) if stop is None else stop
        size = entry.grid[0] * entry.grid[1]
        low = int(self.offsets[image]) + start * size
        tensors = [
            _float32(array[low : low + (stop - start) * size]).reshape(stop - start, *entry.grid, -1)
            for array in self._arrays
        ]
        crops = tuple(entry.crop(shot) for shot in range(start, stop))
        return PatchBatch(tuple(tensors[:-1]), tensors[-1], (entry.id,) * len(crops), crops)

    def rows(self, indices: NDArray[np.int64]) -> list[Tensor]:
        """Patches by their rows: one (n, C_l) float32 tensor a level, then the (n, 3) pixels."""
        return [_float32(array[indices]) for array in self._arrays]


def read_cache(
    folder: Path, material: dict[str, Any], data_digest: str, ids: tuple[str, ...], *, reused: bool = True
) -> FeatureCache | None:
    """The cache in ``folder``, or None where there is none, or a torn one, or one of other images or settings."""
    try:
        meta = CacheMeta.model_validate_json((folder / META_FILE).read_bytes())
        if meta.material != material or meta.data_digest != data_digest:
            return None
        if tuple(image.id for image in meta.images) != ids or not _sound(folder, meta):
            return None
        return FeatureCache(folder, meta, reused=reused)
    except (OSError, ValidationError, ValueError):
        return None


def _sound(folder: Path, meta: CacheMeta) -> bool:
    expected = array_files(meta.channels)
    if set(meta.files) != set(expected):
        return False
    for name, width in expected.items():
        size = meta.n_patches * width * ITEM_BYTES[meta.dtype]
        if meta.files[name].size != size or (folder / name).stat().st_size != size:
            return False
    return all(file_check(folder / name) == check for name, check in meta.files.items())


def _float32(rows: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.array(rows, dtype=np.float32))
