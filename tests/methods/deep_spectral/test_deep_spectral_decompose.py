"""Eigenvectors of images: exact with every solver, image by image, on any number of threads."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from scipy.linalg import eigh

from spectral_bench.common.errors import ConfigError
from spectral_bench.methods.deep_spectral.decompose import Decomposer
from spectral_bench.methods.deep_spectral.params import DeepSpectralParams
from spectral_bench.methods.eigensolvers import Solver, tolerance
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.inputs import Standardiser, one_by_one
from spectral_bench.methods.interface import PatchBatch
from spectral_bench.methods.testing import MemorySource, scenes

SOLVERS = get_args(DeepSpectralParams.model_fields["solver"].annotation)


def decomposer(**params: Any) -> Decomposer:
    return Decomposer(DeepSpectralParams(**params), Standardiser.nothing())


def images(count: int = 3, grid: tuple[int, int] = (12, 13)) -> list[PatchBatch]:
    return one_by_one(scenes(count, grid, noise=0.4)[0].batch(range(count)))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("colour_weight", [0.0, 10.0])
def test_agrees_with_dense_double_precision(solver: Solver, dtype: str, colour_weight: float) -> None:
    image = images(1)[0]
    exact = decomposer(dtype="float64", colour_weight=colour_weight).affinity(image)
    degree = torch.diag(exact.sum(1))
    values = eigh((degree - exact).numpy(), degree.numpy(), eigvals_only=True)
    pairs = decomposer(dtype=dtype, solver=solver, colour_weight=colour_weight, eigenvectors=6).eigenpairs([image])[0]
    assert pairs is not None
    limit = tolerance(getattr(torch, dtype))
    wide, found = pairs.vectors.double(), pairs.values.double()
    error = (degree - exact) @ wide - degree @ wide * found
    assert float((error.norm(dim=0) / (degree @ wide).norm(dim=0)).max()) <= limit
    assert pairs.residual <= limit
    torch.testing.assert_close(found, torch.from_numpy(values[1:7]), rtol=0, atol=10 * limit)


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_number_of_threads_changes_no_bit(solver: Solver) -> None:
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(decomposer(solver=solver, eigenvectors=4).eigenpairs(images(5)))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a.vectors, b.vectors) for a, b in zip(found[0], other, strict=True) if a and b)


def test_one_dense_call_gives_what_single_calls_give() -> None:
    """The path that CUDA takes, on the CPU."""
    batch = [*images(2), alike()]
    method = decomposer(solver="eigh", eigenvectors=5, dtype="float64", colour_weight=0.0)
    for one, together in zip(
        method.eigenpairs(batch), method._of_affinities([method.affinity(image) for image in batch]), strict=True
    ):
        assert (one is None) == (together is None)
        if one is not None and together is not None:
            torch.testing.assert_close(one.vectors, together.vectors, rtol=0, atol=1e-9)


def alike() -> PatchBatch:
    return MemorySource([torch.full((1, 12, 13, 8), 0.3)]).batch([0])


def test_an_image_of_alike_patches_has_no_eigenvectors() -> None:
    found = decomposer(colour_weight=0.0).eigenpairs([images(1)[0], alike()])
    assert found[0] is not None
    assert found[1] is None


def test_constant_features_leave_the_grid_to_the_colours() -> None:
    pairs = decomposer(colour_weight=10.0, eigenvectors=3).eigenpairs([alike()])[0]
    assert pairs is not None
    assert bool(pairs.vectors.isfinite().all())


def test_vectors_are_clipped_to_the_patches() -> None:
    image = MemorySource([torch.rand(1, 2, 3, 8, generator=torch.Generator().manual_seed(0))]).batch([0])
    pairs = decomposer(colour_weight=0.0).eigenpairs([image])[0]
    assert pairs is not None
    assert pairs.vectors.shape == (6, 5)


def test_the_level_is_the_callers() -> None:
    image = images(1)[0]
    other = PatchBatch((image.features[0].flip(1), *image.features[1:]), image.pixels, image.image_ids, image.crops)
    for level, same in ((-1, True), (2, True), (0, False)):
        first, second = (decomposer(level=level).affinity(one) for one in (image, other))
        assert torch.equal(first, second) is same
    single = MemorySource(scenes(1)[0].features[:1]).batch([0])
    with pytest.raises(ConfigError, match="graph level 2: the backbone gives 1 levels"):
        decomposer(level=2).affinity(single)


def test_errors_name_the_image() -> None:
    batch = images(3)
    batch[1].features[-1][0, 2, 2] = torch.nan
    with pytest.raises(NumericalError, match="image1 holds NaN"):
        decomposer().eigenpairs(batch)
    batch = images(3)
    batch[2].pixels[0, 2, 2] = torch.nan
    with pytest.raises(NumericalError, match="image image2: pixels of the graph hold NaN"):
        decomposer().eigenpairs(batch)


def few_edges(*joined: int) -> list[PatchBatch]:
    """Images of 4 x 4 patches of which some, at positive features, have edges."""
    features = torch.zeros(len(joined), 4, 4, 8)
    for index, count in enumerate(joined):
        generator = torch.Generator().manual_seed(index)
        features[index].view(16, 8)[:count] = torch.rand(count, 8, generator=generator)
    return one_by_one(MemorySource([features]).batch(range(len(joined))))


@pytest.mark.parametrize("solver", SOLVERS)
def test_vectors_are_clipped_to_the_patches_with_edges(solver: Solver) -> None:
    counts = (2, 3, 9, 0, 1, 16, 3)
    found = decomposer(colour_weight=0.0, solver=solver, eigenvectors=5).eigenpairs(few_edges(*counts))
    assert [None if one is None else one.vectors.shape[1] for one in found] == [1, 2, 5, None, None, 5, 2]
    for one, joined in zip(found, counts, strict=True):
        assert one is None or not bool(one.vectors[joined:].any())


def test_one_dense_call_takes_images_of_few_edges_too() -> None:
    batch = few_edges(2, 3, 9, 0, 3, 16)
    method = decomposer(solver="eigh", eigenvectors=5, dtype="float64", colour_weight=0.0)
    for one, together in zip(
        method.eigenpairs(batch), method._of_affinities([method.affinity(image) for image in batch]), strict=True
    ):
        assert (one is None) == (together is None)
        if one is not None and together is not None:
            torch.testing.assert_close(one.vectors, together.vectors, rtol=0, atol=1e-9)
