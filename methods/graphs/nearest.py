"""The k largest entries of each row of a block, exactly, with ties to the lowest column."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spectral_bench.methods.threads import side_by_side

_CHUNK = 2**20  # entries of a block that a thread looks at in one go; smaller chunks wait for the interpreter's lock
_WIDTH = 1.5  # slabs' width in k: narrower ones are sorted sooner, but let more entries of a row pass
_LEAST_WIDTH = 64  # numpy takes maxima over narrow slabs slowly
_FEW = 4  # entries that pass, in k: rows with more of them are looked at one by one


class Entries(NamedTuple):
    """Entries of a block of rows, row by row, columns ascending.

    Attributes:
        counts: (rows,) int64, entries of each row.
        columns: (n,) int64.
        values: (n,), of the block's dtype.
    """

    counts: Tensor
    columns: Tensor
    values: Tensor


def entries_above(block: Tensor, floor: float) -> Entries:
    """All entries of a (rows, columns) block greater than ``floor``."""
    return _entries(block, block > floor)


def largest_entries(block: Tensor, k: int, floor: float) -> Entries:
    """The ``k`` largest entries greater than ``floor`` of each row of a (rows, columns) block.

    Of equal entries at the boundary those of the lowest columns are taken. No entry may be NaN. On a CPU a lower bound
    of the k-th largest entry of each row leaves few for numpy's vectorised partition, a few rows at a time; a GPU takes
    whole blocks: few kernels and few waits for it matter more than the numbers it looks at.
    """
    if k <= 0:
        return entries_above(block, float("inf"))
    if block.device.type != "cpu":
        return _largest_of_whole_rows(block, k, floor)
    table = block.detach().numpy()
    if not table.size:
        return entries_above(block, floor)
    step = max(1, min(_CHUNK // table.shape[1], math.ceil(len(table) / torch.get_num_threads())))
    chunks = [table[start : start + step] for start in range(0, len(table), step)]
    parts = _by_threads(chunks, k, floor)
    return Entries(*(torch.from_numpy(np.concatenate(arrays)) for arrays in zip(*parts, strict=True)))


_Arrays = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.floating]]
"""Counts, columns and values, as in ``Entries``."""


def _by_threads(chunks: list[NDArray[np.floating]], k: int, floor: float) -> list[_Arrays]:
    """Each chunk's entries, by torch's number of threads; numpy works on one and releases the interpreter's lock."""
    if torch.get_num_threads() == 1 or len(chunks) == 1:
        return [_largest_of_chunk(chunk, k, floor) for chunk in chunks]
    found: dict[int, _Arrays] = {}
    with side_by_side() as (threads, run):

        def task(first: int) -> None:
            for index in range(first, len(chunks), threads):
                found[index] = _largest_of_chunk(chunks[index], k, floor)

        run(task)
    return [found[index] for index in range(len(chunks))]


def _largest_of_chunk(table: NDArray[np.floating], k: int, floor: float) -> _Arrays:
    rows, columns = table.shape
    above_floor = np.nextafter(table.dtype.type(floor), table.dtype.type(np.inf))
    starts = np.arange(rows) * columns
    passing = table >= np.maximum(_lower_bounds(table, k), above_floor)
    places = np.flatnonzero(passing)
    counts = _counts(places, starts)
    if (many := np.flatnonzero(counts > _FEW * k)).size:
        passing[many] &= _among_largest_of_rows(table[many], k)
        places = np.flatnonzero(passing)
        counts = _counts(places, starts)
    values = table.reshape(-1).take(places)
    if counts.max(initial=0) > k:
        kept = _largest_of_few(values, counts, k)
        places, values = places.take(kept), values.take(kept)
        counts = _counts(places, starts)
    return counts, places - np.repeat(starts, counts), values


def _lower_bounds(table: NDArray[np.floating], k: int) -> NDArray[np.floating]:
    """Of each row a value that k entries or more reach, and few others, (rows, 1).

    A row is cut into slabs of one width, and the largest entry at each place of all slabs is taken. The k-th largest
    of these is such a value, as k of them are entries that reach it; partition then looks at one slab, not at a row.
    """
    rows, columns = table.shape
    if columns <= k:
        return np.full((rows, 1), -np.inf, table.dtype)
    slabs = max(1, int(columns / max(_WIDTH * k, _LEAST_WIDTH)))
    width = columns // slabs
    largest = table[:, : slabs * width].reshape(rows, slabs, width).max(axis=1) if slabs > 1 else table
    return np.partition(largest, width - k, axis=1)[:, width - k, None]


def _counts(places: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many of the ascending places lie in each row."""
    return np.diff(np.searchsorted(places, starts), append=len(places))


def _largest_of_few(values: NDArray[np.floating], counts: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Which of the values, ``counts`` a row, are among the k largest of their row, ties to the first, ascending."""
    width = counts.max()
    real = np.arange(width) < counts[:, None]
    table = np.full(real.shape, -np.inf, values.dtype)
    table[real] = values
    return np.flatnonzero(_among_largest_of_rows(table, k)[real])


def _among_largest_of_rows(table: NDArray[np.floating], k: int) -> NDArray[np.bool_]:
    """Which entries are among the k largest of their row of more than k, ties to the lowest column."""
    kth = np.partition(table, table.shape[1] - k, axis=1)[:, table.shape[1] - k, None]
    kept: NDArray[np.bool_] = table >= kth
    tied = np.flatnonzero(np.count_nonzero(kept, axis=1) > k)
    if tied.size:
        kept[tied] &= _ties_to_the_lowest(table[tied], kth[tied], k)
    return kept


def _ties_to_the_lowest(table: NDArray[np.floating], kth: NDArray[np.floating], k: int) -> NDArray[np.bool_]:
    """Which entries are among the k largest of their row, of which more than k reach the k-th largest."""
    equal = table == kth
    room = k - np.count_nonzero(table > kth, axis=1)[:, None]
    kept: NDArray[np.bool_] = ~equal | (np.cumsum(equal, axis=1, dtype=np.int32) <= room)
    return kept


def _entries(block: Tensor, mask: Tensor) -> Entries:
    rows, columns = mask.nonzero(as_tuple=True)
    return Entries(torch.bincount(rows, minlength=block.shape[0]), columns, block[rows, columns])


def _smallest_of_largest(table: Tensor, k: int) -> Tensor:
    largest: Tensor = table.topk(k, dim=1, sorted=False).values
    return largest.amin(1, keepdim=True)


def _largest_of_whole_rows(block: Tensor, k: int, floor: float) -> Entries:
    if block.shape[1] <= k:
        return entries_above(block, floor)
    return _entries(block, _among_largest(block, k).logical_and_(block > floor))


def _among_largest(table: Tensor, k: int) -> Tensor:
    """Which entries of a table are among the k largest of their row, ties to the lowest column, (rows, columns)."""
    smallest = _smallest_of_largest(table, k)
    larger = table > smallest
    tied = table == smallest
    room = k - larger.sum(1, keepdim=True)
    return larger.logical_or_(tied.logical_and_(tied.cumsum(1, dtype=torch.int32) <= room))
