"""How good a fit is, numerically: checks that a method makes of itself and that travel with its record."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from spectral_bench.methods.interface import PatchBatch, PatchSource

HEALTH_STAGE = "health"
"""The stage that checks of a fit are charged to, so that its own time holds none of them."""

LEAST_CLUSTERS = 2
LEAST_SPREAD = 0.2  # fits without noise, which collapse, stay below 0.1; sound ones lie at 0.9 and above
LOOKED_AT = 32  # training images that the checks for collapse predict


@dataclass(frozen=True)
class Check:
    """One check of a fit.

    Attributes:
        name: what is checked.
        value: what was found; None where it is not a finite number.
        limit: what it is held against, or None.
        passed: whether the fit may stand in a table as a plain number.
        note: one line for readers, may be empty.
    """

    name: str
    value: float | None
    limit: float | None
    passed: bool
    note: str = ""


def collapse_check(used: int) -> Check:
    """Whether more than one cluster is used: a fit that collapsed puts every patch into the same.

    Args:
        used: clusters that hold at least one of the training patches looked at.
    """
    passed = used >= LEAST_CLUSTERS
    note = "" if passed else "collapsed: every training patch that was looked at is in the same cluster"
    return Check("training_clusters_in_use", float(used), float(LEAST_CLUSTERS), passed, note)


def training_scores(
    predict: Callable[[PatchBatch], Tensor], patches: PatchSource, batch_size: int, device: torch.device
) -> Iterator[Tensor]:
    """(B, K, h, w) scores of the first training images, in as many whole batches as hold 32 of them.

    Args:
        predict: of the fitted method.
        patches: that it was fitted on.
        batch_size: images a batch.
        device: that ``predict`` works on.
    """
    for batch in islice(patches.batches(0, batch_size), math.ceil(LOOKED_AT / batch_size)):
        yield predict(batch.to(device))


def clusters_in_use(scores: Iterable[Tensor]) -> Check:
    """Whether more than one cluster is used.

    Args:
        scores: (B, K, h, w) scores of training patches, batch by batch.
    """
    used: set[int] = set()
    for batch in scores:
        used.update(torch.unique(batch.argmax(1)).tolist())
    return collapse_check(len(used))


def assignment_spread(assignments: Iterable[Tensor]) -> Check:
    """Whether soft assignments tell patches apart: a network that collapsed gives nearly the same one to all.

    Its argmax may still change from patch to patch by differences of no weight, so counting clusters does not find it.
    The value is the largest deviation over patches of any assignment, in units of sqrt((1 - 1/K) / K), which is that
    of a hard and even assignment to K clusters.

    Args:
        assignments: (B, K, h, w) soft assignments of training patches, which sum to 1 over K, batch by batch.
    """
    rows = torch.cat([batch.double().movedim(1, -1).flatten(0, -2) for batch in assignments])
    clusters = rows.shape[1]
    even = math.sqrt((1 - 1 / clusters) / clusters)
    value = float(rows.std(0, correction=0).max()) / even if clusters > 1 else 0.0
    passed = value >= LEAST_SPREAD
    if not math.isfinite(value):
        return Check("assignment_spread", None, LEAST_SPREAD, False, "not finite")
    note = "" if passed else "collapsed: the soft assignments are nearly the same for all training patches"
    return Check("assignment_spread", value, LEAST_SPREAD, passed, note)
