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
from spectral_bench.common.names import duration

logger = logging.getLogger(__name__)

PROGRESS_FILE = "progress.json"

METRICS_FILE = "metrics.jsonl"

LOG_FILE = "log.txt"

LOG_EVERY = 30.0  # seconds between two lines of a log that say how far a stage is


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        stage: what it is doing, such as ``features``, ``fit`` or ``evaluate``.
        done: steps or images done in this stage.
        total: of how many; 0 where that is unknown.
        updated: seconds since the epoch on the worker's clock; to show, not to decide by.
        left: seconds that the stage had left then, at its pace so far; None where that is unknown.
    """

    stage: str
    done: int
    total: int
    updated: float
    left: float | None = None

    @property
    def in_words(self) -> str:
        """What is left of the stage, as an addition to a line; empty where that is unknown."""
        return "" if self.left is None else f", {duration(self.left)} left"


class Pace:
    """How fast a stage gets on in this process: what an earlier attempt had done does not count."""

    def __init__(self) -> None:
        self._stage, self._first, self._began, self._last = "", 0, 0.0, 0

    def note(self, stage: str, done: int) -> None:
        """Note how far a stage is; one that goes back, as a second start of k-means does, begins anew."""
        # A resumed fit begins at a step above 0, which took this process no time.
        if stage != self._stage or done < self._last:
            self._stage, self._first, self._began = stage, done, time.monotonic()
        self._last = done

    @property
    def rate(self) -> float | None:
        """Steps or images a second; None before the second note."""
        seconds = time.monotonic() - self._began
        return (self._last - self._first) / seconds if self._last > self._first and seconds > 0 else None

    def left(self, total: int) -> float | None:
        """Seconds until ``total`` are done; None where rate or total is unknown."""
        rate = self.rate
        return (total - self._last) / rate if rate and total else None


class ProgressFile:
    """Tells watchers how far a run is: at once when its stage changes or ends, else at most every half second.

    Every ``LOG_EVERY`` seconds of a stage the log is told the same, with the last values of the training curve.

    Args:
        path: the file.
        every: seconds between two writes.
        curve: the training curve of the run.
    """

    def __init__(self, path: Path, every: float = 0.5, curve: MetricsLog | None = None) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self._every = every
        self._curve = curve
        self._stage = ""
        self._last = self._logged = -math.inf
        self._pace = Pace()

    def update(self, stage: str, done: int, total: int) -> None:
        """Note that ``done`` of ``total`` steps of ``stage`` are behind."""
        now = time.monotonic()
        self._pace.note(stage, done)
        if stage != self._stage:
            self._logged = now
        elif now - self._logged >= LOG_EVERY:
            self._logged = now
            logger.info("%s", self._line(stage, done, total))
        # Stages that begin or end are told at once: a short one would never be seen.
        if stage == self._stage and done != total and now - self._last < self._every:
            return
        self._stage, self._last = stage, now
        try:
            self._temporary.parent.mkdir(parents=True, exist_ok=True)
            told = Progress(stage, done, total, time.time(), self._pace.left(total))
            self._temporary.write_text(json.dumps(asdict(told)))
            # Not synced, unlike records: what a power cut loses here is of no use after it.
            self._temporary.replace(self._path)
        except OSError:  # a full disk is no reason to stop a run here: the next record reports it
            self._temporary.unlink(missing_ok=True)

    def _line(self, stage: str, done: int, total: int) -> str:
        """``fit: step 1200 of 4800, loss -0.0123 (step 1176), lr 0.00091, 4.2 steps/s, 14 min left``."""
        step, values = self._curve.last if self._curve is not None and stage == "fit" else (None, {})
        unit = "" if step is None else "step "
        parts = [f"{stage}: {unit}{done}" + (f" of {total}" if total else "")]
        if "loss" in values:
            parts.append(f"loss {values['loss']:.4g} (step {step})")
        if "lr" in values:
            parts.append(f"lr {values['lr']:.3g}")
        if rate := self._pace.rate:
            parts.append(f"{rate:.3g}{' steps' if unit else ''}/s")
        return ", ".join(parts) + Progress(stage, done, total, 0.0, self._pace.left(total)).in_words


def read_progress(path: Path) -> Progress | None:
    """What a ``ProgressFile`` last said; None where it said nothing that can be read."""
    try:
        value = json.loads(path.read_bytes())
        left = value.get("left")
        return Progress(
            str(value["stage"]),
            int(value["done"]),
            int(value["total"]),
            float(value["updated"]),
            None if left is None else float(left),
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # none, or of another release
        return None


class MetricsLog:
    """The training curve of a run: one JSON object a line, ``{"step": 12, "loss": 0.3}``.

    A resumed run appends to what is there; where it repeats a step, the last line counts (see ``read_metrics``).

    Args:
        path: the file.

    Attributes:
        last: the last step that this process added, and its values; None and nothing before the first.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._torn = _ends_torn(path)
        self.last: tuple[int | None, Mapping[str, float]] = None, {}

    def append(self, step: int, values: Mapping[str, float]) -> None:
        """Add the values of a step. A value that is not finite is kept as null."""
        self.last = step, dict(values)
        finite = {name: float(value) if math.isfinite(value) else None for name, value in values.items()}
        line = json.dumps({"step": step} | finite) + "\n"
        with self._path.open("a", encoding="utf-8") as file:
            # Of an earlier attempt that was killed within a line: what follows must not be lost with it.
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
        except (ValueError, TypeError, KeyError):  # torn by a kill; what a resumed run added stands in lines of its own
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
    # The descriptors, not sys.stdout: libraries in C, and processes that are started from here, write to these.
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
    # By lines, so that a killed worker has said what it did.
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)


@contextlib.contextmanager
def _logging() -> Iterator[None]:
    handler = logging.StreamHandler(_StandardError())
    handler.setFormatter(_InUtc("%(asctime)s %(levelname)s %(name)s: %(message)s", _STAMP))
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.INFO)  # where a run is, is told at this level
    logging.captureWarnings(True)
    # For a crash in C, which leaves no other word; pytest has it on already, with a file of its own.
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


_STAMP = "%Y-%m-%dT%H:%M:%S+00:00"


class _InUtc(logging.Formatter):
    """Log records with the clock of all other lines of a log, and of records: UTC."""

    converter = staticmethod(time.gmtime)


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
