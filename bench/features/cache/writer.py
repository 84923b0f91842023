"""Write a feature cache: rows are appended image by image."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from spectral_bench.bench.features.cache.meta import CachedImage, FileCheck, array_files, file_check, packed
from spectral_bench.bench.features.cache.size import require_room
from spectral_bench.common.errors import DataError
from spectral_bench.common.files import store_error
from spectral_bench.methods.interface import PatchBatch


class CacheWriter:
    """The open array files of a cache.

    Plain writes, not a memory map: on a full disk they fail with an error, where a map would kill the process.

    Args:
        folder: an empty folder.
        channels: of the levels.
        dtype: ``float16`` or ``float32``.
        limit: bytes that all arrays together may take.
    """

    def __init__(self, folder: Path, channels: tuple[int, ...], dtype: str, limit: int) -> None:
        self.folder = folder
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self.limit = limit
        self.names = tuple(array_files(channels))
        self.images: list[CachedImage] = []
        self.bytes = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._files = [self._stack.enter_context((self.folder / name).open("wb")) for name in self.names]
        except OSError as error:
            self._stack.close()
            raise store_error(self.folder, error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._stack.close()
        except OSError as error:
            if kind is None:
                raise store_error(self.folder, error) from error

    def add(self, image_id: str, original: tuple[int, int], batch: PatchBatch) -> None:
        """Append the shots of one image.

        Raises:
            StoreError: the disk or the limit is full.
            DataError: a feature is not finite, or does not fit in half precision.
        """
        arrays = [self._rows(tensor, image_id) for tensor in (*batch.features, batch.pixels)]
        self.bytes += sum(array.nbytes for array in arrays)
        if self.bytes > self.limit:
            require_room(self.folder, self.bytes, self.limit)
        try:
            for stream, array in zip(self._files, arrays, strict=True):
                stream.write(array.tobytes())
        except OSError as error:
            raise store_error(self.folder, error) from error
        crops = tuple(packed(crop) for crop in batch.crops)
        self.images.append(CachedImage(id=image_id, size=original, grid=batch.grid, crops=crops))

    def finish(self) -> dict[str, FileCheck]:
        """Sync all files to the disk. Returns the check of each.

        Raises:
            StoreError: the disk is full.
        """
        try:
            for stream in self._files:
                stream.flush()
                os.fsync(stream.fileno())
            return {name: file_check(self.folder / name) for name in self.names}
        except OSError as error:
            raise store_error(self.folder, error) from error

    def _rows(self, tensor: Tensor, image_id: str) -> np.ndarray[Any, Any]:
        values = tensor.detach().to("cpu", torch.float32).flatten(0, -2).numpy()
        with np.errstate(over="ignore"):
            rows = values.astype(self.dtype)
        if not np.isfinite(rows).all():
            reason = "not finite" if not np.isfinite(values).all() else "beyond float16: set features.dtype: float32"
            raise DataError(f"image {image_id}: its features are {reason}")
        return rows
