"""The arrays of a feature cache: written image by image by the first process that needs them, then memory maps."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from spectral_bench.bench.features.cache.meta import (
    FORMAT_VERSION,
    ITEM_BYTES,
    META_FILE,
    CachedImage,
    CacheMeta,
    CacheRequest,
    Costs,
    FileCheck,
    array_files,
    file_check,
    packed,
    require_room,
)
from spectral_bench.common.errors import DataError, RunInterrupted, StoreError
from spectral_bench.common.files import store_error, write_bytes
from spectral_bench.common.locks import Taken, hold
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
            np.memmap(folder / name, dtype, "c", shape=(meta.n_patches, width))  # what torch reads has to be writable
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
        if tuple(image.id for image in meta.images) != ids or not _files_match(folder, meta):
            return None
        return FeatureCache(folder, meta, reused=reused)
    except (OSError, ValidationError, ValueError):
        return None


def _files_match(folder: Path, meta: CacheMeta) -> bool:
    expected = array_files(meta.channels)
    if set(meta.files) != set(expected):
        return False
    for name, width in expected.items():
        size = meta.n_patches * width * ITEM_BYTES[meta.dtype]
        if meta.files[name].size != size or (folder / name).stat().st_size != size:
            return False
    return all(file_check(folder / name) == check for name, check in meta.files.items())


def _float32(rows: NDArray[Any]) -> Tensor:
    # torch converts half precision five times as fast as numpy, to the same bits.
    return torch.empty(rows.shape).copy_(torch.from_numpy(rows))


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


_POLL_S = 0.5


def open_cache(
    root: Path,
    request: CacheRequest,
    fill: Callable[[CacheWriter], None],
    *,
    planned: Callable[[], int],
    should_stop: Callable[[], bool],
) -> FeatureCache:
    """The cache that ``request`` asks for, from the disk, or else written by ``fill``.

    Args:
        root: folder of all caches; each has a folder of its own, named by its key.
        request: what it holds.
        fill: adds every image in order.
        planned: bytes that it will take; asked only where it has to be written.
        should_stop: asked while another process writes.

    Raises:
        StoreError: the cache is larger than its limit or the disk, or cannot be written.
        RunInterrupted: the run was asked to stop while another process wrote.
    """
    folder = root / request.key
    found = _read(folder, request, reused=True)
    if found is not None:
        return found
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise store_error(root, error) from error
    with _lock(root / f"{request.key}.lock", should_stop):
        found = _read(folder, request, reused=True)
        if found is None:
            require_room(root, planned(), request.limit)
            _write(folder, request, fill)
            found = _read(folder, request, reused=False)
    if found is None:
        raise StoreError(f"{folder}: the feature cache is not what was just written to it; check the disk")
    return found


def _read(folder: Path, request: CacheRequest, *, reused: bool) -> FeatureCache | None:
    return read_cache(folder, request.material, request.data_digest, request.ids, reused=reused)


def _write(folder: Path, request: CacheRequest, fill: Callable[[CacheWriter], None]) -> None:
    """Write all arrays, then ``meta.json``. What a dead writer left is removed first, and half a cache at an error."""
    _clear(folder)
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        folder.mkdir()
        with CacheWriter(folder, request.channels, request.dtype, request.limit) as writer:
            fill(writer)
            files = writer.finish()
        costs = Costs(wall_s=time.perf_counter() - wall, cpu_s=time.process_time() - cpu)
        meta = CacheMeta(
            format_version=FORMAT_VERSION,
            material=request.material,
            data_digest=request.data_digest,
            dtype=request.dtype,
            channels=request.channels,
            images=tuple(writer.images),
            files=files,
            costs=costs,
        )
        write_bytes(folder / META_FILE, json.dumps(meta.model_dump(mode="json"), separators=(",", ":")).encode())
    except OSError as error:
        _clear(folder)
        raise store_error(folder, error) from error
    except BaseException:
        _clear(folder)
        raise


def _clear(folder: Path) -> None:
    """Remove a cache, its description first, so that nobody takes the rest for whole."""
    (folder / META_FILE).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _lock(path: Path, should_stop: Callable[[], bool]) -> Iterator[None]:
    """Hold the writer's lock, which ends with its process."""
    with ExitStack() as stack:
        held = False
        while not held:
            try:
                stack.enter_context(hold(path, wait=_POLL_S))
                held = True
            except Taken:
                if should_stop():
                    raise RunInterrupted(f"stopped while another process wrote the features {path.stem}") from None
        yield
