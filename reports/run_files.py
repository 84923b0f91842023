"""What a run leaves beside its records: its training curve and the end of its log."""

from __future__ import annotations

import json
import math
from pathlib import Path

METRICS_FILE = "metrics.jsonl"
LOG_FILE = "log.txt"


def training_curve(folder: Path) -> dict[str, dict[int, float]]:
    """Metric -> step -> value, from a run's folder; empty where there is no curve.

    Of a step that was repeated after an interruption the last line counts. Torn lines and values that are not finite
    are passed over.
    """
    curve: dict[str, dict[int, float]] = {}
    for line in _read(folder / METRICS_FILE).split("\n"):
        try:
            values = json.loads(line)
            step = int(values.pop("step"))
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
        for name, value in values.items():
            if isinstance(value, (int, float)) and math.isfinite(value):
                curve.setdefault(name, {})[step] = float(value)
    return {name: dict(sorted(steps.items())) for name, steps in curve.items()}


def log_tail(folder: Path, lines: int = 20) -> str:
    """The last lines of a run's log; empty where there is none."""
    return "\n".join(_read(folder / LOG_FILE).rstrip("\n").split("\n")[-lines:])


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""
