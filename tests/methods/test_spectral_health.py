from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spectral_bench.methods.exact import MOST_EXACT_NODES, exact_eigenspace
from spectral_bench.methods.graphs.features import feature_graph
from spectral_bench.methods.graphs.kernel import DenseKernel, SparseKernel, combined
from spectral_bench.methods.health import Check
from spectral_bench.methods.spectral_health import (
    eigen_residuals,
    order,
    orthogonality_error,
    principal_angles,
    rayleigh_quotients,
    spectral_checks,
    varying_functions,
)


def graph_kernel(nodes: int = 60, seed: int = 0) -> SparseKernel:
    features = torch.randn(nodes, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return combined(feature_graph(features, neighbours=8))


def eigenfunctions(kernel: SparseKernel, count: int) -> Tensor:
    return torch.from_numpy(exact_eigenspace(kernel, count)[1])


def by_name(checks: tuple[Check, ...]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_the_exact_eigenspace_is_that_of_the_dense_matrix() -> None:
    kernel = graph_kernel()
    values, vectors = exact_eigenspace(kernel, 5)
    assert values[0] == pytest.approx(1.0)
    assert (np.diff(values) <= 0).all()
    np.testing.assert_allclose(kernel.dense().numpy() @ vectors, vectors * values, atol=1e-12)


def test_exact_eigenfunctions_are_in_perfect_health() -> None:
    kernel = graph_kernel()
    functions = eigenfunctions(kernel, 4)
    values, vectors = exact_eigenspace(kernel, 4)
    np.testing.assert_allclose(rayleigh_quotients(functions * 3, kernel), values, rtol=1e-12)
    assert eigen_residuals(functions, kernel).max() < 1e-12
    assert orthogonality_error(functions) < 1e-12
    assert principal_angles(functions, vectors).max() < 1e-5
    checks = spectral_checks(functions, kernel, limits={"angle_largest": 5.0, "orthogonality_error": 1e-3})
    assert all(check.passed for check in checks)
    assert by_name(checks)["rayleigh_mean"].value == pytest.approx(values.mean())


@given(st.integers(1, 6), st.floats(0.01, 100), st.integers(0, 2**31))
@settings(deadline=None, max_examples=30)
def test_figures_do_not_depend_on_the_length_of_functions(count: int, factor: float, seed: int) -> None:
    kernel = graph_kernel(20, seed % 7)
    functions = torch.randn(20, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    plain, scaled = (by_name(spectral_checks(f, kernel)) for f in (functions, functions * factor))
    for name, check in plain.items():
        assert scaled[name].value == pytest.approx(check.value, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("degrees", [0.0, 12.5, 45.0, 90.0])
def test_angles_are_those_by_which_a_plane_was_turned(degrees: float) -> None:
    vectors = np.eye(6)[:, :2]
    turn = np.radians(degrees)
    turned = np.stack([vectors[:, 0], np.cos(turn) * vectors[:, 1] + np.sin(turn) * np.eye(6)[:, 4]], 1)
    mixed = torch.from_numpy(turned @ np.array([[1.0, 2.0], [0.5, -1.0]]))  # another basis of the same plane
    np.testing.assert_allclose(principal_angles(mixed, vectors), [0, degrees], atol=1e-5)


def test_dimensions_that_functions_do_not_span_count_as_ninety_degrees() -> None:
    vectors = np.eye(5)[:, :3]
    functions = torch.from_numpy(vectors.copy())
    functions[:, 1] = functions[:, 0] * 2
    np.testing.assert_allclose(principal_angles(functions, vectors), [0, 0, 90], atol=1e-5)
    np.testing.assert_allclose(principal_angles(functions * 0, vectors), [90, 90, 90])


def test_orthogonality_error_is_the_largest_cosine() -> None:
    functions = torch.tensor([[1.0, 3.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, -2.0]])
    assert orthogonality_error(functions) == pytest.approx(0.6)
    assert orthogonality_error(functions[:, :1]) == 0


@given(st.lists(st.integers(-5, 5), min_size=2, max_size=9), st.floats(0.01, 100))
@settings(deadline=None, max_examples=40)
def test_order_is_kendalls_correlation_with_equal_quotients_as_ordered(ranks: list[int], scale: float) -> None:
    pairs = [(ranks[i], ranks[j]) for i in range(len(ranks)) for j in range(i + 1, len(ranks))]
    literal = sum(-1 if later > before else 1 for before, later in pairs) / len(pairs)
    assert order(np.array(ranks) * scale) == pytest.approx(literal)
    if len(set(ranks)) == len(ranks):
        places = np.arange(len(ranks), 0, -1)
        assert order(np.array(ranks) * scale) == pytest.approx(scipy.stats.kendalltau(places, ranks).statistic)


def test_order_of_nearly_equal_quotients_is_not_told_by_rounding() -> None:
    assert order(np.array([1.0, 1.0 + 1e-9, 0.5])) == 1
    assert order(np.array([1.0, 1.0 + 1e-4, 0.5])) == pytest.approx(1 / 3)
    assert np.isnan(order(np.array([1.0, np.nan])))
    with pytest.raises(ValueError, match="expected two or more"):
        order(np.array([1.0]))


def test_functions_out_of_order_are_told_while_angles_are_not_moved() -> None:
    kernel = graph_kernel()
    functions = eigenfunctions(kernel, 4)
    sound, reversed_, swapped = (
        by_name(spectral_checks(functions[:, places], kernel, limits={"order": 0.5}))
        for places in ([0, 1, 2, 3], [3, 2, 1, 0], [0, 1, 3, 2])
    )
    assert [checks["order"].value for checks in (sound, reversed_, swapped)] == pytest.approx([1, -1, 2 / 3])
    assert [checks["order"].passed for checks in (sound, reversed_, swapped)] == [True, False, True]
    assert reversed_["order"].note == "-1, expected at least 0.5"
    assert reversed_["angle_largest"].value == pytest.approx(0, abs=1e-5)
    assert "order" not in by_name(spectral_checks(functions[:, :1], kernel))


def test_residuals_are_literal() -> None:
    matrix = torch.diag(torch.tensor([3.0, 1.0], dtype=torch.float64))
    functions = torch.tensor([[1.0], [1.0]], dtype=torch.float64)
    assert rayleigh_quotients(functions, DenseKernel(matrix)).tolist() == pytest.approx([2.0])
    assert eigen_residuals(functions, DenseKernel(matrix)).tolist() == pytest.approx([1.0])


def test_constant_outputs_are_found_and_a_collapse_fails() -> None:
    kernel = graph_kernel(30)
    functions = torch.full((30, 3), 0.2, dtype=torch.float64)
    functions[:, 1] += 1e-6 * torch.arange(30)
    assert varying_functions(functions) == 0
    collapse = by_name(spectral_checks(functions, kernel))["varying_functions"]
    assert not collapse.passed
    assert collapse.note == "collapsed: 3 of 3 outputs are constant"
    functions[:, 1:] = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
    assert varying_functions(functions) == 2
    assert by_name(spectral_checks(functions, kernel))["varying_functions"].passed


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_fails_and_is_not_stored_as_a_number(value: float) -> None:
    kernel = graph_kernel(20)
    functions = eigenfunctions(kernel, 3)
    functions[4, 1] = value
    checks = by_name(spectral_checks(functions, kernel))
    for name in ("rayleigh_mean", "orthogonality_error", "residual_largest", "angle_largest"):
        assert (checks[name].value, checks[name].passed, checks[name].note) == (None, False, "not finite")


def test_a_function_that_is_zero_everywhere_is_left_out_of_quotients_and_counts_as_a_right_angle() -> None:
    kernel = graph_kernel(20)
    functions = eigenfunctions(kernel, 3)
    functions[:, 2] = 0
    checks = by_name(spectral_checks(functions, kernel))
    assert checks["rayleigh_mean"].value == pytest.approx(exact_eigenspace(kernel, 2)[0].mean())
    assert checks["residual_largest"].value == pytest.approx(0, abs=1e-9)
    assert checks["angle_largest"].value == pytest.approx(90)
    assert all(check.passed for check in checks.values())
    dead = by_name(spectral_checks(functions * 0, kernel))
    assert [name for name, check in dead.items() if not check.passed] == [
        "varying_functions",
        "rayleigh_mean",
        "orthogonality_error",
        "residual_largest",
    ]


def test_values_beyond_a_limit_fail_and_those_without_one_inform() -> None:
    kernel = graph_kernel(40)
    functions = torch.randn(40, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert all(check.passed for check in spectral_checks(functions, kernel))
    limited = by_name(spectral_checks(functions, kernel, limits={"angle_largest": 5.0}))["angle_largest"]
    assert not limited.passed
    assert limited.limit == 5.0
    assert "expected at most 5" in limited.note


def test_a_large_graph_goes_without_the_exact_eigenspace() -> None:
    matrix = torch.zeros(MOST_EXACT_NODES + 1, MOST_EXACT_NODES + 1)
    with pytest.raises(ValueError, match="2 exact eigenvectors of 4097 nodes"):
        exact_eigenspace(DenseKernel(matrix), 2)
    functions = torch.randn(len(matrix), 2, generator=torch.Generator().manual_seed(0))
    assert "angle_largest" not in by_name(spectral_checks(functions, DenseKernel(matrix), exact=False))


def test_single_precision_functions_and_kernels_are_taken() -> None:
    kernel = combined(feature_graph(torch.randn(30, 3, generator=torch.Generator().manual_seed(0)), neighbours=5))
    functions = torch.from_numpy(exact_eigenspace(kernel, 3)[1])
    for dtype in (torch.float32, torch.float16):
        checks = by_name(spectral_checks(functions.to(dtype), kernel))
        assert checks["angle_largest"].value < 0.5
