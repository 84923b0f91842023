"""Open a feature cache; the first process that needs it writes it while the others wait."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from spectral_bench.bench.features.cache.arrays import CacheWriter, FeatureCache, read_cache
from spectral_bench.bench.features.cache.meta import FORMAT_VERSION, META_FILE, CacheMeta, Costs, require_room
from spectral_bench.bench.features.identity import CacheRequest
from spectral_bench.common.errors import RunInterrupted, StoreError
from spectral_bench.common.files import store_error, write_bytes
from spectral_bench.common.locks import Taken, hold

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
