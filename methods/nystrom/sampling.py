"""Farthest-point sampling: each next sample is the row that is farthest from all samples before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

HELD_BYTES = 2**31  # features of more bytes are not held: they are read anew, pass after pass
_POOL = 2048  # rows among which samples are picked between two looks at the others
_POOL_OF_A_PASS = 2**15  # the same where a look is a pass over all images
_CHUNK = 4096  # rows whose distances are computed in one product
_GRID = 2.0**40  # steps in 1: distances nearer than the rounding of a product in float64 are equal

Matrix = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """N rows of features that are held in memory, or are read in passes.

    Attributes:
        count: N.
        held: (N, D) float32; None: not held.
        read: gives all rows in order, (n, D) float32 at a time; asked once a pass where they are not held.
    """

    count: int
    held: Tensor | None
    read: Callable[[], Iterator[Tensor]]

    @classmethod
    def of(cls, read: Callable[[], Iterator[Tensor]], limit: int = HELD_BYTES) -> Rows:
        """Rows that are held if they take ``limit`` bytes at most, and are read in passes if not."""
        parts: list[Tensor] | None = []
        count = size = 0
        for part in read():
            count, size = count + len(part), size + 4 * part.numel()
            if size > limit:
                parts = None
            elif parts is not None:
                parts.append(part)
        return cls(count, None if parts is None else _joined(parts), read)

    def take(self, indices: Indices) -> Tensor:
        """The rows at ascending indices, (n, D) float32: one pass where they are not held."""
        if self.held is not None:
            return self.held[torch.from_numpy(indices)]
        parts, first = [], 0
        for part in self.read():
            low, high = np.searchsorted(indices, [first, first + len(part)])
            parts.append(part[torch.from_numpy(indices[low:high] - first)])
            first += len(part)
        return torch.cat(parts)


def _joined(parts: list[Tensor]) -> Tensor:
    """The parts in one, each let go once it is copied."""
    held, done = parts[0].new_empty(sum(len(part) for part in parts), parts[0].shape[1]), 0
    parts.reverse()
    while parts:
        part = parts.pop()
        held[done : done + len(part)] = part
        done += len(part)
    return held


def farthest_points(
    rows: Rows, count: int, generator: np.random.Generator, on_pick: Callable[[int], None] = lambda done: None
) -> tuple[Indices, Tensor]:
    """``count`` rows by farthest-point sampling (Gonzalez, 1985), in the order picked, and their features.

    The first row is drawn; each further one has the largest distance to its nearest sample, of equal ones the lowest
    index; rows of distance 0 are left only once all others are samples. Exact: distances only fall, so a row whose last
    known distance is not the largest cannot be the next sample, and is not looked at. Where rows are held, work is a
    fraction of N count D operations, and memory one distance a row and a few thousand rows; where not, each look at the
    rows is a pass, of which there are as many as looks.

    Args:
        rows: N of them, N >= count.
        count: of samples, at least 1.
        generator: draws the first sample.
        on_pick: called with the samples so far, look by look.

    Returns:
        (count,) indices, and (count, D) float32.
    """
    if not 1 <= count <= rows.count:
        raise ValueError(f"{count} farthest points of {rows.count} rows: expected 1 to {rows.count}")
    distances = _Distances(rows)
    distances.add(np.array([generator.integers(rows.count)]))
    while len(distances.picked) < count:
        distances.add(distances.farthest(count - len(distances.picked)))
        on_pick(len(distances.picked))
    return np.array(distances.picked), torch.from_numpy(distances.samples[: len(distances.picked)]).float()


class _Distances:
    """Squared distances of all rows to their nearest samples, as last known: bounds from above of what they are now.

    Args:
        rows: whose distances they are.
    """

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.picked: list[int] = []
        self.bounds: Matrix = np.full(rows.count, np.inf)  # -1 for samples themselves
        self.known: NDArray[np.int32] = np.zeros(rows.count, dtype=np.int32)  # samples that each bound knows of
        self.samples: Matrix = np.empty((0, 0))
        self.pool = _POOL if rows.held is not None else _POOL_OF_A_PASS

    def add(self, indices: Indices) -> None:
        """Make these rows samples."""
        order = np.argsort(indices)
        taken = self.rows.take(indices[order]).double().numpy()
        values = np.empty_like(taken)
        values[order] = taken
        self.samples = values if not self.picked else np.concatenate([self.samples, values])
        first = not self.picked
        self.picked += indices.tolist()
        self.bounds[indices] = -1
        if first:
            self._look_at_all()

    def farthest(self, wanted: int) -> Indices:
        """The next samples that are certain, at most ``wanted``, at least one."""
        while True:
            looked = np.sort(_largest(self.bounds, 2 * self.pool))
            values = self.rows.take(looked).double().numpy()
            self._refresh(looked, values)
            inside = np.sort(_largest(self.bounds[looked], self.pool))
            pool, outside = looked[inside], self._outside(looked[inside])
            picks = _picks(self.bounds[pool], pool, values[inside], outside, wanted)
            if len(picks):
                return picks

    def _look_at_all(self) -> None:
        done = 0
        for part in self.rows.read():
            for start in range(0, len(part), _CHUNK):
                values = part[start : start + _CHUNK].double().numpy()
                self._refresh(np.arange(done, done + len(values)), values)
                done += len(values)

    def _refresh(self, indices: Indices, values: Matrix) -> None:
        """Bring the distances of these rows up to date."""
        norms = _norms(values)
        for known in np.unique(self.known[indices]).tolist():
            if known == len(self.picked):
                continue
            behind = self.known[indices] == known
            found = _squared_distances(values[behind], self.samples[known:], norms[behind]).min(1)
            self.bounds[indices[behind]] = np.minimum(self.bounds[indices[behind]], found)
        self.known[indices] = len(self.picked)

    def _outside(self, pool: Indices) -> tuple[float, int]:
        """The largest bound outside of a pool, and the lowest row that has it."""
        kept = self.bounds[pool]
        self.bounds[pool] = -np.inf
        index = int(self.bounds.argmax())
        most = float(self.bounds[index])
        self.bounds[pool] = kept
        return most, index


def _picks(start: Matrix, pool: Indices, values: Matrix, outside: tuple[float, int], wanted: int) -> Indices:
    """Samples picked in a pool of (n, D) rows, indices ascending, while none outside can be farther."""
    distances, samples, norms = start.copy(), start < 0, _norms(values)
    found: list[int] = []
    while len(found) < wanted:
        place = int(distances.argmax())
        most = float(distances[place])
        if most < 0 or (-most, int(pool[place])) > (-outside[0], outside[1]):
            break
        found.append(int(pool[place]))
        samples[place] = True
        np.minimum(distances, _squared_distances(values, values[place : place + 1], norms)[:, 0], out=distances)
        distances[samples] = -1
    return np.array(found, dtype=np.int64)


def _largest(values: NDArray[Any], count: int) -> Indices:
    """The places of the ``count`` largest values, of equal ones the first, in any order."""
    if count >= len(values):
        return np.arange(len(values))
    least = np.partition(values, len(values) - count)[len(values) - count]
    above = np.flatnonzero(values > least)
    equal = np.flatnonzero(values == least)[: count - len(above)]
    return np.concatenate([above, equal])


def _squared_distances(first: Matrix, second: Matrix, norms: Matrix | None = None) -> Matrix:
    """(n, m) squared distances of float64 rows, on a grid, so that how a product is blocked breaks no tie.

    Args:
        first: (n, D).
        second: (m, D).
        norms: (n,) squared norms of the first, where they are known.
    """
    table = first @ second.T
    table *= -2
    table += (_norms(first) if norms is None else norms)[:, None]
    table += _norms(second)
    table *= _GRID
    np.rint(table, out=table)
    table /= _GRID
    return np.maximum(table, 0, out=table)


def _norms(rows: Matrix) -> Matrix:
    return np.asarray(np.einsum("ij,ij->i", rows, rows))
