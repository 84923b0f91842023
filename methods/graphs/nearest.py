"""The k largest entries of each row of a block, exactly, with ties to the lowest column."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_GROUPS_PER_NEIGHBOUR = 7  # measured: fewer groups leave more candidates, more groups cost more to search


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

    Of equal entries at the boundary those of the lowest columns are taken. No entry may be NaN. A full top-k search of
    long rows is slow on a CPU, so there a bound that at least k entries of a row reach is found first; only what
    reaches it is sorted out. A GPU takes whole rows: few kernels and few waits for it matter more than the numbers it
    looks at.
    """
    if k <= 0:
        return entries_above(block, float("inf"))
    if block.device.type != "cpu":
        return _largest_of_whole_rows(block, k, floor)
    bound = _lower_bound(block, k)
    if bound is None:
        return _keep_largest(entries_above(block, floor), k)
    infinity = block.new_tensor(float("inf"))
    above_floor = torch.nextafter(block.new_tensor(floor), infinity)
    return _keep_largest(_entries(block, block >= torch.maximum(bound, above_floor)), k)


def _entries(block: Tensor, mask: Tensor) -> Entries:
    rows, columns = mask.nonzero(as_tuple=True)
    return Entries(torch.bincount(rows, minlength=block.shape[0]), columns, block[rows, columns])


def _lower_bound(block: Tensor, k: int) -> Tensor | None:
    """A (rows, 1) bound that at least k entries of each row reach, or None where rows are too short to gain from it.

    Columns are dealt to groups; k groups have a maximum of at least the k-th largest maximum, so k entries do.
    Neighbouring patches are alike: dealing them in turn spreads the large entries of a row over the groups.
    """
    groups = _GROUPS_PER_NEIGHBOUR * k
    full = block.shape[1] // groups
    if full < 2:
        return None
    maxima = block[:, : full * groups].view(-1, full, groups).amax(1)
    rest = block[:, full * groups :]
    maxima[:, : rest.shape[1]] = torch.maximum(maxima[:, : rest.shape[1]], rest)
    return _smallest_of_largest(maxima, k)


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


def _keep_largest(entries: Entries, k: int) -> Entries:
    counts, columns, values = entries
    width = int(counts.max()) if counts.numel() else 0
    if width <= k:
        return entries
    rows = torch.arange(counts.numel(), device=counts.device).repeat_interleave(counts, output_size=values.numel())
    slots = torch.arange(values.numel(), device=counts.device) - (counts.cumsum(0) - counts)[rows]
    table = values.new_full((counts.numel(), width), float("-inf"))
    table[rows, slots] = values
    kept = _among_largest(table, k)[rows, slots]
    return Entries(torch.bincount(rows[kept], minlength=counts.numel()), columns[kept], values[kept])
