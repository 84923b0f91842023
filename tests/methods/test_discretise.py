"""From eigenvectors to clusters: rotations against scikit-learn's, monotone, orthogonal, and as centres."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster._spectral import cluster_qr, discretize
from sklearn.metrics import adjusted_rand_score
from torch import Tensor
from torch.nn import functional

from spectral_bench.common.errors import ConfigError, RunInterrupted
from spectral_bench.common.seeds import SeedStreams
from spectral_bench.methods.discretise import fit_discrete, pivoted, rotated_labels, rotation, segments_of
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.laplacian import smallest_eigenpairs
from spectral_bench.methods.nystrom.params import NystromParams
from spectral_bench.methods.registry import complete_params
from spectral_bench.methods.testing import fit, fit_context, same_state, scenes, stop_after

HOW: tuple[Literal["rotation", "qr"], ...] = ("rotation", "qr")


def orthonormal(count: int, width: int, seed: int) -> Tensor:
    drawn = torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.linalg.qr(drawn).Q


def turned_indicators(sizes: list[int], noise: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Orthonormal vectors near the span of indicators of groups, turned at random, and the groups."""
    truth = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    flat = torch.nn.functional.one_hot(truth).double() / torch.tensor(sizes).double().sqrt()
    flat = flat + noise * flat.max() * orthonormal(len(truth), len(sizes), seed + 1)
    return torch.linalg.qr(flat @ orthonormal(len(sizes), len(sizes), seed)).Q, truth


@given(st.integers(2, 8), st.integers(0, 40), st.integers(0, 2**31))
@settings(deadline=None, max_examples=40)
def test_the_rotation_is_orthogonal_and_never_falls(width: int, more: int, seed: int) -> None:
    found = rotation(orthonormal(width + more, width, seed), seeds=SeedStreams(seed))
    torch.testing.assert_close(found.matrix.T @ found.matrix, torch.eye(width, dtype=torch.float64))
    steps = np.diff(found.objectives)
    assert (steps >= -1e-12 * found.objectives[-1]).all()
    assert found.converged


def test_the_objective_is_the_sum_of_entries_at_the_clusters() -> None:
    vectors = orthonormal(60, 5, 0)
    rows = functional.normalize(vectors, dim=1)
    one, two = (rotation(vectors, seeds=SeedStreams(3), iterations=steps) for steps in (1, 2))
    before = float((rows @ one.matrix).max(1).values.sum())
    assert one.objectives == two.objectives[:1]
    assert one.objectives[0] <= before <= two.objectives[1] + 1e-12
    assert not one.converged


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("seed", range(3))
def test_groups_are_found_whatever_the_basis_of_their_space_is(how: Any, seed: int) -> None:
    vectors, truth = turned_indicators([20, 35, 9, 50], 0.05, seed)
    matrix = pivoted(vectors) if how == "qr" else rotation(vectors, seeds=SeedStreams(seed), restarts=3).matrix
    assert adjusted_rand_score(truth, rotated_labels(vectors, matrix)) == 1


def test_the_pivoted_rotation_is_that_of_scikit_learn() -> None:
    for seed in range(5):
        vectors, _ = turned_indicators([30, 40, 25, 60, 12], 0.25, seed)
        ours, theirs = rotated_labels(vectors, pivoted(vectors)), cluster_qr(vectors.numpy())
        assert np.array_equal(ours.numpy(), theirs)


def test_the_rotation_is_at_least_as_good_as_that_of_scikit_learn() -> None:
    """Both stop at a fixed point that depends on the start; the same partition where groups are well apart."""
    vectors, _ = turned_indicators([30, 40, 25, 60, 12], 0.12)
    ours = rotated_labels(vectors, rotation(vectors, seeds=SeedStreams(0), restarts=5).matrix)
    assert adjusted_rand_score(ours, discretize(vectors.numpy().copy(), random_state=0)) == 1


def test_the_same_seed_gives_the_same_bits_and_restarts_are_no_worse() -> None:
    vectors = orthonormal(80, 6, 4)
    one, again = (rotation(vectors, seeds=SeedStreams(1)) for _ in range(2))
    assert torch.equal(one.matrix, again.matrix)
    more = rotation(vectors, seeds=SeedStreams(1), restarts=6)
    assert more.objectives[-1] >= one.objectives[-1]
    others = [rotation(vectors, seeds=SeedStreams(seed)).matrix for seed in range(2, 6)]
    assert any(not torch.equal(other, one.matrix) for other in others)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("scores", ["one_hot", "distance"])
def test_nearest_centres_are_the_largest_entries(how: Any, scores: Any) -> None:
    vectors = orthonormal(70, 6, 0).float()
    rows = functional.normalize(vectors, dim=1)
    params = NystromParams(k=6, scores=scores)
    centres, checks = fit_discrete(vectors, rows, how, params=params, k=6, context=fit_context(1))
    others = torch.randn(1, 5, 9, 6, generator=torch.Generator().manual_seed(1))
    expected = (others @ centres.centres.T).argmax(-1)
    assert torch.equal(centres.scores(others).argmax(1), expected)
    assert torch.equal(centres.scores(functional.normalize(others, dim=-1)).argmax(1), expected)
    assert checks[0].name == "training_clusters_in_use"
    assert checks[0].value == len(torch.unique(rows @ centres.centres.T, dim=0).argmax(1).unique())


@pytest.mark.parametrize("how", HOW)
def test_rows_of_zeros_and_equal_rows_are_no_trouble(how: Any) -> None:
    vectors = torch.zeros(9, 3)
    vectors[2:6, 0] = 0.5
    context = fit_context(0)
    centres, checks = fit_discrete(vectors, vectors, how, params=NystromParams(k=3), k=3, context=context)
    assert bool(centres.centres.isfinite().all())
    assert checks[0].value is not None
    nothing = torch.zeros(9, 3)
    centres, checks = fit_discrete(nothing, nothing, how, params=NystromParams(k=3), k=3, context=context)
    assert bool(centres.centres.isfinite().all())
    assert not checks[0].passed


def test_what_is_not_finite_or_of_other_size_is_refused() -> None:
    params, context = NystromParams(k=3), fit_context(0)
    bad = torch.full((9, 3), torch.nan)
    few = torch.ones(9, 2)
    with pytest.raises(NumericalError, match="NaN"):
        fit_discrete(bad, bad, "qr", params=params, k=3, context=context)
    with pytest.raises(ValueError, match=r"discretise: rotation of \(9, 2\) vectors: expected 3 columns"):
        fit_discrete(few, few, "rotation", params=params, k=3, context=context)


def test_a_run_that_is_asked_to_stop_does() -> None:
    vectors = orthonormal(50, 4, 0)
    with pytest.raises(RunInterrupted):
        fit_discrete(
            vectors, vectors, "rotation", params=NystromParams(k=4), k=4, context=fit_context(should_stop=stop_after(0))
        )


@pytest.mark.parametrize("how", HOW)
def test_segments_of_a_graph_of_near_parts_are_its_parts(how: Any) -> None:
    affinity = torch.block_diag(*[torch.ones(6, 6)] * 4).double() + 1e-3
    vectors = smallest_eigenpairs(affinity, 5, solver="eigh").vectors
    found = segments_of(vectors, 4, how, seeds=SeedStreams(0), iterations=50)
    assert adjusted_rand_score(torch.arange(4).repeat_interleave(6), found) == 1
    assert len(segments_of(vectors, 99, how, seeds=SeedStreams(0), iterations=50).unique()) <= 6
    assert segments_of(vectors[:2], 3, how, seeds=SeedStreams(0), iterations=50).shape == (2,)


@pytest.mark.parametrize("how", HOW)
def test_spin_and_deep_spectral_take_the_option(how: str) -> None:
    source, truth = scenes(6, (6, 7), groups=3, noise=0.05)
    spin = {"k": 3, "functions": 3, "neighbours": 20, "epochs": 4, "batch_size": 2, "width": 8, "discretise": how}
    method = fit("spin", spin, source)
    batch = source.batch(range(6))
    labels = method.predict(batch).argmax(1)
    assert torch.equal(
        labels, (method.eigenfunctions(batch).movedim(1, -1) @ method.state_dict()["centres"].T).argmax(-1)
    )  # type: ignore[attr-defined]
    deep = {"k": 3, "eigenvectors": 5, "segments": 3, "colour_weight": 0.0, "discretise": how}
    method = fit("deep_spectral", deep, source)
    assert adjusted_rand_score(truth.flatten(), method.predict(batch).argmax(1).flatten()) > 0.8
    assert not same_state(method, fit("deep_spectral", {**deep, "discretise": "kmeans"}, source))


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("spin", {"discretise": "rotation"}, "functions = 16: discretise: rotation needs k of them, 64"),
        ("spin", {"discretise": "rotate"}, 'unknown discretise of spin "rotate"'),
        ("deep_spectral", {"discretise": "qr"}, r"segments = 24: discretise: qr makes at most eigenvectors \+ 1 = 15"),
    ],
)
def test_bad_parameters_are_refused_by_name(name: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        complete_params(name, params)


@pytest.mark.parametrize("name", ["spin", "deep_spectral"])
def test_identities_are_those_of_before_there_was_a_choice(name: str) -> None:
    assert "discretise" not in complete_params(name, {})
