"""One lock for all that several processes, on several machines, may want at a time.

A lock is an advisory ``flock`` on a file that stays where it is (``filelock``). What it means on a shared file system:

* It belongs to the process that took it. The kernel, or the file server, drops it when that process exits, is killed or
  loses power, so neither clocks nor heartbeats are needed. A forked child does not keep it alive, and cannot drop it.
* Across machines it holds wherever the file system passes locks on: NFS, CephFS, GPFS, Lustre mounted with ``flock``.
* A file system without locks is an error. ``filelock`` would fall back to files that say "taken", which outlive a
  process that is killed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from spectral_bench.common.errors import StoreError
from spectral_bench.common.files import store_error

_POLL_S = 0.01
_CONTENTION = (errno.EAGAIN, errno.EACCES)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class Taken(Exception):
    """Another process holds the lock, or another block of this one does."""


@contextlib.contextmanager
def hold(path: Path, *, wait: float) -> Iterator[None]:
    """Hold the lock of the file ``path``, which is created where it is missing, for the length of the block.

    Args:
        path: of the lock's file.
        wait: seconds to wait for it.

    Raises:
        Taken: it was not free in time.
        StoreError: its file cannot be written, or lies on a file system without locks.
    """
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=wait, poll_interval=_POLL_S)
    except Timeout:
        raise Taken(f"{path}: still locked by another process after {wait:g} s") from None
    except OSError as error:
        raise _trouble(path, error) from error
    try:
        yield
    finally:
        lock.release()  # nothing in a forked child that leaves the block


@contextlib.contextmanager
def exclusive(path: Path, *, wait: float = 60.0) -> Iterator[None]:
    """Hold the lock of the file ``path`` for a short critical section, waiting up to ``wait`` seconds for it.

    Raises:
        StoreError: it stayed locked, cannot be written, or its file system has no locks.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(hold(path, wait=wait))
        except Taken as taken:
            raise StoreError(str(taken)) from None
        yield


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock of the file ``path``. Takes nothing and leaves no trace.

    Raises:
        StoreError: the file cannot be read, or lies on a file system without locks.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        # filelock has no shared lock of a file. With exclusive ones two watchers would take each other for the owner,
        # and NFS refuses one on a file that a watcher may only read.
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _CONTENTION:
            return True
        raise _trouble(path, error) from error
    finally:
        os.close(handle)
    return False


def _trouble(path: Path, error: OSError) -> StoreError:
    if error.errno in _NO_LOCKS:
        reason = f"this file system has no locks ({error.strerror}); keep the store on one where flock works"
        return StoreError(f"{path}: {reason}")
    return store_error(path, error)
