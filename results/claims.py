"""Exclusive ownership of a folder by one process, which ends with that process however it dies.

A claim is an advisory ``flock`` on a file: the kernel drops it when its owner exits, is killed or loses power, so
neither clocks nor heartbeats are needed. The lock belongs to the process that took it and not to its forked children,
which would otherwise keep it alive after their parent's death. Across machines it holds wherever the file system
passes locks on (NFS, CephFS, GPFS, Lustre mounted with ``flock``).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from spectral_bench.common.errors import StoreError

LOCK_FILE = "claim.lock"
OWNER_FILE = "claim.json"

_TAKEN = (errno.EAGAIN, errno.EACCES)
_PATIENCE = 0.1  # seconds; a probe holds the lock for microseconds and must not be taken for an owner
_inheritable: set[int] = set()


class Busy(Exception):
    """Another process owns the claim.

    Attributes:
        owner: what the owner says of itself (host, pid, since, ...); empty where it says nothing.
    """

    def __init__(self, folder: Path, owner: dict[str, Any]) -> None:
        self.owner = owner
        who = f" by process {owner.get('pid')} on {owner.get('host')} since {owner.get('since')}" if owner else ""
        super().__init__(f"{folder.name}: claimed{who}")


@contextlib.contextmanager
def claim(folder: Path, **facts: str) -> Iterator[None]:
    """Own ``folder`` (created where it is missing) for the length of the block.

    Args:
        folder: what is claimed.
        facts: what else the owner says of itself, such as ``job="1234_5"``.

    Raises:
        Busy: another process owns it, or this one does already.
        StoreError: the folder cannot be written, or its file system has no locks.
    """
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / LOCK_FILE, wait=_PATIENCE) as free:
        if not free:
            raise Busy(folder, owner(folder))
        _sign(folder / OWNER_FILE, facts)
        pid = os.getpid()
        try:
            yield
        finally:
            if os.getpid() == pid:
                (folder / OWNER_FILE).unlink(missing_ok=True)


def is_claimed(folder: Path | str) -> bool:
    """Whether a living process owns ``folder``. Takes nothing and leaves no trace.

    Raises:
        StoreError: the file system has no locks.
    """
    # An owner signs what it locks. Thousands of runs are over, and one path of pathlib costs more than the look itself.
    if not os.path.exists(f"{folder}/{OWNER_FILE}"):  # noqa: PTH110
        return False
    lock = Path(folder) / LOCK_FILE
    try:
        handle = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreError(f"{lock}: cannot be read ({error.strerror})") from error
    try:
        return not _try_lock(handle, lock, fcntl.LOCK_SH)
    finally:
        os.close(handle)


def owner(folder: Path) -> dict[str, Any]:
    """What the last owner said of itself; empty where it said nothing. It may be dead: see ``is_claimed``."""
    try:
        value = json.loads((folder / OWNER_FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


@contextlib.contextmanager
def exclusive(path: Path, *, wait: float = 60.0) -> Iterator[None]:
    """Hold the lock file ``path`` for a short critical section, waiting up to ``wait`` seconds for it.

    Raises:
        StoreError: it stayed locked, cannot be written, or its file system has no locks.
    """
    with _locked(path, wait=wait) as free:
        if not free:
            raise StoreError(f"{path}: still locked by another process after {wait:g} s")
        yield


@contextlib.contextmanager
def _locked(path: Path, *, wait: float) -> Iterator[bool]:
    """Try to lock ``path`` for up to ``wait`` seconds; yields whether it worked."""
    with _writing(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    _inheritable.add(handle)
    try:
        end = time.monotonic() + wait
        free = _try_lock(handle, path, fcntl.LOCK_EX)
        while not free and time.monotonic() < end:
            time.sleep(0.01)
            free = _try_lock(handle, path, fcntl.LOCK_EX)
        yield free
    finally:
        if handle in _inheritable:  # else this is a forked child, which has closed it already
            _inheritable.discard(handle)
            os.close(handle)


def _try_lock(handle: int, path: Path, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        reason = f"this file system has no locks ({error.strerror}); keep the store on one where flock works"
        raise StoreError(f"{path}: {reason}") from error
    return True


def _sign(path: Path, facts: dict[str, str]) -> None:
    """Say who owns the claim. For people only: the lock alone decides."""
    me = {"host": socket.gethostname(), "pid": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
    with _writing(path):
        path.write_text(json.dumps(me | facts))


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error.strerror or error})") from error


def _let_go() -> None:
    """In a forked child: close what was inherited. The parent's locks stand, as nobody unlocks them."""
    for handle in _inheritable:
        with contextlib.suppress(OSError):
            os.close(handle)
    _inheritable.clear()


os.register_at_fork(after_in_child=_let_go)
