"""The nystrom method as a whole."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from sklearn.cluster import SpectralClustering
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from spectral_bench.common.errors import ConfigError
from spectral_bench.methods.eigensolvers import Solver
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.graphs.features import feature_graph
from spectral_bench.methods.graphs.options import GraphOptions
from spectral_bench.methods.interface import PatchBatch, Spectral
from spectral_bench.methods.nystrom.extension import SampledGraph
from spectral_bench.methods.nystrom.method import Nystrom
from spectral_bench.methods.nystrom.params import Extension, NystromParams
from spectral_bench.methods.registry import complete_params
from spectral_bench.methods.spectral_health import method_checks
from spectral_bench.methods.testing import MemorySource, fit, same_state, scenes

SMALL: dict[str, Any] = {"k": 5, "samples": 300, "neighbours": 10, "restarts": 5}
SOLVERS = get_args(Solver)


def fitted(source: MemorySource, **params: Any) -> Nystrom:
    method = fit("nystrom", {**SMALL, **params}, source)
    assert isinstance(method, Nystrom)
    return method


def labels(method: Nystrom, source: MemorySource) -> Tensor:
    return method.predict(source.batch(range(len(source)))).argmax(1)


def parts(source: MemorySource, *bounds: slice) -> list[MemorySource]:
    return [MemorySource([level[part] for level in source.features], source.pixels[part]) for part in bounds]


def rows_as_image(levels: tuple[Tensor, ...]) -> PatchBatch:
    """Patches (N, C_l) as one image of one column."""
    return MemorySource([level[None, :, None] for level in levels], torch.zeros(1, len(levels[0]), 1, 3)).batch([0])


@pytest.mark.parametrize("kind", ["knn", "mutual"])
@pytest.mark.parametrize("row_normalise", [True, False])
def test_clusters_the_sample_as_scikit_learn_does(kind: Any, row_normalise: bool) -> None:
    """Both cluster the leading eigenvectors; scikit-learn divides rows by the root of the degree."""
    source, _ = scenes(6, (6, 7), noise=0.4)
    method = fitted(source, graph=kind, neighbours=30, row_normalise=row_normalise, samples=6 * 6 * 7)
    features = torch.nn.functional.normalize(source.features[-1].flatten(0, 2), dim=1)
    affinity = feature_graph(features, neighbours=30, options=GraphOptions(kind=kind)).to_dense().double()
    oracle = SpectralClustering(5, affinity="precomputed", n_init=20, random_state=0).fit_predict(affinity.numpy())
    assert adjusted_rand_score(oracle, labels(method, source).flatten()) > 0.95


@pytest.mark.parametrize("extension", get_args(Extension))
@pytest.mark.parametrize("input", ["last_l2", "all_standardised_l2"])
def test_groups_are_told_apart_in_images_that_were_not_sampled(extension: str, input: str) -> None:
    both, truth = scenes(16, (6, 7), groups=5, noise=0.1)
    train, unseen = parts(both, slice(8), slice(8, 16))
    method = fitted(train, extension=extension, input=input, extension_neighbours=3)
    assert adjusted_rand_score(truth[8:].flatten(), labels(method, unseen).flatten()) > 0.95


@pytest.mark.parametrize("scores", ["one_hot", "distance"])
def test_patches_go_to_the_cluster_of_the_nearest_mean_feature(scores: str) -> None:
    source, _ = scenes(6, (6, 7), noise=1.5)
    method = fitted(source, extension="cluster_means", scores=scores, samples=200)
    by_centres = fitted(source, extension="nearest", samples=200)
    sample = torch.nn.functional.normalize(source.subsample(200).features[-1].double(), dim=-1)
    clusters = by_centres.predict(rows_as_image(source.subsample(200).features)).argmax(1).flatten()
    means = torch.stack([sample[clusters == number].mean(0) for number in range(5)])
    pixels = torch.nn.functional.normalize(source.features[-1].double(), dim=-1)
    distances = torch.cdist(pixels.flatten(0, 2), means).square().view(*pixels.shape[:-1], 5).permute(0, 3, 1, 2)
    found = method.predict(source.batch(range(len(source))))
    assert torch.equal(found.argmax(1), distances.argmin(1))
    assert not torch.equal(found.argmax(1), labels(by_centres, source))
    if scores == "distance":
        torch.testing.assert_close(found.double(), -distances, rtol=0, atol=1e-5)
    else:
        assert set(found.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("solver", SOLVERS)
def test_solvers_agree(solver: Solver) -> None:
    source, _ = scenes(8, noise=0.3)
    reference = labels(fitted(source, solver="eigh"), source)
    method = fitted(source, solver=solver)
    assert adjusted_rand_score(reference.flatten(), labels(method, source).flatten()) > 0.99
    residual = next(check for check in method.checks if check.name == "decomposition_residual")
    assert residual.passed
    assert residual.value is not None
    assert residual.value <= 1e-5


@pytest.mark.parametrize("extension", ["nearest", "nystrom"])
def test_functions_of_unseen_images_come_near_to_their_own_kernels(extension: str) -> None:
    both, _ = scenes(24, (6, 7), noise=0.3)
    train, unseen = parts(both, slice(16), slice(16, 24))
    method = fitted(train, extension=extension, samples=600, neighbours=40)
    assert isinstance(method, Spectral)
    checks = {check.name: check for check in method_checks(method, [unseen.batch(range(8))])}
    assert all(check.passed for check in checks.values())
    angle = checks["angle_largest"].value
    assert angle is not None
    assert angle < 20


@pytest.mark.parametrize("extension", ["nearest", "nystrom"])
def test_a_sample_of_all_patches_gives_back_its_own_eigenvectors(extension: str) -> None:
    source, _ = scenes(6, noise=0.3)
    method = fitted(source, samples=10_000, extension=extension)
    functions = method.eigenfunctions(source.batch(range(6))).permute(0, 2, 3, 1).flatten(0, 2)
    torch.testing.assert_close(functions, method.state_dict()["vectors"])
    checks = {check.name: check for check in method_checks(method, [source.batch(range(6))])}
    angle, residual = checks["angle_largest"].value, checks["residual_largest"].value
    assert angle is not None
    assert residual is not None
    assert angle < 0.1
    assert residual < 1e-5


@pytest.mark.parametrize("kind", ["knn", "mutual"])
@pytest.mark.parametrize("input", ["last_l2", "all_standardised_l2"])
def test_the_formula_takes_a_patch_of_the_sample_for_itself(kind: str, input: str) -> None:
    """Whatever its memory layout is, and the first of equal ones."""
    source, _ = scenes(6, (6, 7), noise=0.8)
    for level in source.features:
        level[1, :2] = level[0, :2]
    method = fitted(source, k=3, samples=10_000, extension="nystrom", graph=kind, input=input, neighbours=20)
    batch = source.batch(range(6))
    columns = tuple(level.permute(3, 1, 2, 0).contiguous().permute(3, 1, 2, 0) for level in batch.features)
    found = method.eigenfunctions(PatchBatch(columns, batch.pixels, batch.image_ids, batch.crops))
    rows = found.permute(0, 2, 3, 1).flatten(0, 2)
    expected = method.state_dict()["vectors"]
    assert len(expected) == len(rows)
    again = torch.arange(42, 56)
    expected[again] = expected[again - 42]
    assert torch.equal(rows, expected)


def test_parts_that_no_edge_joins_are_clusters() -> None:
    truth = torch.arange(5 * 36).view(5, 6, 6) % 3
    noise = 0.1 * torch.rand(5, 6, 6, 3, 4, generator=torch.Generator().manual_seed(0))
    features = ((1 + noise) * torch.eye(3)[truth][..., None]).flatten(3)
    features[0, 0, 0] = 0  # and a patch without any edge
    source = MemorySource([features])
    method = fitted(source, k=3)
    assert adjusted_rand_score(truth.flatten()[1:], labels(method, source).flatten()[1:]) == 1
    checks = {check.name: check for check in method.checks}
    assert (checks["graph_parts"].value, checks["patches_without_edges"].value) == (3, 1)
    assert not checks["graph_parts"].note
    few = {check.name: check for check in fitted(source, k=2).checks}
    assert few["graph_parts"].note.startswith("more parts than eigenvectors")


def test_constant_features_give_finite_scores_and_say_that_they_collapsed() -> None:
    source = scenes(4)[0]
    alike = MemorySource([torch.full_like(level, 0.3) for level in source.features])
    method = fitted(alike)
    assert bool(method.predict(alike.batch([0])).isfinite().all())
    used = next(check for check in method.checks if check.name == "training_clusters_in_use")
    assert len(labels(method, alike).unique()) == used.value == 1
    assert not used.passed


def test_features_of_zeros_are_an_error() -> None:
    nothing = MemorySource([torch.zeros(2, 4, 4, 6)])
    with pytest.raises(NumericalError, match="0 of 32 sampled patches have an edge: too few for 5 eigenvectors and 5"):
        fitted(nothing)


def test_as_many_clusters_as_patches_with_edges_are_allowed_and_no_more() -> None:
    features = torch.zeros(1, 4, 4, 6)
    features[0].view(16, 6)[:6] = 1 + torch.rand(6, 6, generator=torch.Generator().manual_seed(0))
    source = MemorySource([features])
    assert labels(fitted(source, k=6, eigenvectors=2), source).shape == (1, 4, 4)
    with pytest.raises(NumericalError, match=r"6 of 16 sampled patches have an edge: .* and 7 clusters, which need 7"):
        fitted(source, k=7, eigenvectors=2)
    with pytest.raises(NumericalError, match=r"6 of 16 sampled patches have an edge: too few for 6 .* which need 7"):
        fitted(source, k=5, eigenvectors=6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_precision_and_gradients_are_taken_as_float32(dtype: torch.dtype) -> None:
    source, _ = scenes(4, (6, 7))
    method = fitted(source, scores="distance")
    batch = source.batch([0, 1])
    levels = tuple(level.to(dtype).requires_grad_() for level in batch.features)
    other = PatchBatch(levels, batch.pixels, batch.image_ids, batch.crops)
    plain = PatchBatch(tuple(level.detach().float() for level in levels), batch.pixels, batch.image_ids, batch.crops)
    assert torch.equal(method.predict(other), method.predict(plain))
    assert not method.eigenfunctions(other).requires_grad
    assert method.kernel(other).matrix.dtype == torch.float32


def test_features_whose_length_overflows_are_refused() -> None:
    source, _ = scenes(3)
    method = fitted(source)
    source.features[-1][1] *= 1e25
    with pytest.raises(NumericalError, match="image image1: features of 42 of 42 patches are so large that their len"):
        method.predict(source.batch([0, 1]))
    with pytest.raises(NumericalError, match="are so large that their length overflows"):
        fitted(source)


def test_a_single_image_is_enough() -> None:
    source, truth = scenes(1, (8, 8), groups=3, noise=0.05)
    method = fitted(source, k=3)
    assert adjusted_rand_score(truth.flatten(), labels(method, source).flatten()) > 0.95


def test_too_many_clusters_or_eigenvectors_are_refused() -> None:
    source = scenes(1, (4, 5))[0]
    with pytest.raises(ConfigError, match="k = 21"):
        fitted(source, k=21)
    with pytest.raises(ConfigError, match="eigenvectors = 20: expected fewer than the 20 patches in the graph"):
        fitted(source, eigenvectors=20)


def test_nan_is_refused_by_the_name_of_its_image() -> None:
    source = scenes(3)[0]
    method = fitted(source)
    source.features[-1][1, 2, 2] = torch.nan
    with pytest.raises(NumericalError, match="image1 holds NaN"):
        method.predict(source.batch([0, 1]))
    with pytest.raises(NumericalError, match="image1 holds NaN"):
        method.eigenfunctions(source.batch([0, 1]))
    with pytest.raises(NumericalError, match="NaN"):
        fitted(source)


def test_threads_change_no_bit_of_what_is_predicted() -> None:
    before, found = torch.get_num_threads(), []
    source = scenes(6)[0]
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(labels(fitted(source), source))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)


def test_a_sample_is_drawn_only_where_there_are_more_patches() -> None:
    source = scenes(6)[0]
    assert same_state(fitted(source, samples=6 * 42), fitted(source, samples=5000))
    assert len(fitted(source, samples=100).state_dict()["features"]) == 100


def test_predicting_before_a_fit_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="fit or load a state"):
        Nystrom(NystromParams()).predict(scenes(1)[0].batch([0]))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"samples": 64, "k": 64}, "k = 64 must be below samples = 64"),
        ({"samples": 100, "eigenvectors": 100}, "eigenvectors = 100 must be below samples = 100"),
        ({"solver": "lobcpg"}, 'unknown solver of nystrom "lobcpg"; did you mean "lobpcg"'),
        ({"extension": "farthest"}, 'unknown extension of nystrom "farthest"'),
        ({"neighbours": 0}, "neighbours = 0"),
        ({"candidates": 9}, "candidates = 9 is for extension: representatives alone"),
        ({"representatives": 0, "extension": "representatives"}, "representatives = 0"),
    ],
)
def test_bad_parameters_are_refused_by_name(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        complete_params("nystrom", params)


@pytest.mark.parametrize("count", [1, 3])
def test_of_equally_similar_patches_the_first_of_the_sample_count(count: int) -> None:
    directions = torch.eye(4)[[0, 1, 1, 0, 1, 2]]  # sampled patches 1, 2 and 4 are the same
    vectors = torch.arange(6.0)[:, None]
    graph = SampledGraph(directions, vectors, torch.ones(1), torch.ones(6), torch.ones(6))
    found = graph.nearest(torch.eye(4)[[1, 1, 2]], count)
    expected = {1: [1.0, 1.0, 5.0], 3: [7 / 3, 7 / 3, (5 + 0 + 1) / 3]}[count]
    assert torch.allclose(found.flatten(), torch.tensor(expected))
