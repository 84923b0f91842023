"""The k largest entries of each row of a block, exactly, with ties to the lowest column."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spectral_bench.methods.threads import side_by_side

_CHUNK = 2**20  # entries of a block that a thread looks at in one go; smaller chunks wait for the interpreter's lock
_WIDTH = 1.5  # slabs' width in k: narrower ones are sorted sooner, but let more entries of a row pass
_LEAST_WIDTH = 64  # numpy takes maxima over narrow slabs slowly
_FAST = 512  # numbers of 32 bits in a row that numpy partitions in a third of the time of a few more
_FEW = 4  # entries that pass, in k: rows with more of them are looked at one by one


class Entries(NamedTuple):
    """Entries of a block of rows, row by row, columns ascending.

    Attributes:
        counts: (rows,) int64, entries of each row.
        columns: (n,) int64, or int32 as graphs keep them: ``joined``.
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
    counts, columns, values = largest_of_blocks([block], k, floor)
    return Entries(counts, columns.long(), values)


def largest_of_blocks(blocks: Iterable[Tensor], k: int, floor: float) -> Entries:
    """As ``largest_entries``, with columns as int32, of one block of rows after the other.

    A block may be gone when the next is made.
    """
    parts: list[Entries] = []
    for block in blocks:
        if k > 0 and block.device.type == "cpu" and block.numel():
            parts += _by_threads(block.detach().numpy(), k, floor)
        else:
            parts.append(_largest_of_whole_rows(block, k, floor))
    return joined(parts)


def joined(parts: Sequence[Entries]) -> Entries:
    """The entries of one or more blocks of rows, one after the other, with columns as int32."""
    if len(parts) == 1:  # small tables, of which there may be many
        return parts[0]._replace(columns=parts[0].columns.int())
    counts, columns, values = zip(*parts, strict=True)
    return Entries(torch.cat(counts), torch.cat([some.int() for some in columns]), torch.cat(values))


_Numbers = NDArray[Any]  # floats, or integers in their order


def _by_threads(table: NDArray[np.floating], k: int, floor: float) -> list[Entries]:
    """Entries, columns as int32, of some rows each, by torch's number of threads.

    Numpy works on one thread and releases the interpreter's lock.
    """
    step = _rows_of_chunk(len(table), table.shape[1], torch.get_num_threads())
    chunks = [table[start : start + step] for start in range(0, len(table), step)]
    if len(chunks) == 1 or torch.get_num_threads() == 1:
        return [_largest_of_chunk(chunk, k, floor) for chunk in chunks]
    found: dict[int, Entries] = {}
    waiting = iter(range(len(chunks)))  # of all threads: one that is held up leaves more to the others
    with side_by_side() as (_, run):

        def task(_: int) -> None:
            for index in waiting:
                found[index] = _largest_of_chunk(chunks[index], k, floor)

        run(task)
    return [found[index] for index in range(len(chunks))]


def _rows_of_chunk(rows: int, columns: int, threads: int) -> int:
    """Rows of a chunk: as many chunks for each thread, as even as whole rows allow, so that none waits for the last."""
    rounds = math.ceil(rows * columns / (_CHUNK * threads))
    return math.ceil(rows / (rounds * threads))


def _largest_of_chunk(table: NDArray[np.floating], k: int, floor: float) -> Entries:
    rows, columns = table.shape
    above_floor = np.nextafter(table.dtype.type(floor), table.dtype.type(np.inf))
    ordered = _ordered(table, floor)
    bounds = np.maximum(_lower_bounds(ordered, k).view(table.dtype), above_floor)
    starts = np.arange(rows) * columns
    passing = table >= bounds
    places = np.flatnonzero(passing)
    counts = _counts(places, starts)
    if (many := np.flatnonzero(counts > _FEW * k)).size:
        passing[many] &= _among_largest_of_rows(ordered[many], k)
        places = np.flatnonzero(passing)
        counts = _counts(places, starts)
    values = table.reshape(-1).take(places)
    if counts.max(initial=0) > k:
        kept = _largest_of_few(_ordered(values, floor), counts, k)
        places, values = places.take(kept), values.take(kept)
        counts = _counts(places, starts)
    columns_of = (places - np.repeat(starts, counts)).astype(np.int32)
    return Entries(*map(torch.from_numpy, (counts, columns_of, values)))


def _ordered(values: NDArray[np.floating], floor: float) -> _Numbers:
    """Numbers that order entries above the floor as the entries do, and that are smaller for all others.

    The bits of positive floats, read as integers, are in the order of the floats, and those of negative ones are
    negative; numpy partitions up to ``_FAST`` of 32 bits in half the time, longer rows and those of 64 bits a little
    sooner.
    """
    return values.view(f"i{values.dtype.itemsize}") if floor >= 0 else values


def _lower_bounds(table: _Numbers, k: int) -> _Numbers:
    """Of each row a value that k entries or more reach, and few others, (rows, 1).

    A row is cut into slabs of one width, and the largest entry at each place of all slabs is taken. The k-th largest
    of these is such a value, as k of them are entries that reach it; partition then looks at one slab, not at a row.
    """
    rows, columns = table.shape
    if columns <= k:
        return np.full((rows, 1), _lowest(table.dtype), table.dtype)  # as a float -0, and the floor is 0 or more
    slabs = max(1, int(columns / max(_WIDTH * k, _LEAST_WIDTH)))
    width = columns // slabs
    largest = table[:, : slabs * width].reshape(rows, slabs, width).max(axis=1) if slabs > 1 else table
    return np.partition(largest, width - k, axis=1)[:, width - k, None]


def _lowest(dtype: np.dtype[Any]) -> float | int:
    return -math.inf if dtype.kind == "f" else int(np.iinfo(dtype).min)


def _counts(places: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many of the ascending places lie in each row."""
    return np.diff(np.searchsorted(places, starts), append=len(places))


def _largest_of_few(values: _Numbers, counts: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Which of the values, ``counts`` a row, are among the k largest of their row, ties to the first, ascending."""
    width = counts.max()
    real = np.arange(width) < counts[:, None]
    table = np.full(real.shape, _lowest(values.dtype), values.dtype)
    table[real] = values
    return np.flatnonzero(_among_largest_of_rows(table, k, counts)[real])


def _among_largest_of_rows(table: _Numbers, k: int, counts: NDArray[np.int64] | None = None) -> NDArray[np.bool_]:
    """Which entries are among the k largest of their row of more than k, ties to the lowest column.

    Args:
        table: (rows, columns).
        k: entries wanted.
        counts: (rows,) leading entries of each row, which the others are below; None: all count.
    """
    kth = _kth_largest(table, k, counts)
    kept: NDArray[np.bool_] = table >= kth
    tied = np.flatnonzero(np.count_nonzero(kept, axis=1) > k)
    if tied.size:
        kept[tied] &= _ties_to_the_lowest(table[tied], kth[tied], k)
    return kept


def _kth_largest(table: _Numbers, k: int, counts: NDArray[np.int64] | None) -> _Numbers:
    """The k-th largest entry of each row of more than k, (rows, 1); long rows do not make short ones slow."""
    width = table.shape[1]
    if counts is None or not k < _FAST < width:
        return np.partition(table, width - k, axis=1)[:, width - k, None]
    kth = np.empty((len(table), 1), table.dtype)
    for rows, most in ((np.flatnonzero(counts <= _FAST), _FAST), (np.flatnonzero(counts > _FAST), width)):
        kth[rows] = np.partition(table[rows, :most], most - k, axis=1)[:, most - k, None]
    return kth


def _ties_to_the_lowest(table: _Numbers, kth: _Numbers, k: int) -> NDArray[np.bool_]:
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
    if k <= 0:
        return entries_above(block, float("inf"))
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
