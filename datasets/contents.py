"""What is in files, in a few digits. Each file is read once; later its size and times tell that it is as it was."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from spectral_bench.common.errors import StoreError
from spectral_bench.common.files import write_bytes
from spectral_bench.datasets.listing import unreachable

_THREADS = 4
_VERSION = 1
# A file that changed so shortly before it was read may change again without its time being another: file systems
# count time in steps, of up to 2 s on FAT.
_SETTLED_NS = 2_000_000_000

Stamp = tuple[int, int, int, int]
"""Size in bytes, times of the last change of content and of anything in ns, inode."""
_Known = dict[str, tuple[Stamp, str]]


def contents_digest(files: Mapping[str, Path], folder: Path) -> str:
    """16 hexadecimal digits over ids and contents of files.

    Hashes of files are remembered in the user's cache folder by size, both times and inode, so that a file is read
    again only where one of these is another. A tool that puts back the time of change cannot put back the other one,
    which the system keeps.

    Args:
        files: id -> path.
        folder: where they lie; there is one memory a folder.

    Raises:
        DataError: a file cannot be read.
    """
    memory = _Memory(folder)
    try:
        stamps = {str(path): _stamp(path) for path in files.values()}
        hashes = memory.known(stamps)
        new = [name for name in stamps if name not in hashes]
        begun = time.time_ns()
        hashes |= _read(new)
        memory.keep(
            {name: (stamps[name], hashes[name]) for name in new if max(stamps[name][1:3]) < begun - _SETTLED_NS}
        )
    except OSError as error:
        raise unreachable(error) from error
    return _over(f"{file_id}\0{hashes[str(path)]}\n" for file_id, path in files.items())


def times_digest(files: Mapping[str, Path]) -> str:
    """``t`` and 16 hexadecimal digits over ids, sizes and times of change; reads no file.

    Archives and most ways of copying keep these times, so that copies of a published data set have one digest.

    Raises:
        DataError: a file is there no more.
    """
    try:
        stamps = [(file_id, _stamp(path)) for file_id, path in files.items()]
    except OSError as error:
        raise unreachable(error) from error
    return "t" + _over(f"{file_id}\0{stamp[0]}\0{stamp[1] // 10**9}\n" for file_id, stamp in stamps)


def memory_folder() -> Path | None:
    """Where hashes are remembered: ``spectral-bench/contents`` in ``$XDG_CACHE_HOME`` or ``~/.cache``, if any."""
    try:
        root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    except RuntimeError:  # a user without a home
        return None
    return Path(root) / "spectral-bench" / "contents"


class _Memory:
    """The hashes of the files of one folder. What cannot be kept is computed again: it costs time and nothing else."""

    _loaded: dict[Path, _Known] = {}  # noqa: RUF012 - one for all threads of the process
    _lock = threading.Lock()

    def __init__(self, folder: Path) -> None:
        place = memory_folder()
        name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:24]
        self._path = place / f"{name}.json" if place is not None else None

    def known(self, stamps: Mapping[str, Stamp]) -> dict[str, str]:
        """The hashes of those files whose stamps are as they were."""
        if self._path is None:
            return {}
        with self._lock:
            if self._path not in self._loaded:
                self._loaded[self._path] = self._read()
            found = self._loaded[self._path]
            return {name: found[name][1] for name, stamp in stamps.items() if name in found and found[name][0] == stamp}

    def keep(self, new: _Known) -> None:
        """Add hashes to the memory, beside those that other processes have added meanwhile."""
        if self._path is None or not new:
            return
        with self._lock:
            merged = self._read() | new
            self._loaded[self._path] = merged
            written = {name: [*stamp, value] for name, (stamp, value) in merged.items()}
            content = json.dumps({"version": _VERSION, "files": written}, separators=(",", ":"))
            with contextlib.suppress(StoreError, OSError):
                write_bytes(self._path, content.encode())

    def _read(self) -> _Known:
        if self._path is None:
            return {}
        try:
            content = json.loads(self._path.read_bytes())
            if content["version"] != _VERSION:
                return {}
            return {
                str(name): ((int(size), int(content_ns), int(any_ns), int(inode)), str(value))
                for name, (size, content_ns, any_ns, inode, value) in content["files"].items()
            }
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return {}


def _stamp(path: Path) -> Stamp:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _read(names: list[str]) -> dict[str, str]:
    with ThreadPoolExecutor(max_workers=_THREADS) as pool:
        return dict(zip(names, pool.map(_hash, names), strict=True))


def _hash(name: str) -> str:
    with open(name, "rb") as stream:  # noqa: PTH123 - of 20 000 small files, making paths is a tenth of the time
        return hashlib.file_digest(stream, "sha256").hexdigest()[:32]


def _over(lines: Iterable[str]) -> str:
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]
