from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spectral_bench.methods.graphs import nearest
from spectral_bench.methods.graphs.blocks import CPU_ELEMENTS, row_blocks
from spectral_bench.methods.graphs.nearest import (
    Entries,
    _largest_of_whole_rows,
    entries_above,
    largest_entries,
    largest_of_blocks,
)


def expected(block: Tensor, k: int, floor: float) -> list[list[tuple[int, float]]]:
    """Row by row with Python's stable sort."""
    result = []
    for row in block.tolist():
        held = [(column, value) for column, value in enumerate(row) if value > floor]
        result.append(sorted(sorted(held, key=lambda entry: -entry[1])[:k]))
    return result


def as_lists(entries: Entries) -> list[list[tuple[int, float]]]:
    pairs = list(zip(entries.columns.tolist(), entries.values.tolist(), strict=True))
    stops = entries.counts.cumsum(0).tolist()
    return [pairs[stop - count : stop] for stop, count in zip(stops, entries.counts.tolist(), strict=True)]


def tied_block(rows: int, columns: int, levels: int, seed: int) -> Tensor:
    """Few distinct values, so that almost every boundary is a tie."""
    generator = torch.Generator().manual_seed(seed)
    block = torch.randint(-levels, levels + 1, (rows, columns), generator=generator).float() / levels
    block[block == -1] = -torch.inf
    block[block == 0] *= -1  # zeros of either sign
    return block if seed % 2 else block.double()


@given(
    st.builds(tied_block, st.integers(1, 5), st.integers(1, 120), st.integers(1, 50), st.integers(0, 2**31)),
    st.integers(0, 20),
    st.sampled_from([float("-inf"), 0.0, 0.5]),
    st.sampled_from([1, 64]),
    st.sampled_from([1, 8, 512]),
)
@settings(deadline=None, max_examples=400)
def test_equals_a_stable_sort_of_each_row(block: Tensor, k: int, floor: float, least_width: int, fast: int) -> None:
    before = block.clone()
    with mock.patch.object(nearest, "_LEAST_WIDTH", least_width), mock.patch.object(nearest, "_FAST", fast):
        assert as_lists(largest_entries(block, k, floor)) == expected(block, k, floor)
    if k:
        assert as_lists(_largest_of_whole_rows(block, k, floor)) == expected(block, k, floor)
    assert torch.equal(block, before)


def test_long_rows_with_clumped_large_entries() -> None:
    block = torch.rand(4, 1003, generator=torch.Generator().manual_seed(0))
    block[:, 500:530] += 10  # all large entries side by side
    block[2] = 1.0  # every entry tied
    block[3] = float("-inf")  # none above the floor
    entries = largest_entries(block, 25, float("-inf"))
    assert as_lists(entries) == expected(block, 25, float("-inf"))
    assert as_lists(_largest_of_whole_rows(block, 25, float("-inf"))) == as_lists(entries)
    assert entries.counts.tolist() == [25, 25, 25, 0]
    assert [column for column, _ in as_lists(entries)[2]] == list(range(25))


@pytest.mark.parametrize("levels", [2, 10**6])
def test_threads_and_chunks_change_nothing(levels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    block = tied_block(37, 211, levels, 3)
    whole = largest_entries(block, 20, 0.1)
    monkeypatch.setattr("spectral_bench.methods.graphs.nearest._CHUNK", 500)
    threads = torch.get_num_threads()
    for count in (1, 3):
        torch.set_num_threads(count)
        try:
            found = largest_entries(block, 20, 0.1)
        finally:
            torch.set_num_threads(threads)
        assert all(torch.equal(one, other) for one, other in zip(found, whole, strict=True))


def test_rows_of_many_ties_beside_others_of_few() -> None:
    block = torch.rand(9, 700, generator=torch.Generator().manual_seed(1))
    block[3] = 0.5
    block[5, ::2] = 2.0
    block[7] = block[7, torch.arange(700) % 70]  # the same at the same place of each slab
    assert as_lists(largest_entries(block, 30, 0.0)) == expected(block, 30, 0.0)


@pytest.mark.parametrize("floor", [0.0, -1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_long_rows_beside_short_ones(dtype: torch.dtype, floor: float) -> None:
    block = torch.randn(40, 1600, generator=torch.Generator().manual_seed(2), dtype=dtype)
    block[::7] += 5.0 * (torch.arange(1600) % 400 < 150)  # at the same places of each slab: 600 of them pass
    assert as_lists(largest_entries(block, 256, floor)) == expected(block, 256, floor)


def test_negative_entries_above_a_negative_floor() -> None:
    block = torch.tensor([[-0.1, -0.2, -0.3, -0.4], [-0.4, -0.3, 0.0, -0.6]])
    assert as_lists(largest_entries(block, 2, -0.5)) == expected(block, 2, -0.5)


def test_columns_beyond_sixteen_bits_of_a_block_with_gradients() -> None:
    block = torch.rand(3, 70_000, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found = largest_entries(block, 5, 0.0)
    assert found.columns.dtype == torch.int64
    assert found.columns.max() > 2**15
    assert as_lists(found) == expected(block, 5, 0.0)
    assert not found.values.requires_grad


def test_parts_come_in_order_whichever_thread_ends_first(monkeypatch: pytest.MonkeyPatch) -> None:
    block = tied_block(40, 211, 10**6, 3)
    whole = largest_entries(block, 20, 0.1)
    of_chunk, seen = nearest._largest_of_chunk, threading.Event()

    def late(table: np.ndarray, k: int, floor: float) -> Entries:
        if table[0, 0] == block[0, 0]:
            assert seen.wait(timeout=60)  # the first ends last
        found = of_chunk(table, k, floor)
        if table[0, 0] != block[0, 0]:
            seen.set()
        return found

    monkeypatch.setattr(nearest, "_largest_of_chunk", late)
    monkeypatch.setattr(nearest, "_CHUNK", 2200)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = largest_entries(block, 20, 0.1)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(found, whole, strict=True))


@pytest.mark.parametrize(("rows", "columns", "threads"), [(1588, 5280, 2), (582, 14400, 2), (40, 100, 3), (1, 9, 4)])
def test_chunks_are_few_even_and_of_a_bounded_size(rows: int, columns: int, threads: int) -> None:
    step = nearest._rows_of_chunk(rows, columns, threads)
    sizes = [min(step, rows - start) for start in range(0, rows, step)]
    assert max(sizes) * columns <= nearest._CHUNK + columns
    assert len(sizes) <= threads * math.ceil(rows * columns / (nearest._CHUNK * threads))
    assert len(sizes) % threads == 0 or rows < 2 * threads**2


def test_blocks_one_after_the_other_are_one_table() -> None:
    block = tied_block(50, 211, 9, 1)
    overwritten = block[:20].clone()

    def blocks() -> Iterator[Tensor]:
        yield overwritten
        overwritten.fill_(7.0)
        yield block[20:]

    found, whole = largest_of_blocks(blocks(), 20, 0.1), largest_entries(block, 20, 0.1)
    assert found.columns.dtype == torch.int32
    assert as_lists(found) == as_lists(whole)


def test_no_row_has_no_entry() -> None:
    entries = largest_entries(torch.empty(0, 7), 3, 0.0)
    assert [part.numel() for part in entries] == [0, 0, 0]


def test_entries_above_are_all_of_them_in_order() -> None:
    block = torch.tensor([[0.1, 0.9, 0.5], [0.0, 0.0, 0.0]])
    entries = entries_above(block, 0.1)
    assert entries.counts.tolist() == [2, 0]
    assert entries.columns.tolist() == [1, 2]


@pytest.mark.parametrize(("rows", "columns"), [(0, 10), (1, 1), (7, 10), (5000, 9000), (3, 2**25)])
def test_blocks_cover_every_row_once_within_the_bound(rows: int, columns: int) -> None:
    blocks = list(row_blocks(rows, columns, torch.device("cpu")))
    assert [row for block in blocks for row in range(block.start, block.stop)] == list(range(rows))
    assert all((block.stop - block.start) * columns <= max(CPU_ELEMENTS, columns) for block in blocks)
