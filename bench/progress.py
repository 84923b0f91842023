"""What watchers see of a run at work: its progress, its training curve and its log.

All three are files in the run's folder, written so that a reader at any moment, or after any crash, gets sense.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

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
