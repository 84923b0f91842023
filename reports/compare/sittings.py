"""The independent repeats of a cost: sittings, not seeds.

Runs that one launch made one after the other share the state of the machine, so the seeds of two stores differ in time
by what else went on there, all in one direction. What repeats a time is another sitting; and of sittings a difference
can be told only where those of both sets took turns, since a machine is slower today than yesterday too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from spectral_bench.common.names import how_many
from spectral_bench.reports.cells import Measure
from spectral_bench.reports.rows import ScoredRow, SeedResult
from spectral_bench.results.comparison import MIN_SEEDS
from spectral_bench.results.record import SITTING, EvaluationRecord, FitRecord

MIN_SITTINGS = MIN_SEEDS
_MOST_IN_A_ROW = 2

Part = Literal["fit", "evaluation"]


@dataclass(frozen=True)
class Repeats:
    """A cost of two rows by pairs of sittings.

    Attributes:
        a, b: number of a pair of sittings -> mean over the seeds that were run in it.
        reason: why they allow no claim; empty where they do.
    """

    a: dict[int, float]
    b: dict[int, float]
    reason: str = ""


@dataclass(frozen=True)
class _Run:
    """One seed of one row: its cost, the sittings that it was measured in, and when (ISO 8601, UTC)."""

    value: float
    sittings: frozenset[str]
    started: str


def cost_repeats(a: ScoredRow, b: ScoredRow, measure: Measure, parts: Sequence[Part]) -> Repeats:
    """The repeats of a cost over the seeds that two rows have in common.

    Seeds that share a sitting in either row belong to one pair of sittings. A claim needs five pairs that took turns.

    Args:
        a, b: the rows.
        measure: the cost of a run; seeds without one are left out.
        parts: the records that it is measured in.
    """
    ones, others = _runs(a, measure, parts), _runs(b, measure, parts)
    seeds = sorted(ones.keys() & others.keys())
    blocks = _blocks({seed: ones[seed].sittings | others[seed].sittings for seed in seeds})
    means = [
        {at: _mean(side[seed].value for seed in block) for at, block in enumerate(blocks)} for side in (ones, others)
    ]
    times = [
        (min(ones[seed].started for seed in block), min(others[seed].started for seed in block)) for block in blocks
    ]
    known = all("" not in side[seed].sittings for side in (ones, others) for seed in seeds)
    return Repeats(means[0], means[1], _reason(times) if known else "the sittings of a side are not recorded")


def take_turns(times: Sequence[tuple[str, str]]) -> bool:
    """Whether the sittings of two sides took turns, so that a drift of the machine is not taken for a difference.

    In the order of time no side has more than two in a row, and each goes first in a third of the pairs or more.

    Args:
        times: of each pair, when that of A and that of B began, in a form that sorts by time.
    """
    order = [side for _, side in sorted((time, side) for pair in times for side, time in enumerate(pair))]
    longest = _MOST_IN_A_ROW + 1
    mixed = all(len(set(order[at : at + longest])) > 1 for at in range(len(order) - longest + 1))
    first = [sum(one <= other for one, other in times), sum(other <= one for one, other in times)]
    return mixed and 3 * min(first) >= len(times)


def _reason(times: Sequence[tuple[str, str]]) -> str:
    if len(times) < MIN_SITTINGS:
        return f"{len(times)} of {how_many(MIN_SITTINGS, 'sitting')}; seeds of one launch are no repeats of a cost"
    return "" if take_turns(times) else "the sittings of A and B did not take turns"


def _runs(entry: ScoredRow, measure: Measure, parts: Sequence[Part]) -> dict[int, _Run]:
    found = {}
    for result in entry.done:
        value, records = measure(result), _records(result, parts)
        if value is not None and records:
            sittings = frozenset(str(record.execution.get(SITTING) or "") for record in records)
            found[result.seed] = _Run(value, sittings, min(record.started for record in records))
    return found


def _records(result: SeedResult, parts: Sequence[Part]) -> list[FitRecord | EvaluationRecord]:
    records: Mapping[Part, FitRecord | EvaluationRecord | None] = {"fit": result.fit, "evaluation": result.evaluation}
    return [record for part in parts if (record := records[part]) is not None]


def _blocks(sittings: Mapping[int, frozenset[str]]) -> list[list[int]]:
    """The seeds in groups that share no sitting with each other, each ascending, in the order of their first seed."""
    groups: list[tuple[set[str], list[int]]] = []
    for seed, names in sittings.items():
        touched = [group for group in groups if group[0] & names]
        merged = (
            set(names).union(*(group[0] for group in touched)),
            [s for group in touched for s in group[1]] + [seed],
        )
        groups = [group for group in groups if group not in touched] + [merged]
    return sorted(sorted(seeds) for _, seeds in groups)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)
