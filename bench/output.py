"""Where a worker's words go: into the log of its run."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from spectral_bench.common.errors import StoreError


@contextlib.contextmanager
def into_log(path: Path) -> Iterator[None]:
    """Append all that this process and its children write, standard output and error alike, to ``path``.

    Log records and Python warnings go there too, and so does the traceback of a segmentation fault. What was there
    before the block is restored after it.

    Raises:
        StoreError: the log cannot be opened.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error.strerror})") from error
    _flush()
    before = [os.dup(1), os.dup(2)]
    try:
        os.dup2(log, 1)
        os.dup2(log, 2)
        with _line(1) as out, _line(2) as err, redirect_stdout(out), redirect_stderr(err), _logging():
            yield
    finally:
        _flush()
        for target, saved in enumerate(before, start=1):
            os.dup2(saved, target)
            os.close(saved)
        os.close(log)


def _line(descriptor: int) -> TextIO:
    """A text stream that passes on each line at once, so that a killed worker has said what it did."""
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)


@contextlib.contextmanager
def _logging() -> Iterator[None]:
    handler = logging.StreamHandler(_StandardError())
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    watched = faulthandler.is_enabled()
    if not watched:
        faulthandler.enable(2)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.setLevel(level)
        root.removeHandler(handler)
        if not watched:
            faulthandler.disable()


class _StandardError:
    """Writes straight to file descriptor 2, whatever ``sys.stderr`` is at the moment."""

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # a full disk must not turn a log line into a failure
            os.write(2, text.encode(errors="replace"))

    def flush(self) -> None:
        """Nothing is buffered."""


def say(text: str) -> None:
    """One line to standard error with the time in UTC, even if the disk behind it is full."""
    _flush()
    _StandardError().write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {text}\n")


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
