"""What a table may claim: which rows are best as far as the seeds can tell, what could have been seen, what is missing.

Rows are compared by differences paired by seed. Every claim needs ``MIN_SEEDS`` common seeds.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import nctdtr

from spectral_bench.results.pairs import all_pairs, holm_adjusted
from spectral_bench.results.statistics import Summary, summarise, t_quantile

MIN_SEEDS = 5
LEVEL = 0.05
POWER = 0.8
_MOST_SEEDS = 1000

RowKey = TypeVar("RowKey", bound=Hashable)
ColumnKey = TypeVar("ColumnKey", bound=Hashable)
Values = Mapping[int, float]
Word = Literal["better", "worse", "undecided", "no claim", "not comparable"]


@dataclass(frozen=True)
class Ranking(Generic[ColumnKey, RowKey]):
    """The outcome of ``rank``.

    Attributes:
        best: for each column the best row and every row that cannot be told from it; empty where there is no claim.
        p: for each column and other row the p value of its difference to the best row, corrected over the table.
        lacking: rows whose seeds are too few for any claim.
    """

    best: dict[ColumnKey, frozenset[RowKey]]
    p: dict[tuple[ColumnKey, RowKey], float] = field(default_factory=dict)
    lacking: tuple[RowKey, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What may be said of a difference.

    Attributes:
        word: ``better``, ``worse``, ``undecided``, ``no claim`` (too few seeds) or ``not comparable`` (no common seed).
        n: common seeds.
        detectable: for an undecided one, the effect that would have been found with a probability of 0.8.
        more_seeds: for an undecided one and where there is no claim, how many more seeds would decide with a
            probability of 0.8 if the difference and its spread stay, and at least as many as a claim needs; 0 where
            only the correction for the table stands in the way; None where no number up to 1000 in all would.
    """

    word: Word
    n: int
    detectable: float | None = None
    more_seeds: int | None = None

    @property
    def sentence(self) -> str:
        """The verdict in words, effects in points."""
        if self.word == "no claim":
            more = f"about {self.more_seeds} more" if self.more_seeds else f"no number up to {_MOST_SEEDS}"
            return f"no claim: {self.n} of {MIN_SEEDS} seeds; {more} would decide"
        if self.word == "not comparable":
            return "not comparable: no common seed"
        if self.word != "undecided":
            return self.word
        seen = f"not distinguishable; {self.detectable or 0:.1f} points would probably have been seen"
        if self.more_seeds is None:
            return f"{seen}; no number of seeds up to {_MOST_SEEDS} would decide"
        return f"{seen}; {f'about {self.more_seeds} more seeds' if self.more_seeds else 'a smaller table'} would decide"


def rank(
    columns: Mapping[ColumnKey, Mapping[RowKey, Values]], higher: Mapping[ColumnKey, bool] | None = None
) -> Ranking[ColumnKey, RowKey]:
    """Find the best rows of each column of a table.

    The best row is the one of the best mean over the seeds that all rows of the column have; a row that another one is
    told to be better than is passed over. A row is left out of the best only if the best row is told to be better.
    Told means: by differences paired by seed, over the seeds that the two have, of the right sign and significant at
    the level 0.05 after Holm's correction over all pairs of rows in all columns. Correcting over all pairs, and not
    only over those with the best row, pays for choosing the best row by the same numbers.

    Args:
        columns: column -> row -> seed -> value. Rows without any value have no place here.
        higher: whether more is better, by column; more is better where it is not said.

    Returns:
        No best rows at all if the rows of any column have fewer than five seeds in common, or no column has two rows.
    """
    lacking = tuple(dict.fromkeys(row for rows in columns.values() for row in _lacking(rows)))
    if lacking or not any(len(rows) > 1 for rows in columns.values()):
        return Ranking({column: frozenset() for column in columns}, {}, lacking)
    found = _compared(columns, higher or {})
    best: dict[ColumnKey, frozenset[RowKey]] = {}
    against_best: dict[tuple[ColumnKey, RowKey], float] = {}
    for column, rows in columns.items():
        pairs = found[column]
        first = _first(rows, (higher or {}).get(column, True), pairs.beaten)
        p, told = pairs.against(list(rows).index(first))
        others = [(row, index) for index, row in enumerate(rows) if row != first]
        best[column] = frozenset({first, *(row for row, index in others if not told[index])})
        against_best.update({(column, row): float(p[index]) for row, index in others})
    return Ranking(best, against_best)


def common_seeds(rows: Mapping[RowKey, Values]) -> tuple[int, ...]:
    """The seeds that all rows have, ascending."""
    found = [set(values) for values in rows.values()]
    return tuple(sorted(set.intersection(*found))) if found else ()


def power(effect: float, std: float, n: int, level: float = LEVEL) -> float:
    """The probability that a two-sided paired t test of n pairs finds an effect (from the noncentral t distribution).

    Args:
        effect: the true mean difference.
        std: standard deviation of the differences, positive.
        n: pairs, at least two.
        level: of the test.
    """
    limit, shift = t_quantile(1 - level / 2, n - 1), abs(effect) / std * math.sqrt(n)
    return 1 - _noncentral_t(n - 1, shift, limit) + _noncentral_t(n - 1, shift, -limit)


def detectable(std: float, n: int, level: float = LEVEL) -> float:
    """The smallest effect that a paired t test of n pairs finds with a probability of 0.8, in the unit of ``std``."""
    low, high = 0.0, std
    while power(high, std, n, level) < POWER:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle, std, n, level) >= POWER else (middle, high)
    return high


def seeds_needed(difference: Summary, level: float = LEVEL) -> int | None:
    """How many seeds would find a difference as large as the one seen, at its spread, with a probability of 0.8.

    At least ``MIN_SEEDS``. None where the spread is unknown, the difference is 0, or 1000 seeds are not enough.
    """
    if difference.std is None or difference.mean == 0:
        return None
    if difference.std == 0:
        return MIN_SEEDS
    numbers, mean, std = range(MIN_SEEDS, _MOST_SEEDS + 1), difference.mean, difference.std
    first = bisect_left(numbers, POWER, key=lambda n: power(mean, std, n, level))  # it grows with the number of seeds
    return numbers[first] if first < len(numbers) else None


def verdict(difference: Summary | None, p: float | None) -> Verdict:
    """What may be said of one difference.

    Args:
        difference: over the common seeds, positive for better; None without a common seed.
        p: its p value, corrected over the table.
    """
    if difference is None:
        return Verdict("not comparable", 0)
    if difference.n < MIN_SEEDS:
        return Verdict("no claim", difference.n, more_seeds=_more_seeds(difference))
    if p is not None and p <= LEVEL:
        return Verdict("better" if difference.mean > 0 else "worse", difference.n)
    if not difference.std:
        return Verdict("undecided", difference.n, 0.0)
    return Verdict("undecided", difference.n, detectable(difference.std, difference.n), _more_seeds(difference))


def _more_seeds(difference: Summary) -> int | None:
    """How many seeds are missing; those that any claim needs where one seed tells nothing of the spread."""
    needed = MIN_SEEDS if difference.std is None else seeds_needed(difference)
    return None if needed is None else max(needed - difference.n, 0)


def _noncentral_t(degrees: int, shift: float, t: float) -> float:
    """P(T <= t); scipy gives nan in far tails of large shifts, where the probability is below 1e-10."""
    value = float(nctdtr(degrees, shift, t))
    return value if math.isfinite(value) else 0.0


def _lacking(rows: Mapping[RowKey, Values]) -> list[RowKey]:
    """The rows that stand in the way of five common seeds: short ones and those that share too few with another."""
    if len(common_seeds(rows)) >= MIN_SEEDS:
        return []
    short = [row for row, values in rows.items() if len(values) < MIN_SEEDS]
    pairs = combinations((row for row in rows if row not in short), 2)
    apart = [pair for pair in pairs if len(rows[pair[0]].keys() & rows[pair[1]].keys()) < MIN_SEEDS]
    return [*short, *(row for pair in apart for row in pair)] or list(rows)


@dataclass(frozen=True)
class _Compared:
    """What is known of all pairs of a column.

    Attributes:
        one, other: (P,) positions of the rows of a pair.
        p: (P,) corrected over the table.
        gain: (P,) positive where the first row of a pair is the better one.
    """

    one: NDArray[np.int64]
    other: NDArray[np.int64]
    p: NDArray[np.float64]
    gain: NDArray[np.float64]

    @property
    def beaten(self) -> frozenset[int]:
        """The positions of rows that some other row is told to be better than."""
        told = self.p <= LEVEL
        losers = np.concatenate([self.other[told & (self.gain > 0)], self.one[told & (self.gain < 0)]])
        return frozenset(np.unique(losers).tolist())

    def against(self, row: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """For each position p of its pair with ``row``, and whether ``row`` is told to be better; nothing of itself."""
        ahead, behind = self.one == row, self.other == row
        # The partners of a row, one before and one after it, follow each other in the order of their positions.
        p = np.concatenate([self.p[behind], [1.0], self.p[ahead]])
        gain = np.concatenate([-self.gain[behind], [0.0], self.gain[ahead]])
        return p, (p <= LEVEL) & (gain > 0)


def _compared(
    columns: Mapping[ColumnKey, Mapping[RowKey, Values]], higher: Mapping[ColumnKey, bool]
) -> dict[ColumnKey, _Compared]:
    """All pairs of rows in all columns."""
    pairs = {column: all_pairs(list(rows.values())) for column, rows in columns.items()}
    p = holm_adjusted(np.concatenate([found.p for found in pairs.values()]))
    ends = np.cumsum([len(found.p) for found in pairs.values()])
    return {
        column: _Compared(found.one, found.other, part, found.mean * (1 if higher.get(column, True) else -1))
        for (column, found), part in zip(pairs.items(), np.split(p, ends[:-1]), strict=True)
    }


def _first(rows: Mapping[RowKey, Values], higher: bool, beaten: Collection[int]) -> RowKey:
    """The row of the best mean over the common seeds, of those that no other is told to be better than."""
    seeds = common_seeds(rows)
    means = {row: summarise([values[seed] for seed in seeds]).mean for row, values in rows.items()}
    # Each pair has its own seeds, so that in theory each row is beaten by another one, in a circle.
    able = [row for index, row in enumerate(rows) if index not in beaten] or list(rows)
    return max(able, key=lambda row: means[row] if higher else -means[row])
