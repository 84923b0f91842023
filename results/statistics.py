"""Statistics over seeds: mean, standard deviation, Student-t intervals, paired differences, Holm's correction.

The seed is the unit of replication: these numbers speak about a method. What resampling images says about particular
fits is in ``results.bootstrap``.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from scipy.special import stdtr, stdtrit

from spectral_bench.results.pairs import holm_adjusted

CONFIDENCE = 0.95
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Summary:
    """Mean of n values with its uncertainty; what needs two values is None with one.

    Attributes:
        n: number of values.
        mean: their mean.
        std: sample standard deviation (n - 1).
        low, high: Student-t confidence interval of the mean.
    """

    n: int
    mean: float
    std: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class PairedDifference:
    """The mean difference of two rows over the seeds that both have.

    Attributes:
        seeds: the seeds compared, ascending.
        summary: of the differences, first row minus second.
        p: two-sided p value of the paired t test; None with fewer than two seeds.
    """

    seeds: tuple[int, ...]
    summary: Summary
    p: float | None


def summarise(values: Sequence[float], confidence: float = CONFIDENCE) -> Summary:
    """Mean, standard deviation and Student-t interval of at least one value.

    Raises:
        ValueError: there is no value.
    """
    n = len(values)
    if n == 0:
        raise ValueError("nothing to summarise: no value")
    mean = math.fsum(values) / n
    if n == 1:
        return Summary(1, mean, None, None, None)
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = t_quantile(0.5 + confidence / 2, n - 1) * std / math.sqrt(n)
    return Summary(n, mean, std, mean - half, mean + half)


def paired_difference(
    first: Mapping[int, float], second: Mapping[int, float], confidence: float = CONFIDENCE
) -> PairedDifference | None:
    """Compare two rows by their differences (first - second) on the seeds that both have; None without a common seed.

    Differences that are all equal have no spread: p is then 0 if they are not 0, and 1 if they are.
    """
    seeds = tuple(sorted(first.keys() & second.keys()))
    if not seeds:
        return None
    summary = summarise([first[seed] - second[seed] for seed in seeds], confidence)
    return PairedDifference(seeds, summary, _paired_p(summary))


def holm(p_values: Mapping[Key, float]) -> dict[Key, float]:
    """p values adjusted for looking at all of them at once: ``results.pairs.holm_adjusted``; same keys, same order."""
    adjusted = holm_adjusted(np.fromiter(p_values.values(), dtype=np.float64, count=len(p_values)))
    return dict(zip(p_values, adjusted.tolist(), strict=True))


@lru_cache(maxsize=1024)
def t_quantile(probability: float, degrees: int) -> float:
    """The quantile of Student's t distribution with ``degrees`` degrees of freedom."""
    return float(stdtrit(degrees, probability))


def t_p_value(t: float, degrees: int) -> float:
    """The two-sided p value of a t statistic."""
    return float(2 * stdtr(degrees, -abs(t)))


def _paired_p(summary: Summary) -> float | None:
    if summary.std is None:
        return None
    if summary.std == 0:
        return 1.0 if summary.mean == 0 else 0.0
    return t_p_value(summary.mean / (summary.std / math.sqrt(summary.n)), summary.n - 1)
