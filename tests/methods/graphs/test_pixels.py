from __future__ import annotations

import dense_reference as reference
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.graphs import sparse
from spectral_bench.methods.graphs.options import GraphOptions
from spectral_bench.methods.graphs.pixel_memory import MEMORY
from spectral_bench.methods.graphs.pixels import pixel_counts, pixel_graph


def draw_pixels(images: int, height: int, width: int, levels: int, seed: int) -> Tensor:
    """Images of few colours (``levels`` a channel, 1: constant), so that ties abound; 0: colours without ties."""
    generator = torch.Generator().manual_seed(seed)
    if levels == 0:
        return torch.rand(images, height, width, 3, generator=generator)
    return torch.randint(levels, (images, height, width, 3), generator=generator) / 8


images_of_pixels = st.builds(
    draw_pixels, st.integers(1, 3), st.integers(1, 6), st.integers(1, 7), st.integers(0, 3), st.integers(0, 2**31)
)


@given(images_of_pixels)
@settings(deadline=None, max_examples=60)
def test_equals_the_literal_graph_ties_included(pixels: Tensor) -> None:
    graph = pixel_graph(pixels).to_dense()
    assert torch.equal(graph.double(), torch.from_numpy(reference.pixel_affinity(pixels.double().numpy())))


@given(images_of_pixels, st.integers(0, 12), st.integers(0, 6), st.floats(0.5, 3.0))
@settings(deadline=None, max_examples=30)
def test_options_equal_the_literal_graph(pixels: Tensor, near: int, far: int, weight: float) -> None:
    weight = round(weight, 2)
    options = GraphOptions(pixel_near=near, pixel_far=far, near_weight=weight, far_weight=0.5)
    expected = reference.pixel_affinity(pixels.double().numpy(), near, far, (weight, 0.5))
    assert np.array_equal(pixel_graph(pixels, options=options).to_dense().numpy(), expected)


@given(images_of_pixels, st.integers(0, 12), st.integers(0, 6))
@settings(deadline=None, max_examples=30)
def test_counts_are_those_of_the_four_neighbourhoods(pixels: Tensor, near: int, far: int) -> None:
    found = pixel_counts(pixels, options=GraphOptions(pixel_near=near, pixel_far=far), dtype=torch.float64)
    for image, counts in zip(pixels, found, strict=True):
        nodes = len(counts)
        expected = np.zeros((nodes, nodes))
        for k, weight in ((near, 2.0), (far, 0.1)):
            directed = reference.directed_pixel_edges(image.double().numpy(), k, weight)
            expected += directed + directed.T
        assert np.array_equal(counts.numpy(), expected)


def test_counts_are_positive_where_the_graph_has_edges() -> None:
    pixels = draw_pixels(2, 6, 7, 2, 3)
    counts = pixel_counts(pixels)
    assert not bool(counts.diagonal(dim1=1, dim2=2).any())
    assert int(counts.max()) == 4
    assert torch.equal(torch.block_diag(*counts).clamp_max(1), pixel_graph(pixels).to_dense())


def test_images_are_independent_of_each_other() -> None:
    pixels = draw_pixels(4, 5, 6, 0, 0)
    together = pixel_graph(pixels).to_dense()
    alone = [pixel_graph(image[None]).to_dense() for image in pixels]
    assert torch.equal(together, torch.block_diag(*alone))


def test_a_constant_image_joins_each_pixel_to_the_nearest_places() -> None:
    options = GraphOptions(pixel_near=4, pixel_far=0)
    graph = pixel_graph(torch.full((1, 5, 5, 3), 0.5), options=options).to_dense()
    centre = graph[12].nonzero().flatten().tolist()
    assert centre == [7, 11, 13, 17]
    assert {1, 5}.issubset(graph[0].nonzero().flatten().tolist())


def test_colour_outweighs_place_where_place_weighs_little() -> None:
    pixels = torch.zeros(1, 1, 12, 3)
    pixels[0, 0, [0, 11]] = 1.0  # the two ends are alike and far apart
    near = pixel_graph(pixels, options=GraphOptions(pixel_near=1, pixel_far=0, near_weight=100.0)).to_dense()
    far = pixel_graph(pixels, options=GraphOptions(pixel_near=0, pixel_far=1)).to_dense()
    assert near[0, 11] == 0
    assert near[0, 1] == 1
    assert far[0, 11] == 1


def test_is_binary_symmetric_and_without_loops() -> None:
    graph = pixel_graph(draw_pixels(2, 8, 9, 2, 1))
    assert bool((graph.values() == 1).all())
    dense = graph.to_dense()
    assert torch.equal(dense, dense.T)
    assert not bool(dense.diagonal().any())
    assert int(dense.sum(1).min()) >= 10


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = draw_pixels(2, 9, 11, 3, 2)
    whole = pixel_graph(pixels)
    monkeypatch.setattr("spectral_bench.methods.graphs.blocks.CPU_ELEMENTS", 8 * 99 * 10)
    MEMORY.clear()
    assert torch.equal(sparse.keys_of(whole), sparse.keys_of(pixel_graph(pixels)))


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (3, 1, 1, 3)])
def test_an_image_of_one_pixel_has_no_edge(shape: tuple[int, ...]) -> None:
    graph = pixel_graph(torch.ones(shape))
    assert graph.values().numel() == 0
    assert graph.shape == (shape[0], shape[0])


def test_the_dtype_is_the_callers_and_the_pixels_are_left_alone() -> None:
    pixels = draw_pixels(1, 3, 3, 0, 0)
    before = pixels.clone()
    assert pixel_graph(pixels, dtype=torch.float64).dtype == torch.float64
    assert torch.equal(pixels, before)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_pixels_that_are_not_finite_are_refused(value: float) -> None:
    pixels = torch.zeros(1, 2, 2, 3)
    pixels[0, 1, 1, 2] = value
    with pytest.raises(NumericalError, match="pixels of the graph hold NaN or infinite values"):
        pixel_graph(pixels)


def test_a_full_training_batch_is_stored_by_its_edges() -> None:
    """16 images of 30 x 30 patches: a dense matrix has N x N entries, 829 MB in float32."""
    graph = pixel_graph(draw_pixels(16, 30, 30, 0, 3))
    nodes, edges = 14400, graph.values().numel()
    assert graph.shape == (nodes, nodes)
    assert graph.layout != torch.strided
    assert 10 * nodes <= edges <= 2 * (10 + 5) * nodes  # either end of an edge may have chosen the other
    index = [graph.crow_indices(), graph.col_indices()] if graph.layout == torch.sparse_csr else [graph.indices()]
    stored = sum(part.numel() * part.element_size() for part in (graph.values(), *index))
    assert stored < 0.01 * nodes * nodes * 4


def test_no_image_and_half_precision_have_graphs_too() -> None:
    assert pixel_graph(torch.zeros(0, 2, 3, 3)).shape == (0, 0)
    pixels = draw_pixels(2, 4, 5, 0, 1).bfloat16()
    assert torch.equal(pixel_graph(pixels).to_dense(), pixel_graph(pixels.double()).to_dense())
