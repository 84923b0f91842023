"""How good a fit is, numerically: checks that a method makes of itself and that travel with its record."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

LEAST_CLUSTERS = 2


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


def clusters_in_use(scores: Iterable[Tensor]) -> Check:
    """Whether more than one cluster is used.

    Args:
        scores: (B, K, h, w) scores of training patches, batch by batch.
    """
    used: set[int] = set()
    for batch in scores:
        used.update(torch.unique(batch.argmax(1)).tolist())
    return collapse_check(len(used))
