"""What a run leaves beside its records: its training curve and the end of its log."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

METRICS_FILE = "metrics.jsonl"
LOG_FILE = "log.txt"

Curve = dict[int, float]
"""Step -> value."""


class CurveFile:
    """The training curve of a run at work: each look reads only what was added since the one before.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / METRICS_FILE
        self._position = 0
        self._curves: dict[str, Curve] = {}

    def read(self) -> dict[str, Curve]:
        """Metric -> its curve so far; see ``training_curve``."""
        try:
            with self._path.open("rb") as file:
                if file.seek(0, os.SEEK_END) < self._position:  # the run was begun anew
                    self._position, self._curves = 0, {}
                file.seek(self._position)
                added = file.read()
        except OSError:
            return self._curves
        whole = added[: added.rfind(b"\n") + 1]  # the rest is being written
        self._position += len(whole)
        _add_lines(self._curves, whole.decode(errors="replace"))
        return self._curves


def training_curve(folder: Path) -> dict[str, Curve]:
    """Metric -> its curve, from a run's folder; empty where there is none.

    Of a step that was repeated after an interruption the last line counts. Torn lines and values that are not finite
    are passed over.
    """
    curves: dict[str, Curve] = {}
    _add_lines(curves, _read(folder / METRICS_FILE))
    return {name: dict(sorted(steps.items())) for name, steps in curves.items()}


def _add_lines(curves: dict[str, Curve], text: str) -> None:
    for line in text.split("\n"):
        try:
            values = json.loads(line)
            step = int(values.pop("step"))
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
        for name, value in values.items():
            if isinstance(value, (int, float)) and math.isfinite(value):
                curves.setdefault(name, {})[step] = float(value)


def log_tail(folder: Path, lines: int = 20) -> str:
    """The last lines of a run's log; empty where there is none."""
    return "\n".join(_read(folder / LOG_FILE).rstrip("\n").split("\n")[-lines:])


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""
