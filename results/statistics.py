"""How sure a number is: over seeds, and over images.

The seed is the unit of replication: mean, standard deviation, Student-t intervals, paired differences and Holm's
correction speak about a method. Seeds that gave one and the same result are no replicates. The bootstrap over images
says how much a score depends on which images were evaluated, and speaks about particular fits.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from spectral_bench.common.seeds import SeedStreams
from spectral_bench.results.contingency import Contingency
from spectral_bench.results.metrics import resampled_miou
from spectral_bench.results.pairs import holm_adjusted
from spectral_bench.results.record import ClassTable

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
    found = float(stdtrit(degrees, probability))
    if not 0 < probability < 1:
        return found
    # scipy 1.12 is off by 1e-10 of it, 1.17 is not: a step of Newton's method gives all releases the same digits.
    scale = math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(degrees * math.pi)
    density = scale * math.pow(1 + found**2 / degrees, -(degrees + 1) / 2)
    return found - (float(stdtr(degrees, found)) - probability) / density


def t_p_value(t: float, degrees: int) -> float:
    """The two-sided p value of a t statistic."""
    return float(2 * stdtr(degrees, -abs(t)))


def _paired_p(summary: Summary) -> float | None:
    if summary.std is None:
        return None
    if summary.std == 0:
        return 1.0 if summary.mean == 0 else 0.0
    return t_p_value(summary.mean / (summary.std / math.sqrt(summary.n)), summary.n - 1)


RESAMPLES = 1000


@dataclass(frozen=True)
class ImageInterval:
    """A percentile interval of mIoU over resamples of the images. Fractions, not per cent.

    Attributes:
        low, high: the interval.
        std: standard deviation over the resamples.
        resamples: their number.
    """

    low: float
    high: float
    std: float
    resamples: int


def image_weights(n_images: int, resamples: int = RESAMPLES, seed: int = 0) -> NDArray[np.int64]:
    """How often each image is drawn when as many images as there are are drawn with replacement.

    Returns:
        (resamples, n_images) int64; each row sums to ``n_images``. The same arguments give the same numbers.
    """
    generator = SeedStreams(seed).numpy("bootstrap", n_images)
    return generator.multinomial(n_images, np.full(n_images, 1 / n_images), size=resamples)


def bootstrap_miou(
    contingencies: Sequence[Contingency],
    classes: ClassTable,
    matching: str,
    *,
    fit_on: Sequence[Contingency | None] = (),
    names: Sequence[NDArray[np.int64] | None] = (),
    resamples: int = RESAMPLES,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> ImageInterval:
    """The percentile interval of the mean mIoU of some fits evaluated on the same images.

    All fits see the same resamples, and the matching of each is fitted anew in each resample (Efron and Tibshirani
    1993, section 13.3), so that the interval holds the matching's own uncertainty.

    Args:
        contingencies: one a fit; all over the same images in the same order.
        classes: which raw ids make up which class.
        matching: a name that ``results.matching.match`` knows.
        fit_on: for each fit, the contingency of another split that its matching is fitted on, once.
        names: for each fit, the classes of its clusters that matching ``text`` takes, where these are not 0 to K - 1.
        resamples: number of resamples.
        seed: of the draws.
        confidence: of the interval.

    Raises:
        ValueError: there is no contingency, or they are not over the same images.
    """
    if not contingencies:
        raise ValueError("nothing to resample: no contingency")
    if any(counts.image_ids != contingencies[0].image_ids for counts in contingencies):
        raise ValueError("the fits were not evaluated on the same images in the same order")
    weights = image_weights(contingencies[0].n_images, resamples, seed)
    others, named = fit_on or [None] * len(contingencies), names or [None] * len(contingencies)
    scores = [
        resampled_miou(counts, classes, matching, weights, fit_on=other, names=own)
        for counts, other, own in zip(contingencies, others, named, strict=True)
    ]
    means = np.mean(scores, axis=0)
    tails = [50 * (1 - confidence), 50 * (1 + confidence)]
    low, high = np.nanpercentile(means, tails)
    return ImageInterval(float(low), float(high), float(np.nanstd(means, ddof=1)), resamples)


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
