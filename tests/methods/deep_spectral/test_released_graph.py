"""``published: true`` against the graph of the released code, computed anew from its definition in float64.

The definition (``extract/extract.py`` and ``extract_utils.py`` of Melas-Kyriazi et al.): W = max(0, F F') of unit
features + 10 C, where C counts in how many of the four neighbourhoods of two patches the other is, each patch being
among its own 20 and 10 nearest; (D - W) v = mu D v with the row sums of all of W, its diagonal included.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree

from spectral_bench.common.errors import ConfigError
from spectral_bench.common.geometry import Crop
from spectral_bench.methods.deep_spectral.decompose import Decomposer
from spectral_bench.methods.deep_spectral.params import DeepSpectralParams
from spectral_bench.methods.deep_spectral.released import nearest, place_and_colour, released_counts
from spectral_bench.methods.inputs import Standardiser
from spectral_bench.methods.interface import PatchBatch
from spectral_bench.methods.registry import colours_asked, complete_params

KINDS = ((20, 2.0), (10, 0.1))
GRID = (13, 17)


def street(height: int, width: int) -> NDArray[np.float32]:
    """A flat sky over a ramp with dots, in 8 bits: many patches are equally far from many."""
    row, column = np.mgrid[:height, :width]
    sky = np.stack([np.full_like(row, 180), np.full_like(row, 200), np.full_like(row, 240)], -1)
    ramp = np.stack([60 + 2 * column, 70 + 3 * row, 50 + row + column], -1)
    pixels = np.where((row < height // 2)[..., None], sky, ramp)
    pixels[((row * 7 + column * 3) % 5 == 0) & (row > height // 3)] = 128
    return (pixels / 255).astype(np.float32)


def image(seed: int = 0) -> PatchBatch:
    """Features of a few groups with noise, and colours without any two equal distances."""
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 5, (5, 6)).repeat(3, 0).repeat(3, 1)[: GRID[0], : GRID[1]]
    features = rng.standard_normal((5, 8))[groups] + 0.6 * rng.standard_normal((*GRID, 8))
    smooth, aliased = (torch.from_numpy(rng.random((1, *GRID, 3), dtype=np.float32)) for _ in range(2))
    levels = (torch.from_numpy(features[None].astype(np.float32)),)
    return PatchBatch(levels, aliased, ("a",), (Crop.whole(208, 272),), smooth)


def released_space(batch: PatchBatch, number: int) -> NDArray[np.float64]:
    """(n, number) the smallest eigenvectors but the constant one, by a dense decomposition in float64."""
    assert batch.antialiased is not None
    colours = batch.antialiased[0].double().numpy()
    height, width = colours.shape[:2]
    nodes = height * width
    feature = batch.features[-1][0].double().flatten(0, 1).numpy()
    unit = feature / np.linalg.norm(feature, axis=1, keepdims=True)
    weights = np.maximum(unit @ unit.T, 0)
    across, down = np.meshgrid(np.arange(width) / (width - 1), np.arange(height) / (height - 1))
    for k, place in KINDS:
        points = np.column_stack([colours.reshape(-1, 3), place * across.ravel(), place * down.ravel()])
        for node, others in enumerate(KDTree(points).query(points, k)[1]):
            for other in others:
                weights[node, other] += 10
                weights[other, node] += 10
    degrees = np.diag(weights.sum(1))
    _, vectors = scipy.linalg.eigh(degrees - weights, degrees, subset_by_index=(1, number))
    assert vectors.shape == (nodes, number)
    return vectors


def angle(batch: PatchBatch, **params: Any) -> float:
    """The largest angle in degrees between the method's 14 eigenvectors and those of the released graph."""
    decomposer = Decomposer(DeepSpectralParams(**params), Standardiser.nothing())
    (found,) = decomposer.eigenpairs([batch])
    assert found is not None
    largest = scipy.linalg.subspace_angles(found.vectors.double().numpy(), released_space(batch, 14)).max()
    return float(np.degrees(largest))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("solver", ["eigh", "arpack", "lobpcg"])
def test_published_spans_the_space_of_the_released_graph(solver: str, dtype: str) -> None:
    for seed in range(3):
        assert angle(image(seed), published=True, solver=solver, dtype=dtype) < 0.1


def test_the_default_spans_another() -> None:
    batch = image()
    same_colours = replace(batch, pixels=batch.antialiased)
    assert angle(same_colours) > 2  # one neighbour more, and no diagonal
    assert angle(batch) > 20  # colours without antialiasing too


def test_eigenfunctions_and_kernel_are_those_of_the_released_graph() -> None:
    from spectral_bench.methods.deep_spectral.method import DeepSpectral

    batch, method = image(), DeepSpectral(DeepSpectralParams(published=True, dtype="float64"))
    functions = method.eigenfunctions(batch)[0].flatten(1).double()
    kernel = method.kernel(batch).dense().double()
    values = (functions @ kernel * functions).sum(1)
    assert float((functions @ kernel - values[:, None] * functions).abs().max()) < 1e-5
    assert batch.antialiased is not None
    counts = released_counts(batch.antialiased[0].numpy(), KINDS)
    assert counts.diagonal().tolist() == [4.0] * len(counts)
    assert np.array_equal(counts, counts.T)
    assert counts.sum() == 2 * (20 + 10) * len(counts)


def test_few_patches_are_all_neighbours() -> None:
    pixels = np.random.default_rng(0).random((2, 3, 3), dtype=np.float32)
    assert np.array_equal(released_counts(pixels, KINDS), np.full((6, 6), 4.0))
    assert np.array_equal(released_counts(pixels, ((0, 2.0),)), np.zeros((6, 6)))


# Of the sorted neighbours that pymatting 1.1.16 gives for ``street``.
OF_PYMATTING = {
    (12, 20): ("53cfd1774d3d565d", "43cd20caea7b38d0"),
    (9, 33): ("3314c88c09f15faa", "52504cf16871d0bc"),
    (22, 30): ("cbc7ff450f29c157", "99073571517a771a"),
}


@pytest.mark.parametrize("size", OF_PYMATTING)
def test_ties_are_broken_as_in_the_tree_of_the_released_code(size: tuple[int, int]) -> None:
    for (k, weight), expected in zip(KINDS, OF_PYMATTING[size], strict=True):
        found = np.sort(nearest(place_and_colour(street(*size), weight), k), 1).astype("<i8")
        assert hashlib.sha256(found.tobytes()).hexdigest()[:16] == expected


def test_neighbours_are_those_of_pymatting_where_it_is_installed() -> None:
    kdtree = pytest.importorskip("pymatting.util.kdtree")
    for size in ((22, 30), (15, 40)):
        for k, weight in KINDS:
            points = place_and_colour(street(*size), weight)
            expected = kdtree.knn(points, points, k)[1]
            assert np.array_equal(np.sort(nearest(points, k), 1), np.sort(expected, 1))


def test_it_is_in_the_identity_only_where_it_is_chosen() -> None:
    assert "published" not in complete_params("deep_spectral", {})
    assert complete_params("deep_spectral", {"published": True})["published"] is True
    assert not colours_asked("deep_spectral", complete_params("deep_spectral", {})).antialiased
    assert colours_asked("deep_spectral", complete_params("deep_spectral", {"published": True})).antialiased


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"colour_near": 19}, "colour_near = 19: with published: true it is 20"),
        ({"colour_edges": "union"}, "colour_edges = union: with published: true it is sum"),
        ({"level": "all_standardised"}, "level = all_standardised: with published: true it is -1"),
        ({"colour_weight": 0}, "colour_weight = 0 leaves out the colours"),
    ],
)
def test_published_cannot_say_what_is_not(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        complete_params("deep_spectral", {"published": True, **params})
    complete_params("deep_spectral", params)


def test_a_batch_without_antialiased_pixels_is_refused() -> None:
    batch = replace(image(), antialiased=None)
    with pytest.raises(ConfigError, match="the batch has none"):
        Decomposer(DeepSpectralParams(published=True), Standardiser.nothing()).affinity(batch)


def test_the_script_that_measures_it_finds_the_same() -> None:
    from benchmark_scripts import load_script

    script = load_script("exactness_deep_spectral")
    single, double, smooth, default = script.angles(image(), script.of_scipy)
    assert double < 1e-3
    assert single < 0.1
    assert smooth > 2
    assert default > 20
