"""The bootstrap over images: how much a score depends on which images were evaluated.

It speaks about particular fits, not about a method: for that the seed is the unit (``results.statistics``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectral_bench.common.seeds import SeedStreams
from spectral_bench.results.contingency import Contingency
from spectral_bench.results.metrics import resampled_miou
from spectral_bench.results.record import ClassTable
from spectral_bench.results.statistics import CONFIDENCE

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
    others = fit_on or [None] * len(contingencies)
    scores = [
        resampled_miou(counts, classes, matching, weights, fit_on=other)
        for counts, other in zip(contingencies, others, strict=True)
    ]
    means = np.mean(scores, axis=0)
    tails = [50 * (1 - confidence), 50 * (1 + confidence)]
    low, high = np.nanpercentile(means, tails)
    return ImageInterval(float(low), float(high), float(np.nanstd(means, ddof=1)), resamples)
