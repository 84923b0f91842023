"""What a table may claim: which rows are best as far as the seeds can tell, what could have been seen, what is missing.

Rows are compared by differences paired by seed. Every claim needs ``MIN_SEEDS`` common seeds.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Generic, Literal, TypeVar

from scipy.special import nctdtr

from spectral_bench.results.statistics import Summary, holm, paired_difference, summarise, t_quantile

MIN_SEEDS = 5
LEVEL = 0.05
POWER = 0.8
_MOST_SEEDS = 1000

Row = TypeVar("Row", bound=Hashable)
Column = TypeVar("Column", bound=Hashable)
Values = Mapping[int, float]
Word = Literal["better", "worse", "undecided", "no claim", "not comparable"]


@dataclass(frozen=True)
class Ranking(Generic[Column, Row]):
    """The outcome of ``rank``.

    Attributes:
        best: for each column the best row and every row that cannot be told from it; empty where there is no claim.
        p: for each column and other row the p value of its difference to the best row, corrected over the table.
        lacking: rows whose seeds are too few for any claim.
    """

    best: dict[Column, frozenset[Row]]
    p: dict[tuple[Column, Row], float] = field(default_factory=dict)
    lacking: tuple[Row, ...] = ()


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
    columns: Mapping[Column, Mapping[Row, Values]], higher: Mapping[Column, bool] | None = None
) -> Ranking[Column, Row]:
    """Find the best rows of each column of a table.

    A row is left out of the best only if its difference to the row of the best mean, paired by seed, is significant at
    the level 0.05 after Holm's correction over all pairs of rows in all columns. Correcting over all pairs, and not
    only over those with the best row, pays for choosing the best row by the same numbers.

    Args:
        columns: column -> row -> seed -> value. Rows without any value have no place here.
        higher: whether more is better, by column; more is better where it is not said.

    Returns:
        No best rows at all if any two rows of a column share fewer than five seeds, or no column has two rows.
    """
    lacking = tuple(dict.fromkeys(row for rows in columns.values() for row in _lacking(rows)))
    if lacking or not any(len(rows) > 1 for rows in columns.values()):
        return Ranking({column: frozenset() for column in columns}, {}, lacking)
    p = _all_pairs(columns)
    best: dict[Column, frozenset[Row]] = {}
    against_best: dict[tuple[Column, Row], float] = {}
    for column, rows in columns.items():
        first = _first(rows, (higher or {}).get(column, True))
        others = {row: p[column, first, row] for row in rows if row != first}
        best[column] = frozenset({first, *(row for row, value in others.items() if value > LEVEL)})
        against_best.update({(column, row): value for row, value in others.items()})
    return Ranking(best, against_best)


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
    enough = (n for n in range(MIN_SEEDS, _MOST_SEEDS + 1) if power(difference.mean, difference.std, n, level) >= POWER)
    return next(enough, None)


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


def _lacking(rows: Mapping[Row, Values]) -> list[Row]:
    short = [row for row, values in rows.items() if len(values) < MIN_SEEDS]
    pairs = combinations((row for row in rows if row not in short), 2)
    apart = [pair for pair in pairs if len(rows[pair[0]].keys() & rows[pair[1]].keys()) < MIN_SEEDS]
    return [*short, *(row for pair in apart for row in pair)]


def _all_pairs(columns: Mapping[Column, Mapping[Row, Values]]) -> dict[tuple[Column, Row, Row], float]:
    """Corrected p values of all pairs of rows in all columns, in both orders of each pair."""
    raw = {
        (column, one, other): _p(rows[one], rows[other])
        for column, rows in columns.items()
        for one, other in combinations(rows, 2)
    }
    adjusted = holm(raw)
    return adjusted | {(column, other, one): value for (column, one, other), value in adjusted.items()}


def _p(first: Values, second: Values) -> float:
    found = paired_difference(first, second)
    return 1.0 if found is None or found.p is None else found.p


def _first(rows: Mapping[Row, Values], higher: bool) -> Row:
    means = {row: summarise(list(values.values())).mean for row, values in rows.items()}
    return max(means, key=lambda row: means[row] if higher else -means[row])
