"""Fewer neighbours out of more: the very edges that are found when only so many are looked for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from spectral_bench.methods.graphs import features as graphs
from spectral_bench.methods.graphs.batch import batch_kernel
from spectral_bench.methods.graphs.directions import directions
from spectral_bench.methods.graphs.features import strongest_edges
from spectral_bench.methods.interface import PatchBatch
from spectral_bench.methods.shared import Product, Products


def same(one: Tensor, other: Tensor) -> bool:
    parts = [(part.crow_indices(), part.col_indices(), part.values()) for part in (one, other)]
    return all(torch.equal(first, second) for first, second in zip(*parts, strict=True))


@given(st.integers(2, 40), st.integers(1, 12), st.integers(1, 20), st.integers(0, 10**6))
def test_they_are_those_of_a_search_of_their_own(nodes: int, k: int, more: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    few = torch.randint(-1, 2, (nodes, 3), generator=generator).float()  # of many ties and repeated rows
    vectors = directions(few)
    most = graphs._nearest_edges(vectors, min(k + more, nodes - 1))
    assert same(strongest_edges(most, k), graphs._nearest_edges(vectors, min(k, nodes - 1)))


def batch(products: Products | None) -> PatchBatch:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 5, 6, 8, generator=generator)
    return PatchBatch((features,), torch.rand(2, 5, 6, 3, generator=generator), ("a", "b"), (), None, products)


@pytest.mark.parametrize("order", [(20, 8, 8), (8, 20, 8)])
def test_a_batch_knows_what_was_made_of_it(order: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    find = graphs._nearest_edges
    monkeypatch.setattr(graphs, "_nearest_edges", lambda vectors, k: (made.append(k), find(vectors, k))[1])
    used: list[tuple[Product, bool]] = []
    shared = batch(Products(lambda product, new: used.append((product, new))))
    kernels = [batch_kernel(shared, neighbours=k, alpha=0.3) for k in order]
    assert made == ([20] if order[0] == 20 else [8, 20])
    for k, kernel in zip(order, kernels, strict=True):
        alone = batch_kernel(batch(None), neighbours=k, alpha=0.3)
        assert torch.equal(kernel.dense(), alone.dense())
    assert used[-1][1] is False  # the last asked for what was there, kernel and all


def test_the_time_of_a_part_is_not_that_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("spectral_bench.methods.shared.time.perf_counter", lambda: clock[0])
    used: dict[str, Product] = {}
    products = Products(lambda product, new: used.__setitem__("inner" if "inner" not in used else "outer", product))

    def inner() -> str:
        clock[0] += 2.0
        return "inner"

    def outer() -> str:
        clock[0] += 1.0
        products.recall("inner", inner)
        clock[0] += 4.0
        return "outer"

    assert products.recall("outer", outer) == "outer"
    assert (used["inner"].wall_s, used["outer"].wall_s) == (2.0, 5.0)
    assert [*used["outer"].every()] == [used["outer"], used["inner"]]


def test_what_fails_is_not_kept() -> None:
    products = Products(lambda product, new: None)
    with pytest.raises(ZeroDivisionError):
        products.recall("a", lambda: 1 // 0)
    assert products.recall("a", lambda: 3) == 3
