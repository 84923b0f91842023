"""All pairs of rows at once: differences paired by seed, with the very numbers that ``paired_difference`` gives.

A table of a thousand rows has half a million pairs a column. They are counted as arrays, a block of pairs at a time, so
that memory does not grow with their number beyond one mean and one p value a pair.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

_BLOCK = 1 << 15  # pairs at a time: with five seeds their differences take a megabyte

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Pairs:
    """The differences of all pairs of R rows, in the order of ``itertools.combinations``: P = R (R - 1) / 2.

    Attributes:
        one, other: (P,) positions of the two rows.
        mean: (P,) mean of first minus second over the seeds that both have; 0 without a common seed.
        p: (P,) two-sided p value of the paired t test; 1 where the two share fewer than two seeds.
    """

    one: NDArray[np.int64]
    other: NDArray[np.int64]
    mean: Floats
    p: Floats


def all_pairs(rows: Sequence[Mapping[int, float]]) -> Pairs:
    """Compare each row with every other one.

    Args:
        rows: of each row, seed -> value.

    Returns:
        For each pair the mean and the p value of ``results.statistics.paired_difference``, bit for bit.
    """
    seeds = sorted({seed for row in rows for seed in row})
    values = np.array([[row.get(seed, 0.0) for row in rows] for seed in seeds]).reshape(len(seeds), len(rows))
    present = np.array([[seed in row for row in rows] for seed in seeds]).reshape(values.shape)
    one, other = np.triu_indices(len(rows), 1)
    mean, p = np.zeros(len(one)), np.ones(len(one))
    for start in range(0, len(one), _BLOCK):
        block = slice(start, start + _BLOCK)
        first, second = one[block], other[block]
        common = present[:, first] & present[:, second]
        mean[block], p[block] = _compared(np.where(common, values[:, first] - values[:, second], 0.0), common)
    return Pairs(one, other, mean, p)


def holm_adjusted(p: Floats) -> Floats:
    """p values adjusted for looking at all of them at once (Holm 1979).

    The i-th smallest of m is multiplied by m - i + 1, made monotone and cut at 1.
    """
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, np.arange(len(p), 0, -1) * p[order]))
    return adjusted


def _compared(differences: Floats, common: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Mean and p value of each pair, from (S, P) differences that are 0 where a pair has no such seed."""
    n = common.sum(axis=0)
    mean = exact_sums(differences) / np.maximum(n, 1)
    deviations = np.where(common, differences - mean, 0.0)
    # By Python's own power, as for single pairs: an array's square is rounded otherwise once in a thousand times.
    squares = np.array([value**2 for value in deviations.ravel().tolist()]).reshape(deviations.shape)
    std = np.sqrt(exact_sums(squares) / np.maximum(n - 1, 1))
    spread = std > 0
    t = np.divide(mean, std / np.sqrt(np.maximum(n, 1)), out=np.zeros_like(mean), where=spread)
    p = np.where(spread, 2 * stdtr(np.maximum(n - 1, 1).astype(np.float64), -np.abs(t)), np.where(mean == 0, 1.0, 0.0))
    return mean, np.where(n < 2, 1.0, p)


def exact_sums(values: Floats) -> Floats:
    """(P,) the sum of each column of (S, P) values, rounded once: ``math.fsum`` of each.

    Each addition's rounding error is kept (Knuth's TwoSum), and the errors are added alike. Where that leaves none, the
    two sums are the exact one, and adding them rounds it once; the few other columns are summed one by one.
    """
    sums, errors = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    inexact = np.zeros(values.shape[1], dtype=np.bool_)
    for row in values:
        sums, error = _two_sum(sums, row)
        errors, lost = _two_sum(errors, error)
        inexact |= lost != 0  # also where it is nan
    total = sums + errors
    for column in np.flatnonzero(inexact):
        total[column] = math.fsum(values[:, column])
    return np.asarray(total)


def _two_sum(one: Floats, other: Floats) -> tuple[Floats, Floats]:
    """The rounded sum and its rounding error, which float64 holds exactly."""
    total = one + other
    shadow = total - one
    return total, (one - (total - shadow)) + (other - shadow)
