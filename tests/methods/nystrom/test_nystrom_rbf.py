"""The Gaussian kernel of all pairs, weighted neighbours, and what is certain of a sample's eigenvectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.spatial.distance import cdist, pdist
from sklearn.metrics import adjusted_rand_score
from torch import Tensor
from torch.nn import functional

from spectral_bench.common.errors import ConfigError
from spectral_bench.methods.eigensolvers import Eigenpairs
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.graphs.kernel import DenseKernel
from spectral_bench.methods.nystrom import certificate as module
from spectral_bench.methods.nystrom.certificate import certificate
from spectral_bench.methods.nystrom.extension import SampledGraph
from spectral_bench.methods.nystrom.method import Nystrom
from spectral_bench.methods.nystrom.rbf import bandwidth_of, decompose, parts_of, rbf_affinity
from spectral_bench.methods.registry import complete_params
from spectral_bench.methods.spectral_health import method_checks
from spectral_bench.methods.testing import MemorySource, fit, scenes

SMALL: dict[str, Any] = {"k": 5, "samples": 200, "kernel": "rbf", "restarts": 3}


def unit(count: int, seed: int, width: int = 5) -> Tensor:
    return functional.normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(seed)), dim=1)


def fitted(source: MemorySource, **params: Any) -> Nystrom:
    method = fit("nystrom", {**SMALL, **params}, source)
    assert isinstance(method, Nystrom)
    return method


def literal_affinity(rows: Tensor, bandwidth: float) -> Any:
    wide = rows.double().numpy()
    table = np.exp(-(cdist(wide, wide) ** 2) / (2 * bandwidth**2))
    np.fill_diagonal(table, 0)
    return table


def literal_kernel(rows: Tensor, bandwidth: float) -> Any:
    table = literal_affinity(rows, bandwidth)
    root = 1 / np.sqrt(table.sum(1))
    return table * root[:, None] * root


@pytest.mark.parametrize("count", [1500, 40])
def test_the_affinity_is_literal_and_symmetric(count: int) -> None:
    rows = unit(count, 0)
    found = rbf_affinity(rows, 0.7)
    assert torch.equal(found, found.T)
    np.testing.assert_allclose(found.numpy(), literal_affinity(rows, 0.7), atol=2e-6)


def test_the_automatic_bandwidth_is_the_median_distance() -> None:
    rows = unit(301, 0)
    assert bandwidth_of(rows, "auto") == pytest.approx(float(np.median(pdist(rows.double().numpy()))), rel=1e-3)
    assert bandwidth_of(rows, 0.25) == 0.25
    with pytest.raises(NumericalError, match="median distance of the sampled patches, which is 0: give a number"):
        bandwidth_of(rows[:1].expand(9, -1), "auto")


@pytest.mark.parametrize("solver", ["eigh", "arpack", "lobpcg", "chebyshev"])
def test_eigenvectors_are_those_of_a_dense_decomposition(solver: Any) -> None:
    rows = unit(120, 1)
    exact = literal_kernel(rows, 0.8)
    values, vectors = scipy.linalg.eigh(exact, subset_by_index=(115, 119))
    pairs, kernel = decompose(rbf_affinity(rows, 0.8), 5, solver, 0)
    np.testing.assert_allclose(kernel.matrix.numpy(), exact, atol=1e-6)
    np.testing.assert_allclose(pairs.values.numpy(), values[::-1], atol=1e-5)
    assert np.degrees(scipy.linalg.subspace_angles(pairs.vectors.double().numpy(), vectors)[0]) < 0.05
    assert pairs.residual <= 1e-4


def test_parts_are_counted_where_weights_become_0() -> None:
    rows = torch.eye(4)[torch.arange(40) % 4] + 1e-3 * torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    assert parts_of(rbf_affinity(rows, 0.05)) == 4
    assert parts_of(rbf_affinity(rows, 1.0)) == 1


@pytest.mark.parametrize("extension", ["nearest", "weighted_nearest", "nystrom", "cluster_means", "representatives"])
@pytest.mark.parametrize("discretise", ["kmeans", "rotation", "qr"])
def test_groups_are_told_apart_in_images_that_were_not_sampled(extension: str, discretise: str) -> None:
    both, truth = scenes(16, (6, 7), groups=5, noise=0.1)
    train = MemorySource([level[:8] for level in both.features], both.pixels[:8])
    method = fitted(train, extension=extension, discretise=discretise, bandwidth=0.4)
    labels = method.predict(both.batch(range(8, 16))).argmax(1)
    assert adjusted_rand_score(truth[8:].flatten(), labels.flatten()) > 0.95


def test_the_formula_is_literal_and_gives_back_the_sample() -> None:
    source, _ = scenes(6, noise=0.4)
    method = fitted(source, samples=10_000, extension="nystrom", k=3)
    state = method.state_dict()
    functions = method.eigenfunctions(source.batch(range(6))).permute(0, 2, 3, 1).flatten(0, 2)
    assert torch.equal(functions, state["vectors"])
    graph = SampledGraph(*(state[name] for name in ("features", "vectors", "values", "degrees", "reach")))
    others, width = unit(4, 9, 8), float(state["bandwidth"])
    weights = np.exp(-(cdist(others.double(), state["features"].double()) ** 2) / (2 * width**2))
    scaled = state["vectors"].double().numpy() / np.sqrt(state["degrees"].double().numpy())[:, None]
    expected = weights @ scaled / np.sqrt(weights.sum(1))[:, None] / state["values"].double().numpy()
    np.testing.assert_allclose(graph.rbf_formula(others, width).numpy(), expected, rtol=1e-3, atol=1e-4)
    graph.values[-1] = -0.1
    with pytest.raises(NumericalError, match=r"divides by eigenvalues, and the least of them is -0\.1"):
        graph.rbf_formula(others, width)


def test_functions_of_unseen_images_come_near_to_their_own_kernels() -> None:
    both, _ = scenes(24, (6, 7), noise=0.3)
    train = MemorySource([level[:16] for level in both.features], both.pixels[:16])
    method = fitted(train, extension="nystrom", samples=600)
    checks = {check.name: check for check in method_checks(method, [both.batch(range(16, 24))])}
    assert all(check.passed for check in checks.values())
    assert checks["angle_largest"].value is not None
    assert checks["angle_largest"].value < 20


@pytest.mark.parametrize("count", [1, 3, 99])
def test_the_weighted_mean_is_literal(count: int) -> None:
    sample, others = unit(12, 0), unit(6, 7)
    vectors = torch.randn(12, 3, generator=torch.Generator().manual_seed(1))
    graph = SampledGraph(sample, vectors, torch.ones(3), torch.ones(12), torch.ones(12))
    for row, found in zip(others.double(), graph.weighted(others, count), strict=True):
        squared = (sample.double() - row).square().sum(1)
        nearest = torch.argsort(squared)[:count]
        weights = torch.exp(-2 * squared[nearest] / squared[nearest].max())
        expected = (weights[:, None] * vectors[nearest].double()).sum(0) / weights.sum()
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


def test_weights_of_patches_at_no_distance_are_equal_and_finite() -> None:
    sample = torch.eye(4)[[0, 0, 0, 1]]
    graph = SampledGraph(sample, torch.arange(4.0)[:, None], torch.ones(1), torch.ones(4), torch.ones(4))
    assert graph.weighted(torch.eye(4)[:1], 3).item() == pytest.approx(1.0)


def test_weighted_neighbours_have_a_number_of_their_own() -> None:
    assert complete_params("nystrom", {"extension": "weighted_nearest"})["extension_neighbours"] == 32
    own = {"extension": "weighted_nearest", "extension_neighbours": 1}
    assert complete_params("nystrom", own)["extension_neighbours"] == 1
    assert complete_params("nystrom", {})["extension_neighbours"] == 1
    source, _ = scenes(4)
    one, nearest = fitted(source, extension="weighted_nearest", extension_neighbours=1), fitted(source)
    batch = source.batch(range(4))
    torch.testing.assert_close(one.eigenfunctions(batch), nearest.eigenfunctions(batch))


def computed(seed: int = 0, noise: float = 0.0) -> tuple[DenseKernel, Eigenpairs, Any]:
    """A kernel, pairs that are off by some noise, and all exact eigenvalues, descending."""
    exact = literal_kernel(unit(90, seed), 0.6)
    values, vectors = scipy.linalg.eigh(exact)
    drawn = np.random.default_rng(seed).standard_normal((90, 4))
    turned = np.linalg.qr(vectors[:, :-5:-1] + noise * drawn).Q
    ritz, mixed = np.linalg.eigh(turned.T @ exact @ turned)
    pairs = Eigenpairs(torch.from_numpy(ritz[::-1].copy()), torch.from_numpy(turned @ mixed[:, ::-1]), 0.0)
    return DenseKernel(torch.from_numpy(exact)), pairs, values[::-1]


@pytest.mark.parametrize("noise", [0.0, 1e-6, 1e-4, 1e-3])
@pytest.mark.parametrize("seed", range(3))
def test_gap_and_angle_are_exact_and_the_bound_holds(seed: int, noise: float) -> None:
    kernel, pairs, values = computed(seed, noise)
    checks = {check.name: check.value for check in certificate(kernel, pairs, 0)}
    gap, bound, angle = (checks[name] for name in ("eigengap", "angle_bound", "angle_to_exact"))
    assert gap is not None
    assert bound is not None
    assert angle is not None
    assert gap == pytest.approx(values[3] - values[4], rel=1e-3, abs=10 * noise)
    assert angle <= bound * 1.01 + 1e-5
    assert angle == pytest.approx(0, abs=1e-4) if not noise else angle > 0


def test_equal_eigenvalues_behind_the_last_are_told() -> None:
    kernel = DenseKernel(torch.diag(torch.tensor([1.0, 0.5, 0.5, 0.2, 0.1, 0.0, 0.0, 0.0], dtype=torch.float64)))
    eye = torch.eye(8, dtype=torch.float64)
    checks = {c.name: c for c in certificate(kernel, Eigenpairs(torch.tensor([1.0, 0.5]).double(), eye[:, :2], 0.0), 0)}
    assert checks["eigengap"].note == "the last eigenvalue equals the next: the space is not unique"
    assert checks["angle_bound"].value == 90
    assert checks["angle_to_exact"].value == pytest.approx(0, abs=1e-5)
    assert checks["angle_to_exact"].note


def test_a_large_sample_is_not_decomposed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, pairs, _ = computed()
    monkeypatch.setattr(module, "MOST_NODES", 89)
    assert [check.name for check in certificate(kernel, pairs, 0)] == ["eigengap", "angle_bound"]


@pytest.mark.parametrize("kernel", ["cosine_knn", "rbf"])
def test_every_fit_has_its_certificate(kernel: str) -> None:
    method = fitted(scenes(6, noise=0.3)[0], kernel=kernel)
    checks = {check.name: check for check in method.checks}
    assert {"decomposition_residual", "eigengap", "angle_bound", "angle_to_exact"} <= checks.keys()
    assert checks["decomposition_residual"].value is not None
    assert checks["decomposition_residual"].value <= 1e-4
    assert ("bandwidth" in checks) == (kernel == "rbf")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"bandwidth": 0.3}, r"bandwidth = 0\.3 is for kernel: rbf alone"),
        ({"kernel": "rbf", "bandwidth": 0}, "bandwidth = 0: expected auto or a number above 0"),
        ({"kernel": "rbf", "bandwidth": "wide"}, "bandwidth = wide: expected auto or a number above 0"),
        ({"kernel": "rbf", "bandwidth": float("nan")}, "bandwidth = nan: expected auto or a number above 0"),
        ({"kernel": "rbf", "neighbours": 9}, "neighbours = 9 is for kernel: cosine_knn alone"),
        ({"kernel": "rbf", "graph": "mutual"}, "graph = mutual is for kernel: cosine_knn alone"),
        ({"kernel": "gauss"}, 'unknown kernel of nystrom "gauss"'),
        ({"sampling": "far"}, 'unknown sampling of nystrom "far"; did you mean "farthest"'),
        ({"discretise": "qr", "eigenvectors": 9}, "eigenvectors = 9: discretise: qr needs k, 64"),
    ],
)
def test_bad_parameters_are_refused_by_name(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        complete_params("nystrom", params)


def test_features_of_which_half_are_equal_need_a_number() -> None:
    source, _ = scenes(4)
    alike = MemorySource([torch.full_like(level, 0.3) for level in source.features])
    with pytest.raises(NumericalError, match="give a number"):
        fitted(alike)
    used = next(check for check in fitted(alike, bandwidth=1.0).checks if check.name == "training_clusters_in_use")
    assert not used.passed


def test_a_bandwidth_so_small_that_no_weight_is_left_is_an_error() -> None:
    with pytest.raises(NumericalError, match="0 of 200 sampled patches have an edge"):
        fitted(scenes(6, noise=0.3)[0], bandwidth=1e-4)
