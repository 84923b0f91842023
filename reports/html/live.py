"""What a page that is kept up to date tells of the moment: states, time left, and runs at work with their curves.

The rest of the page changes only when results do, so it is made once and has a place for this part, ``HOLE``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from io import BytesIO

from spectral_bench.reports.html.page import TEMPLATES, page_parts
from spectral_bench.reports.rows import ScoredRow
from spectral_bench.reports.run_files import Curve
from spectral_bench.reports.table import CellState, Table

HOLE = "<!-- what is going on -->"
PATIENCE_S = 180.0
"""Seconds without news after which the page says so; a page with runs at work is written more often than that."""

_WIDTH, _HEIGHT, _MARGIN = 260.0, 64.0, 3.0
_MOST_POINTS = 120
_PREFERRED = ("loss", "objective", "inertia")
_SCHEDULES = ("lr", "temperature")
_OPEN = (CellState.RUNNING, CellState.MISSING)


@dataclass(frozen=True)
class CurveView:
    """A training curve, drawn.

    Attributes:
        name: of the metric.
        path: of an SVG of 260 x 64 units.
        low, high: the smallest and the largest value.
        last: the last step and its value.
    """

    name: str
    path: str
    low: str
    high: str
    last: str


@dataclass(frozen=True)
class Work:
    """A run at work.

    Attributes:
        run_id, title, seed: which.
        progress: stage, steps and time left, in words.
        share: of the steps of the stage, 0 to 1; None where that is unknown.
        since: for how long, in words; may be empty.
        curve: its training curve; None where it has logged none.
        log: the end of its log.
    """

    run_id: str
    title: str
    seed: int
    progress: str
    share: float | None
    since: str
    curve: CurveView | None
    log: str


@dataclass(frozen=True)
class Moment:
    """What is going on.

    Attributes:
        stamp: when, for people.
        every: seconds until the page looks for a newer one; 0: it is the last one.
        lines: what is said first.
        states: state -> how many runs.
        work: the runs at work.
        more: how many further runs are at work.
        patience: seconds without news after which the page says so.
    """

    stamp: str
    every: float
    lines: Sequence[str] = ()
    states: Mapping[str, int] | None = None
    work: Sequence[Work] = ()
    more: int = 0
    patience: float = PATIENCE_S

    @property
    def logs(self) -> str:
        """Run id -> end of its log, as JSON that may stand inside a ``script`` element."""
        return json.dumps({run.run_id: run.log for run in self.work}).replace("<", "\\u003c")

    @cached_property
    def html(self) -> bytes:
        """This part of the page."""
        return TEMPLATES.get_template("live.html.j2").render(moment=self).encode()


class Frame:
    """A page with a hole, kept in two halves, so that to fill it anew costs next to nothing.

    Args:
        parts: of the page.
    """

    def __init__(self, parts: Iterable[str]) -> None:
        stream = BytesIO()
        for part in parts:
            stream.write(part.encode())
        self._before, _, self._after = stream.getvalue().partition(HOLE.encode())

    def filled(self, moment: Moment) -> bytes:
        """The page as it is at a moment."""
        return b"".join([self._before, moment.html, self._after])


def waiting_page(moment: Moment) -> bytes:
    """A page of a store that holds nothing to report yet."""
    return Frame(page_parts(hole=HOLE)).filled(moment)


def curve_view(curves: Mapping[str, Curve]) -> CurveView | None:
    """The loss of a run, or the first metric that is no schedule; None where there is none of two steps or more."""
    long = {name: curve for name, curve in curves.items() if len(curve) > 1}
    names = [*(name for name in _PREFERRED if name in long), *(name for name in long if name not in _SCHEDULES)]
    if not names:
        return None
    curve = long[names[0]]
    points = _thinned(sorted(curve.items()))
    low, high = min(curve.values()), max(curve.values())
    step, value = points[-1]
    last = f"{value:.4g} at step {step}"
    return CurveView(names[0].replace("_", " "), _path(points, low, high), f"{low:.3g}", f"{high:.3g}", last)


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most so many points, evenly, the last one among them."""
    stride = -(-len(points) // _MOST_POINTS)
    return [*points[:-1:stride], points[-1]]


def _path(points: Sequence[tuple[int, float]], low: float, high: float) -> str:
    first, last = points[0][0], points[-1][0]
    scale, height = (_WIDTH - 2 * _MARGIN) / (last - first), _HEIGHT - 2 * _MARGIN
    flat = high == low
    places = (
        (_MARGIN + (step - first) * scale, _MARGIN + height * (0.5 if flat else (high - value) / (high - low)))
        for step, value in points
    )
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)


def preliminary(tables: Sequence[Table], entries: Sequence[ScoredRow]) -> list[Table]:
    """The tables, with captions that say how many runs they lack, as long as any is to come."""
    runs = {result.run_id for entry in entries for result in entry.seeds}
    to_come = {result.run_id for entry in entries for result in entry.seeds if result.state in _OPEN}
    if not to_come:
        return list(tables)
    told = f"Preliminary: {len(runs) - len(to_come)} of {len(runs)} runs have ended."
    return [replace(table, caption=f"{told} {table.caption}") for table in tables]
