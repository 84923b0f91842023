"""What watchers see of a run at work: its progress, its training curve and its log.

All three are files in the run's folder, written so that a reader at any moment, or after any crash, gets sense.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import logging
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from spectral_bench.common.errors import StoreError

PROGRESS_FILE = "progress.json"

METRICS_FILE = "metrics.jsonl"

LOG_FILE = "log.txt"


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        stage: what it is doing, such as ``features``, ``fit`` or ``evaluate``.
        done: steps or images done in this stage.
        total: of how many; 0 where that is unknown.
        updated: seconds since the epoch on the worker's clock; to show, not to decide by.
    """

    stage: str
    done: int
    total: int
    updated: float


class ProgressFile:
    """Tells watchers how far a run is: at once when its stage changes or ends, else at most every half second.

    The file is replaced atomically but not synced: it is worth nothing after a power cut. A disk without space is no
    reason to stop a run here, so such errors are swallowed; the next record will report them.

    Args:
        path: the file.
        every: seconds between two writes.
    """

    def __init__(self, path: Path, every: float = 0.5) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self._every = every
        self._stage = ""
        self._last = -math.inf

    def update(self, stage: str, done: int, total: int) -> None:
        """Note that ``done`` of ``total`` steps of ``stage`` are behind."""
        now = time.monotonic()
        if stage == self._stage and done != total and now - self._last < self._every:
            return
        self._stage, self._last = stage, now
        try:
            self._temporary.parent.mkdir(parents=True, exist_ok=True)
            self._temporary.write_text(json.dumps(asdict(Progress(stage, done, total, time.time()))))
            self._temporary.replace(self._path)
        except OSError:
            self._temporary.unlink(missing_ok=True)


def read_progress(path: Path) -> Progress | None:
    """What a ``ProgressFile`` last said; None where it said nothing that can be read."""
    try:
        value = json.loads(path.read_bytes())
        return Progress(str(value["stage"]), int(value["done"]), int(value["total"]), float(value["updated"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


class MetricsLog:
    """The training curve of a run: one JSON object a line, ``{"step": 12, "loss": 0.3}``.

    A resumed run appends to what is there; where it repeats a step, the last line counts (see ``read_metrics``).

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._torn = _ends_torn(path)

    def append(self, step: int, values: Mapping[str, float]) -> None:
        """Add the values of a step. A value that is not finite is kept as null."""
        finite = {name: float(value) if math.isfinite(value) else None for name, value in values.items()}
        line = json.dumps({"step": step} | finite) + "\n"
        with self._path.open("a", encoding="utf-8") as file:
            file.write(("\n" if self._torn else "") + line)
        self._torn = False


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The steps of a training curve in ascending order, each with its last values. Torn lines are passed over."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    steps: dict[int, dict[str, Any]] = {}
    for line in lines:
        try:
            row = json.loads(line)
            steps[int(row["step"])] = row
        except (ValueError, TypeError, KeyError):
            continue
    return [steps[step] for step in sorted(steps)]


def _ends_torn(path: Path) -> bool:
    """Whether a file ends within a line."""
    try:
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return False
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except FileNotFoundError:
        return False


def tail(path: Path, lines: int = 40, most: int = 16_384) -> str:
    """The last lines of a log, at most ``most`` bytes; empty where there is none. Undecodable bytes are replaced."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - most))
            data = file.read(most)
    except OSError:
        return ""
    return "\n".join(data.decode(errors="replace").splitlines()[-lines:])


def say(text: str) -> None:
    """One line to standard error with the time in UTC, even if the disk behind it is full."""
    _flush()
    _StandardError().write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {text}\n")


@contextlib.contextmanager
def into_log(path: Path) -> Iterator[None]:
    """Append all that this process and its children write, standard output and error alike, to ``path``.

    Log records and Python warnings go there too, and so does the traceback of a segmentation fault. What was there
    before the block is restored after it.

    Raises:
        StoreError: the log cannot be opened.
    """
    log = _open_log(path)
    try:
        with own_output():
            divert(log)
            yield
    finally:
        os.close(log)


@contextlib.contextmanager
def own_output() -> Iterator[None]:
    """For the length of the block all output, log records and warnings too, may be diverted; then it goes on as before.

    Lines are passed on as they end.
    """
    _flush()
    before = [os.dup(1), os.dup(2)]
    try:
        with _line(1) as out, _line(2) as err, redirect_stdout(out), redirect_stderr(err), _logging():
            yield
    finally:
        divert(*before)
        for saved in before:
            os.close(saved)


def divert(out: int, err: int | None = None) -> None:
    """Let standard output and error go to these open files from now on, to one for both where one is given."""
    _flush()
    os.dup2(out, 1)
    os.dup2(out if err is None else err, 2)


class Logs:
    """The logs of several runs of one process, of which one at a time works; used inside of ``own_output``.

    Args:
        count: of runs, told apart by their numbers.
    """

    def __init__(self, count: int) -> None:
        self._others = os.dup(2)
        self._logs: list[int | None] = [None] * count

    @contextlib.contextmanager
    def into(self, number: int, path: Path) -> Iterator[None]:
        """While it is this run's turn, all output goes to its log, for the length of the block.

        Raises:
            StoreError: the log cannot be opened.
        """
        log = self._logs[number] = _open_log(path)
        try:
            self.turn(number)
            yield
        finally:
            self._logs[number] = None
            self.turn(number)
            os.close(log)

    def turn(self, number: int) -> None:
        """It is this run's turn."""
        log = self._logs[number]
        divert(self._others if log is None else log)

    def close(self) -> None:
        """No run works any more."""
        os.close(self._others)


def _open_log(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error.strerror})") from error


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


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
