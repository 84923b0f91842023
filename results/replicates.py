"""Seeds that are no replicates: those of a method that ignores its seed, and gives the same result again and again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from spectral_bench.results.statistics import PairedDifference, Summary

NO_CLAIM = "no claim: the seeds of a row all gave the same result, so they are no replicates"


def replicated(contingencies: Sequence[str]) -> bool:
    """Whether the finished seeds of a row are replicates: False where two or more all counted the same, bit for bit.

    Such seeds are one result. Their spread is 0 by construction and speaks of nothing: no interval and no claim may
    rest on it. One seed alone cannot show that its method ignores seeds.

    Args:
        contingencies: digests of what each seed counted; empty ones tell nothing.
    """
    return len(contingencies) < 2 or not all(contingencies) or len(set(contingencies)) > 1


def without_spread(summary: Summary) -> Summary:
    """The same mean of the same seeds, without the uncertainty that they do not tell of."""
    return replace(summary, std=None, low=None, high=None)


def without_claim(found: PairedDifference | None) -> PairedDifference | None:
    """The same difference, without interval and p value: for rows of which one has no replicates."""
    return None if found is None else replace(found, summary=without_spread(found.summary), p=None)
