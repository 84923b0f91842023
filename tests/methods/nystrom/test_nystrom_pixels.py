"""Spectral clustering of whole images, by the graph of features and that of their pixels."""

from __future__ import annotations

from typing import Any

import dense_reference as reference
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from spectral_bench.common.errors import ConfigError
from spectral_bench.methods.graphs.batch import graph_pixels
from spectral_bench.methods.interface import PatchBatch
from spectral_bench.methods.nystrom.method import Nystrom
from spectral_bench.methods.nystrom.params import NystromParams
from spectral_bench.methods.params import Colours
from spectral_bench.methods.registry import complete_params
from spectral_bench.methods.spectral_health import principal_angles
from spectral_bench.methods.testing import MemorySource, fit, same_state, scenes

SMALL: dict[str, Any] = {"k": 5, "neighbours": 8, "sampling": "images", "samples": 90}  # 4 images of 20 patches
SOURCE, _ = scenes(7, (4, 5), noise=0.5)
SOURCE = SOURCE.asked(Colours(samples=2))


def fitted(source: MemorySource = SOURCE, **params: Any) -> Nystrom:
    method = fit("nystrom", {**SMALL, **params}, source)
    assert isinstance(method, Nystrom)
    return method


def sample(images: int = 4) -> PatchBatch:
    """The images that are sampled: the first of the training order."""
    return next(SOURCE.batches(0, images))


def literal_kernel(batch: PatchBatch, alpha: float, grid: int = 1) -> NDArray[np.float64]:
    """K of the patches of a batch, equation by equation, in float64."""
    features = batch.features[-1].double().numpy().reshape(-1, batch.features[-1].shape[-1])
    pixels = graph_pixels(batch, grid).double().numpy()
    if grid == 1:
        return reference.kernel(features, pixels, SMALL["neighbours"], alpha)
    edges = [reference.summed(reference.pixel_affinity(image[None]), image.shape[1], grid) for image in pixels]
    affinity = torch.block_diag(*map(torch.from_numpy, edges)).numpy()
    plain = reference.normalised(reference.feature_affinity(features, SMALL["neighbours"]))
    return plain + alpha * reference.normalised(affinity)


@pytest.mark.parametrize("solver", ["eigh", "arpack", "lobpcg", "chebyshev"])
@pytest.mark.parametrize("grid", [1, 2])
def test_vectors_are_the_leading_ones_of_the_literal_kernel(grid: int, solver: str) -> None:
    method = fitted(alpha=0.4, pixel_grid=grid, solver=solver)
    values, vectors = np.linalg.eigh(literal_kernel(sample(), 0.4, grid))
    values, vectors = values[::-1].copy(), torch.from_numpy(vectors[:, ::-1].copy())
    graph = method.state_dict()
    assert graph["features"].shape[0] == 80
    np.testing.assert_allclose(graph["values"].numpy(), values[:5], atol=2e-6)
    assert float(values[4] - values[5]) > 1e-3  # so that the space is one
    assert float(principal_angles(graph["vectors"].double(), vectors[:, :5]).max()) < 0.01
    checks = {check.name: check.value for check in method.checks}
    assert checks["eigengap"] == pytest.approx(values[4] - values[5], abs=1e-4)
    assert checks["decomposition_residual"] <= 1e-5
    assert checks["angle_bound"] < 0.1
    assert checks["angle_to_exact"] < 0.01
    assert checks["patches_without_edges"] == 0


@pytest.mark.parametrize("grid", [1, 2])
def test_the_kernel_of_other_images_is_built_alike(grid: int) -> None:
    batch = SOURCE.batch([5, 2])
    found = fitted(alpha=0.4, pixel_grid=grid).kernel(batch).dense().numpy()
    np.testing.assert_allclose(found, literal_kernel(batch, 0.4, grid), atol=1e-6)
    settings = [fitted(alpha=alpha).kernel_settings for alpha in (0.0, 0.4, 0.5)]
    assert settings[0] != settings[1] != settings[2]


def test_without_weight_whole_images_are_sampled_and_their_pixels_not_looked_at() -> None:
    grey = MemorySource(SOURCE.features, torch.rand(SOURCE.pixels.shape))
    plain, other = fitted(), fitted(grey)
    assert same_state(plain, other)
    expected = torch.nn.functional.normalize(sample().features[-1].flatten(0, 2), dim=1)
    torch.testing.assert_close(plain.state_dict()["features"], expected)
    assert not torch.equal(plain.state_dict()["vectors"], fitted(alpha=0.4).state_dict()["vectors"])
    assert not torch.equal(fitted(alpha=0.4).state_dict()["vectors"], fitted(grey, alpha=0.4).state_dict()["vectors"])


@pytest.mark.parametrize(("samples", "patches"), [(79, 60), (80, 80), (139, 120), (140, 140), (4000, 140)])
def test_an_image_that_would_be_cut_is_left_out(samples: int, patches: int) -> None:
    assert len(fitted(samples=samples).state_dict()["features"]) == patches


@pytest.mark.parametrize("extension", ["nearest", "weighted_nearest", "representatives", "cluster_means"])
def test_other_patches_are_reached_by_their_features(extension: str) -> None:
    method = fitted(alpha=0.4, extension=extension, extension_neighbours=1, discretise="rotation")
    batch = SOURCE.batch(range(7))
    grey = PatchBatch(batch.features, torch.full_like(batch.pixels, 0.5), batch.image_ids, batch.crops)
    assert torch.equal(method.predict(batch), method.predict(grey))
    if extension == "nearest":
        found = method.eigenfunctions(sample()).flatten(2).transpose(1, 2).flatten(0, 1)
        assert torch.equal(found, method.state_dict()["vectors"])


def test_defaults_are_the_runs_of_before() -> None:
    plain = complete_params("nystrom", {})
    assert not {"alpha", "sampling", "pixel_colours", "pixel_scales", "pixel_cut", "pixel_grid"} & plain.keys()
    other = complete_params("nystrom", {"sampling": "images", "alpha": 0.3, "pixel_grid": 2})
    assert other == {**plain, "sampling": "images", "alpha": 0.3, "pixel_grid": 2}


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"alpha": 0.3, "sampling": "uniform"}, "samples of sampling: uniform; use sampling: images"),
        ({"alpha": 0.3, "sampling": "farthest"}, "samples of sampling: farthest; use sampling: images"),
        ({"alpha": 0.3, "kernel": "rbf"}, "alpha = 0.3 is for kernel: cosine_knn alone"),
        ({"alpha": 0.3, "extension": "nystrom"}, "expected one of nearest, weighted_nearest, representatives, cluster"),
        ({"pixel_colours": "lab"}, "pixel_colours = lab: alpha = 0 leaves the pixel graph out"),
        ({"alpha": -0.1}, "greater than or equal to 0"),
    ],
)
def test_what_does_not_go_together_is_refused(params: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        NystromParams(**({"sampling": "images"} | params))


def test_too_few_samples_for_whole_images_are_refused_before_a_fit_and_by_it() -> None:
    params = NystromParams(k=5, samples=19, sampling="images")
    assert params.misfits(7, 140) == {"samples": "at least 20, the patches of one image, for sampling: images"}
    assert params.misfits(7, None) == {}
    assert NystromParams(k=5, samples=20, sampling="images").misfits(7, 140) == {}
    for k, name in ((21, "k"), (20, "eigenvectors")):
        expected = {name: "fewer than the 20 patches of the 1 sampled images"}
        assert NystromParams(k=k, samples=39, sampling="images").misfits(7, 140) == expected
    with pytest.raises(ConfigError, match="samples = 19: expected at least 20, the patches of one image"):
        fitted(samples=19)
    with pytest.raises(ConfigError, match="eigenvectors = 20: expected fewer than the 20 patches in the graph"):
        fitted(k=20, samples=39)
