"""Exclusive ownership of a folder by one process, which ends with that process however it dies.

A claim is a lock in the folder (see ``common.locks``), beside which its owner says who it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from spectral_bench.common.errors import StoreError
from spectral_bench.common.locks import Taken, hold, is_held
from spectral_bench.results.documents import names_in

LOCK_FILE = "claim.lock"
OWNER_FILE = "claim.json"

_PATIENCE = 0.1  # seconds; a probe holds the lock for microseconds and must not be taken for an owner


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
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(hold(folder / LOCK_FILE, wait=_PATIENCE))
        except Taken:
            raise Busy(folder, owner(folder)) from None
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
    return is_held(Path(folder) / LOCK_FILE)


def owner(folder: Path) -> dict[str, Any]:
    """What the last owner said of itself; empty where it said nothing. It may be dead: see ``is_claimed``."""
    try:
        value = json.loads((folder / OWNER_FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


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


LAUNCHERS_FOLDER = "launchers"
"""In a store: a claim a launcher that has runs of it in hand."""


@contextlib.contextmanager
def launching(store: Path) -> Iterator[None]:
    """Let others see, for the length of the block, that this process has runs of a store in hand (``is_launched``).

    What it has ordered and not begun is claimed by nobody: without this, it would look abandoned once its grid changes.
    """
    folder = store / LAUNCHERS_FOLDER / f"{socket.gethostname()}-{os.getpid()}"
    with claim(folder):
        yield
    with contextlib.suppress(OSError):  # another has begun meanwhile, or removed it
        (folder / LOCK_FILE).unlink()
        folder.rmdir()
        folder.parent.rmdir()


def is_launched(store: Path) -> bool:
    """Whether a living process of any machine has runs of a store in hand, at work or not."""
    folder = store / LAUNCHERS_FOLDER
    return any(is_claimed(folder / name) for name in names_in(folder))
