"""What of a plan fits into a budget of hours by predictions: which runs, in which order, and what is left out."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from spectral_bench.bench.plan.estimate import parts_by_cache, planned_caches, with_predictions
from spectral_bench.bench.plan.prediction import Measurements, Part, predict
from spectral_bench.bench.plan.states import Plan, PlannedRun

By = Literal["rows", "seeds"]
"""What comes first: the rows of a grid, each with all of its seeds, or the seeds, each of all rows."""

BY = get_args(By)


@dataclass(frozen=True)
class Piece:
    """What costs hours as one: a run, a cache of features, or a job of several runs.

    Attributes:
        hours: that it takes; None where nobody knows.
        needs: the pieces that have to be done before, by name; names of no piece count as done.
    """

    hours: float | None
    needs: frozenset[str] = frozenset()


@dataclass(frozen=True)
class LeftOut:
    """A piece that does not fit.

    Attributes:
        name: of the piece.
        hours: that it takes, with what it needs and what is not among the chosen.
        left: hours that were left when its turn came.
    """

    name: str
    hours: float
    left: float


@dataclass(frozen=True)
class Choice:
    """What fits into a budget.

    Attributes:
        chosen: pieces in their order, each after what it needs; those of unknown hours last.
        unknown: those of the chosen that take unknown hours, or need one that does.
        left: what does not fit, in order.
        hours: that the chosen take on the clock, as far as known.
    """

    chosen: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    left: tuple[LeftOut, ...] = ()
    hours: float = 0.0


def choose(pieces: Mapping[str, Piece], order: Iterable[str], hours: float, workers: int = 1) -> Choice:
    """Take pieces in order as long as they fit, each with what it needs; what does not fit is passed over.

    A piece and what it needs besides what was taken already are one block: all of it fits, or none is taken. Blocks of
    unknown hours come after all others, by what of them is known.

    Args:
        pieces: all of them, by name.
        order: the pieces that are wanted, the most wanted first.
        hours: the budget, on the clock.
        workers: pieces at a time; a block goes to the one that is free first, once what it needs is there.
    """
    taken = _Taken(pieces, hours, workers)
    later: list[tuple[str, list[str]]] = []
    left: list[LeftOut] = []
    for name in order:
        block = taken.block(name)
        if any(pieces[one].hours is None for one in block):
            later.append((name, block))
        elif (refused := taken.take(name, block)) is not None:
            left.append(refused)
    unknown: list[str] = []
    for name, _ in later:
        block = taken.block(name)
        if (refused := taken.take(name, block)) is not None:
            left.append(refused)
        else:
            unknown += block
    return Choice(tuple(taken.ends), tuple(unknown), tuple(left), max(taken.ends.values(), default=0.0))


@dataclass
class _Taken:
    """What was taken so far: when each piece ends, in the order in which they were taken."""

    pieces: Mapping[str, Piece]
    hours: float
    workers: int
    ends: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._free = [0.0] * self.workers

    def block(self, name: str) -> list[str]:
        """A piece after all that it needs and that is not taken yet."""
        found: dict[str, None] = {}
        self._add(name, found)
        return list(found)

    def _add(self, name: str, found: dict[str, None]) -> None:
        if name in found or name in self.ends or name not in self.pieces:
            return
        for needed in sorted(self.pieces[name].needs):
            self._add(needed, found)
        found[name] = None

    def take(self, name: str, block: Sequence[str]) -> LeftOut | None:
        """Take a block, or say what was left for it."""
        needed = (one for piece in block for one in self.pieces[piece].needs if one in self.ends)
        start = max([self._free[0], *(self.ends[one] for one in needed)])
        takes = sum(self.pieces[one].hours or 0.0 for one in block)
        if start + takes > self.hours * (1 + 1e-9):  # sums of fractions are not exact
            return LeftOut(name, takes, max(self.hours - start, 0.0))
        for one in block:
            start += self.pieces[one].hours or 0.0
            self.ends[one] = start
        if block:
            heapq.heapreplace(self._free, start)
        return None


def pieces_of(plan: Plan) -> dict[str, Piece]:
    """The unfinished runs of a plan and the caches that they need, as pieces; a cache by its key.

    A run of a plan is named by its id, and needs its caches and the unfinished fit that it starts from.
    """
    pieces: dict[str, Piece] = {}
    for run in plan.unfinished:
        caches, own = parts_by_cache(run, plan.store)
        for key, part in caches.items():
            pieces.setdefault(key, Piece(_hours([part], plan.measured)))
        # A fit that is stored needs no other any more.
        needs = {*caches, *([run.requires] if run.requires and not run.condition.fitted else [])}
        pieces[run.run_id] = Piece(_hours(own, plan.measured), frozenset(needs))
    return pieces


def _hours(parts: Sequence[Part], measured: Measurements) -> float | None:
    found = predict(parts, measured)
    return None if found is None else found.seconds / 3600


def ordered(plan: Plan, by: By) -> list[str]:
    """The unfinished runs that rows ask for, in the order in which they are wanted.

    Args:
        plan: the plan.
        by: ``rows``: the grid's first row with all of its seeds, then the second; ``seeds``: the first seed of all
            rows, then the second of all.
    """
    turns: dict[str, tuple[int, int]] = {}
    for index, row in enumerate(plan.rows):
        for seed, run_id in enumerate(row.run_ids):
            turns.setdefault(run_id, (index, seed) if by == "rows" else (seed, index))
    last = (len(turns) + len(plan.runs), 0)
    asked = [run.run_id for run in plan.unfinished if run.asked_for]
    return sorted(asked, key=lambda run_id: turns.get(run_id, last))


def narrowed(plan: Plan, names: Iterable[str]) -> Plan:
    """The plan in which only some of the unfinished runs are left, in this order; names of no run are passed over."""
    unfinished = {run.run_id: run for run in plan.unfinished}
    kept = [run for run in plan.runs if run.condition.finished]
    kept += [unfinished[name] for name in dict.fromkeys(names) if name in unfinished]
    # Anew, as features are counted for the first run that needs them.
    runs = with_predictions(kept, plan.measured, plan.store)
    return replace(plan, runs=tuple(runs), caches=planned_caches(runs, plan.store))


def cheapest(pieces: Mapping[str, Piece], order: Iterable[str], done: Iterable[str]) -> float | None:
    """The hours of the cheapest piece that is not done, with what it needs, as far as known; None where all are done.

    Args:
        pieces: what costs hours.
        order: the pieces that are wanted.
        done: names of the pieces that are not left out.
    """
    taken = _Taken(pieces, 0.0, 1, dict.fromkeys(done, 0.0))
    blocks = (taken.block(name) for name in order)
    return min((sum(pieces[one].hours or 0.0 for one in block) for block in blocks if block), default=None)


def left_by_row(
    plan: Plan, pieces: Mapping[str, Piece], done: Iterable[str], home: Mapping[str, str]
) -> Iterator[tuple[list[PlannedRun], float]]:
    """What rows lack: their runs that are left out, and the hours that these take with what they need.

    Args:
        plan: the whole plan.
        pieces: what costs hours.
        done: names of the runs and pieces that are not left out.
        home: run -> its piece.
    """
    ends = dict.fromkeys(done, 0.0)
    unfinished = {run.run_id: run for run in plan.unfinished}
    of_row: dict[str, list[PlannedRun]] = {}
    for run_id in ordered(plan, "rows"):
        if run_id not in ends:
            of_row.setdefault(unfinished[run_id].title, []).append(unfinished[run_id])
    for runs in of_row.values():
        taken = _Taken(pieces, 0.0, 1, dict(ends))
        missing = dict.fromkeys(name for run in runs for name in taken.block(home[run.run_id]))
        yield runs, sum(pieces[name].hours or 0.0 for name in missing)
