"""Segments of one image by a discrete K-way normalised cut of its graph, without eigenvectors.

What is maximised is the normalised association, the sum over segments of assoc(A, A) / vol(A); the normalised cut is K
less it (Yu and Shi, ICCV 2003). As in Falcon (Zhang et al., arXiv:2504.05613 and ICLR 2026) volumes and assignment are
updated in turn: scores of all patches follow from the segments' volumes and associations, all patches take their best
segment at once, and backtracking keeps the objective from falling. A score here is the exact change of the objective
if this patch alone changes its segment, as in the coordinate descent of Nie et al. (PAMI 2024), so that the end is a
partition that no change of a single patch betters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spectral_bench.common.seeds import SeedStreams
from spectral_bench.methods.lloyd import assign
from spectral_bench.methods.seeding import seed_centres

Array = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]

_WALK = 3  # steps of the random walk that the start looks at
_VECTORS = 64  # that are smoothed by it
_LEAST_GAIN = 1e-9  # of the normalised cut, far above its rounding in float64


@dataclass(frozen=True)
class KwayCut:
    """The segments of one image.

    Attributes:
        labels: (n,) int64 segments, each in use.
        values: the normalised cut at the start and after each step, never rising; of a single segment 0.
        finished: whether no change of a single patch lowers it any more; False where the steps ran out.
    """

    labels: Labels
    values: tuple[float, ...]
    finished: bool


def kway_cut(affinity: Array, number: int, *, seeds: SeedStreams, steps: int, restarts: int = 1) -> KwayCut:
    """Cut a graph into ``number`` segments: the least normalised cut of some seeded starts, of equal ones the first.

    Patches without an edge, which change no cut, are a segment of their own beside ``number`` - 1 others. There are
    fewer segments where there are fewer patches, or fewer that differ.

    Args:
        affinity: W, (n, n) symmetric, float32 or float64, no weight negative.
        number: of segments, at least 1.
        seeds: start r draws from stream ``kway`` with key r.
        steps: most steps a start.
        restarts: number of starts, at least 1.
    """
    joined = affinity.sum(1) > 0
    if not joined.all():
        inner = affinity[np.ix_(joined, joined)]
        labels = np.zeros(len(affinity), np.int64)
        if not joined.any():
            return KwayCut(labels, (0.0,), finished=True)
        found = kway_cut(inner, max(1, number - 1), seeds=seeds, steps=steps, restarts=restarts)
        labels[joined] = found.labels + 1
        return KwayCut(labels, found.values, found.finished)
    wide = affinity.astype(np.float64)
    tries = []
    for restart in range(restarts):
        start = seeded_start(affinity, number, seeds.torch("kway", restart))
        tries.append(improve(wide, start, steps=steps))
    return min(tries, key=lambda one: one.values[-1])


def seeded_start(affinity: Array, number: int, generator: torch.Generator) -> Labels:
    """(n,) labels to begin with, each below the number of them in use: k-means++ after three steps of a random walk.

    64 Gaussian vectors are multiplied three times by D^-1/2 W D^-1/2, so that patches have similar rows if a walk soon
    leads from one to the other. Seeds are rows drawn by greedy k-means++, and each patch goes to the nearest one.

    Args:
        affinity: W, (n, n) symmetric, all sums of rows positive.
        number: of segments, clipped to n.
        generator: on the CPU.
    """
    size = len(affinity)
    root = affinity.sum(1) ** -0.5
    walk = torch.from_numpy(affinity * root[:, None] * root)
    rows = torch.randn((size, _VECTORS), generator=generator, dtype=walk.dtype)
    for _ in range(_WALK):
        rows = walk @ rows
    centres = seed_centres(rows, min(number, size), generator)
    return np.unique(assign(rows, centres).numpy(), return_inverse=True)[1].reshape(-1)


def improve(affinity: NDArray[np.float64], labels: Labels, *, steps: int) -> KwayCut:
    """Lower the normalised cut of a partition, step by step, until no change of a single patch lowers it.

    In a step every patch whose change of segment alone would lower the cut takes its best segment. If all of these
    changes together do not lower it, the better half of them is tried, and so on down to the best one, which does. No
    segment loses its last patch.

    Args:
        affinity: W, (n, n) symmetric float64, all sums of rows positive.
        labels: (n,) segments, from 0 on, each in use.
        steps: most of them.
    """
    state = _State.of(affinity, labels)
    values = [state.cut]
    for _ in range(steps):
        gains, targets = state.gains()
        order = np.argsort(-gains, kind="stable")
        order = order[: int((gains > _LEAST_GAIN).sum())]
        if not len(order):
            return KwayCut(state.labels, tuple(values), finished=True)
        moved = state.moved(order, targets[order])
        while not moved.cut < state.cut:
            if len(order) == 1:  # its gain was rounding
                return KwayCut(state.labels, tuple(values), finished=True)
            order = order[: len(order) // 2]
            moved = state.moved(order, targets[order])
        state = moved
        values.append(state.cut)
    finished = not bool((state.gains()[0] > _LEAST_GAIN).any())
    return KwayCut(state.labels, tuple(values), finished)


@dataclass(frozen=True)
class _State:
    """A partition with what its objective and its changes are computed from, all in float64.

    Attributes:
        affinity: W, (n, n).
        degrees: (n,).
        labels: (n,).
        reach: (n, K) sums of each patch's weights to each segment.
        volumes, within: (K,) sums of degrees, and of weights inside of a segment.
        counts: (K,) patches.
    """

    affinity: NDArray[np.float64]
    degrees: NDArray[np.float64]
    labels: Labels
    reach: NDArray[np.float64]
    volumes: NDArray[np.float64]
    within: NDArray[np.float64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, affinity: NDArray[np.float64], labels: Labels) -> _State:
        members = np.eye(int(labels.max()) + 1)[labels]
        return cls._with(affinity, affinity.sum(1), labels, affinity @ members)

    @classmethod
    def _with(cls, affinity: Any, degrees: Any, labels: Labels, reach: NDArray[np.float64]) -> _State:
        segments = reach.shape[1]
        own = reach[np.arange(len(labels)), labels]
        volumes: Any = np.bincount(labels, degrees, segments)
        within: Any = np.bincount(labels, own, segments)
        return cls(affinity, degrees, labels, reach, volumes, within, np.bincount(labels, minlength=segments))

    @property
    def cut(self) -> float:
        """The normalised cut; infinite where a segment is empty."""
        if not self.counts.all():
            return float("inf")
        return float((1 - self.within / self.volumes).sum())

    def gains(self) -> tuple[NDArray[np.float64], Labels]:
        """(n,) by how much the cut falls if a patch alone goes to its best other segment, and (n,) which that is."""
        rows, loops = np.arange(len(self.labels)), self.affinity.diagonal()
        shares = self.within / self.volumes
        entered = (self.within + 2 * self.reach + loops[:, None]) / (self.volumes + self.degrees[:, None]) - shares
        entered[rows, self.labels] = -np.inf
        targets = entered.argmax(1)
        single = self.counts[self.labels] == 1
        left = np.where(single, 1.0, self.volumes[self.labels] - self.degrees)
        rest = self.within[self.labels] - 2 * self.reach[rows, self.labels] + loops
        gains = rest / left - shares[self.labels] + entered[rows, targets]
        gains[single] = -np.inf
        return gains, targets

    def moved(self, patches: Labels, targets: Labels) -> _State:
        """The partition after some patches have gone to other segments."""
        changes = np.zeros((len(patches), self.reach.shape[1]))
        rows = np.arange(len(patches))
        changes[rows, targets], changes[rows, self.labels[patches]] = 1.0, -1.0
        labels = self.labels.copy()
        labels[patches] = targets
        reach = self.reach + self.affinity[patches].T @ changes
        return self._with(self.affinity, self.degrees, labels, reach)
