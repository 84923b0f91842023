"""Pixel graphs beside the published one, against literal dense graphs in float64."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import floor
from typing import Any

import dense_reference as reference
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from spectral_bench.common.errors import ConfigError
from spectral_bench.common.geometry import Crop
from spectral_bench.methods.deep_spectral.decompose import Decomposer
from spectral_bench.methods.deep_spectral.params import DeepSpectralParams
from spectral_bench.methods.graphs import sparse
from spectral_bench.methods.graphs.batch import graph_pixels, kernel_of
from spectral_bench.methods.graphs.kernel import SparseKernel, normalised
from spectral_bench.methods.graphs.options import GraphOptions, PixelVariant
from spectral_bench.methods.graphs.pixel_memory import MEMORY
from spectral_bench.methods.graphs.pixel_variants import cielab, strong_gradients, varied_graph
from spectral_bench.methods.graphs.pixels import _directed, pixel_counts, pixel_graph
from spectral_bench.methods.inputs import Standardiser
from spectral_bench.methods.interface import PatchBatch
from spectral_bench.methods.params import Colours, GraphParams
from spectral_bench.methods.testing import with_colours

Matrix = NDArray[np.float64]


def draw_image(height: int, width: int, smooth: bool, seed: int) -> torch.Tensor:
    """(h, w, 3) without ties: noise, or noise on two plains of different colour."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(height, width, 3, generator=generator, dtype=torch.float64)
    plains = (torch.arange(width) >= width // 2).double()[:, None].expand(height, width, 1)
    return 0.2 * noise + 0.6 * plains if smooth else noise


images = st.builds(draw_image, st.integers(1, 6), st.integers(1, 7), st.booleans(), st.integers(0, 2**31))


def literal_lab(image: Matrix) -> Matrix:
    """CIELAB / 100 by the formulas of CIE 15, colour by colour."""
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    found = np.zeros_like(image)
    for place in np.ndindex(*image.shape[:2]):
        linear = np.array([v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in image[place]])
        x, y, z = (
            t ** (1 / 3) if t > (6 / 29) ** 3 else t * 841 / 108 + 4 / 29 for t in to_xyz @ linear / to_xyz.sum(1)
        )
        found[place] = np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)]) / 100
    return found


def literal_strong(colours: Matrix, share: float) -> set[tuple[int, int]]:
    """Pixels of a longer gradient than the one that the share of the longest ends at."""
    height, width = colours.shape[:2]
    squares = {}
    for row, column in np.ndindex(height, width):
        total = 0.0
        for down, right in ((1, 0), (0, 1)):
            before = max(row - down, 0), max(column - right, 0)
            after = min(row + down, height - 1), min(column + right, width - 1)
            distance = after[0] - before[0] + after[1] - before[1]
            if distance:
                total += (((colours[after] - colours[before]) / distance) ** 2).sum()
        squares[row, column] = total
    ranked = sorted(squares.values(), reverse=True)
    return {place for place, square in squares.items() if square > ranked[int(share * len(ranked))]}


def literal(image: Matrix, options: GraphOptions, *, binary: bool) -> Matrix:
    """The sum over scales, edge by edge, of pixels and then of patches of them."""
    height, width = image.shape[:2]
    total = np.zeros((height * width, height * width))
    for size in (2**level for level in range(options.pixels.scales)):
        tops, lefts = range(0, height, size), range(0, width, size)
        small = np.array([[image[y : y + size, x : x + size].mean((0, 1)) for x in lefts] for y in tops])
        colours = literal_lab(small) if options.pixels.colours == "lab" else small
        across, nodes = len(lefts), len(tops) * len(lefts)
        joined = np.zeros((nodes, nodes))
        for k, weight in ((options.pixel_near, 2.0), (options.pixel_far, 0.1)):
            directed = reference.directed_pixel_edges(colours, min(k, nodes - 1), weight)
            joined += directed + directed.T
        if binary:
            joined = np.minimum(joined, 1)
        strong = literal_strong(colours, options.pixels.cut) if options.pixels.cut else set()
        for one, other in zip(*np.nonzero(joined), strict=True):
            (r, c), (y, x) = divmod(one, across), divmod(other, across)
            steps = max(abs(r - y), abs(c - x))
            for step in range(1, steps):
                share = Fraction(step, int(steps))
                met = (floor(int(a) + share * int(b - a) + Fraction(1, 2)) for a, b in ((r, y), (c, x)))
                if tuple(met) in strong:
                    joined[one, other] = 0
        owner = [(y // size) * across + x // size for y in range(height) for x in range(width)]
        total += joined[np.ix_(owner, owner)] / size**2
    return total if options.pixels.grid == 1 else reference.summed(total, image.shape[1], options.pixels.grid)


def assert_is(expected: NDArray[np.float64], image: torch.Tensor, options: GraphOptions, *, binary: bool) -> None:
    """The counts of an image are ``expected``, and symmetric; of a binary graph the graph that is kept, too."""
    found = pixel_counts(image[None], options=options, binary=binary, dtype=torch.float64)[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_array_equal(found, found.T)
    if binary:
        MEMORY.clear()
        graph = pixel_graph(image[None], options=options, dtype=torch.float64)
        np.testing.assert_allclose(graph.to_dense().numpy(), expected, atol=1e-12)


@given(images, st.sampled_from(["rgb", "lab"]), st.integers(1, 3), st.sampled_from([0.0, 0.1, 0.4]), st.booleans())
@settings(deadline=None, max_examples=40)
def test_equals_the_literal_graph(image: torch.Tensor, colours: Any, scales: int, cut: float, binary: bool) -> None:
    options = GraphOptions(pixel_near=4, pixel_far=2, pixels=PixelVariant(colours, scales, cut))
    expected = literal(image.numpy(), options, binary=binary)
    assert_is(expected, image, options, binary=binary)


@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.sampled_from([2, 3]),
    st.sampled_from([("rgb", 1, 0.0), ("lab", 2, 0.0), ("rgb", 3, 0.2)]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**31),
)
@settings(deadline=None, max_examples=30)
def test_edges_of_finer_pixels_are_summed_into_patches(
    height: int, width: int, grid: int, variant: Any, binary: bool, smooth: bool, seed: int
) -> None:
    image = draw_image(height * grid, width * grid, smooth, seed)
    options = GraphOptions(pixel_near=4, pixel_far=2, pixels=PixelVariant(*variant, grid))
    expected = literal(image.numpy(), options, binary=binary)
    assert expected.shape == (height * width,) * 2
    assert_is(expected, image, options, binary=binary)


@given(images, st.booleans())
@settings(deadline=None, max_examples=20)
def test_patches_of_one_pixel_have_the_published_graph_to_the_byte(image: torch.Tensor, binary: bool) -> None:
    options = GraphOptions()
    published = pixel_counts(image[None], options=options, binary=binary)[0].numpy()
    graph = varied_graph(image, options, lambda small: _directed(small, options), binary=binary)
    assert graph.toarray().astype(np.float32).tobytes() == published.tobytes()
    batch = PatchBatch((), image[None], ("a",), (), fine=image[None, :, :, None, None])
    assert graph_pixels(batch, 1) is batch.pixels


def test_the_samples_of_a_batch_lie_in_the_place_of_their_patch() -> None:
    rows, columns = torch.arange(6)[:, None].expand(6, 8), torch.arange(8).expand(6, 8)
    image = torch.stack([rows, columns, rows * 0], -1).float()
    fine = image.view(3, 2, 4, 2, 3).transpose(1, 2)
    batch = PatchBatch((), image[None, ::2, ::2], ("a",), (), fine=fine[None])
    assert torch.equal(graph_pixels(batch, 2), image[None])
    for other, found in ((batch, "2 x 2"), (replace(batch, fine=None), "none")):
        with pytest.raises(ConfigError, match=f"pixel_grid = 3 joins 3 x 3 .* brings {found}: ask for them, or set"):
            graph_pixels(other, 3)


def test_known_colours() -> None:
    colours = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0], [0.5, 0.5, 0.5]])
    expected = [[53.24, 80.09, 67.20], [87.73, -86.18, 83.18], [32.30, 79.19, -107.86], [100, 0, 0], [0, 0, 0]]
    np.testing.assert_allclose(100 * cielab(colours).numpy(), [*expected, [53.39, 0, 0]], atol=0.02)


def test_no_edge_crosses_a_line_between_two_plains() -> None:
    image = torch.zeros(6, 9, 3)
    image[:, 4:] = 0.02  # so weak that colour alone keeps far neighbours on both sides
    plain, cut = (
        pixel_graph(image[None], options=GraphOptions(pixel_near=12, pixels=variant)).to_dense().view(6, 9, 6, 9)
        for variant in (PixelVariant(), PixelVariant(cut=0.5))
    )
    assert plain[:, :3, :, 6:].any() or plain[:, :4, :, 5:].any()
    assert not cut[:, :3, :, 5:].any()
    assert cut[:, 3, :, 4].any()  # what lies side by side stays joined


def test_an_image_of_one_colour_has_no_strong_gradient() -> None:
    assert not strong_gradients(np.full((4, 5, 3), 0.3), 0.5).any()
    assert not strong_gradients(np.zeros((1, 1, 3)), 0.9).any()


def test_images_of_a_batch_keep_to_themselves_and_are_remembered_by_their_options() -> None:
    MEMORY.clear()
    pixels = torch.stack([draw_image(5, 6, smooth, 3) for smooth in (True, False)]).float()
    for variant in ({"scales": 2}, {"cut": 0.2}, {"colours": "lab"}):
        options = GraphOptions(pixels=PixelVariant(**variant))
        together = pixel_graph(pixels, options=options)
        alone = [pixel_graph(image[None], options=options).to_dense() for image in pixels]
        assert torch.equal(together.to_dense(), torch.block_diag(*alone))
        assert together.dtype == torch.float32
        assert not torch.equal(together.to_dense(), pixel_graph(pixels).to_dense())


VARIED: list[dict[str, Any]] = [{"pixel_colours": "lab"}, {"pixel_scales": 3}, {"pixel_cut": 0.3}, {"pixel_grid": 2}]


def batch_of_one() -> PatchBatch:
    features = torch.randn(1, 5, 6, 4, generator=torch.Generator().manual_seed(0))
    plain = PatchBatch((features,), draw_image(5, 6, True, 4)[None].float(), ("a",), (Crop.whole(80, 96),))
    return with_colours(plain, Colours(samples=2))


def graph_options(batch: PatchBatch, **how: Any) -> tuple[torch.Tensor, GraphOptions]:
    """The pixels of a batch and the options of a graph that parameters of methods ask for."""
    variant = {name.removeprefix("pixel_"): value for name, value in how.items()}
    return graph_pixels(batch, how.get("pixel_grid", 1)), GraphOptions(pixels=PixelVariant(**variant))


@pytest.mark.parametrize("varied", VARIED)
def test_the_kernel_of_a_batch_has_the_graph_that_parameters_ask_for(varied: dict[str, Any]) -> None:
    batch = batch_of_one()
    plain, other = (kernel_of(batch, GraphParams(**how), None).dense() for how in ({}, varied))
    parts = []
    for how in ({}, varied):
        pixels, options = graph_options(batch, **how)
        parts.append(SparseKernel(normalised(pixel_graph(pixels, options=options))).dense())
    torch.testing.assert_close(other - plain, 0.3 * (parts[1] - parts[0]), atol=1e-6, rtol=0)
    assert not torch.equal(other, plain)


@pytest.mark.parametrize("varied", VARIED)
@pytest.mark.parametrize("edges", ["union", "sum"])
def test_deep_spectral_adds_the_graph_that_parameters_ask_for(varied: dict[str, Any], edges: Any) -> None:
    batch = batch_of_one()
    plain, other = (
        Decomposer(DeepSpectralParams(colour_edges=edges, **how), Standardiser.nothing()).affinity(batch)
        for how in ({}, varied)
    )
    params = DeepSpectralParams()
    counts = []
    for how in ({}, varied):
        pixels, options = graph_options(batch, **how)
        neighbours = {"pixel_near": params.colour_near, "pixel_far": params.colour_far}
        weights = {"near_weight": params.near_weight, "far_weight": params.far_weight}
        options = replace(options, **neighbours, **weights)
        counts.append(pixel_counts(pixels, options=options, binary=edges == "union")[0])
    expected = params.colour_weight * (counts[1] - counts[0])
    torch.testing.assert_close(other - plain, expected.to(plain.dtype), atol=1e-5, rtol=0)
    assert not torch.equal(other, plain)


@pytest.mark.parametrize("varied", VARIED)
def test_a_varied_graph_is_another_fit_and_the_published_one_none(varied: dict[str, Any]) -> None:
    (name,) = varied
    for model in (GraphParams, DeepSpectralParams):
        assert name not in model().model_dump(mode="json")
        assert model(**varied).model_dump(mode="json")[name] == varied[name]
    for model, nothing in ((GraphParams, {"alpha": 0}), (DeepSpectralParams, {"colour_weight": 0})):
        with pytest.raises(ValidationError, match=f"{name} = .*: .* = 0 leaves the"):
            model(**varied, **nothing)
    with pytest.raises(ValidationError, match="with published: true"):
        DeepSpectralParams(published=True, **varied)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("variant", [PixelVariant(scales=2), PixelVariant(cut=0.2), PixelVariant(grid=2)])
def test_cuda_gives_the_same_bits(variant: PixelVariant) -> None:
    options = GraphOptions(pixels=variant)
    pixels = torch.rand(2, 8, 10, 3, generator=torch.Generator().manual_seed(0))
    on_cpu, on_cuda = pixel_graph(pixels, options=options), pixel_graph(pixels.cuda(), options=options)
    assert on_cuda.device.type == "cuda"
    assert torch.equal(sparse.keys_of(on_cuda).cpu(), sparse.keys_of(on_cpu))
    assert torch.equal(on_cuda.values().cpu(), on_cpu.values())
