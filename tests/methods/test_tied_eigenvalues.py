"""Where eigenvalues are equal there are many exact eigenspaces; no figure may depend on the one that LAPACK gives."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from spectral_bench.methods.exact import exact_eigenspace, tied_eigenspace
from spectral_bench.methods.graphs.kernel import DenseKernel
from spectral_bench.methods.health import Check
from spectral_bench.methods.spectral_health import method_checks, nearest_eigenspace, principal_angles, spectral_checks
from spectral_bench.methods.testing import scenes

HELD = "held against the nearest exact eigenspace"


def kernel_of(values: list[float], seed: int = 0) -> tuple[DenseKernel, Tensor]:
    """A kernel of these eigenvalues, and its eigenvectors as columns."""
    random = torch.randn(len(values), len(values), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    vectors = torch.linalg.qr(random)[0]
    return DenseKernel(vectors @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ vectors.T), vectors


def angle(functions: Tensor, kernel: DenseKernel, **limits: float) -> Check:
    (check,) = [
        check
        for check in spectral_checks(functions, kernel, limits={"angle_largest": limits.get("limit", 90.0)})
        if check.name == "angle_largest"
    ]
    return check


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("chosen", list(combinations(range(4), 2)))
def test_parts_of_a_graph_that_is_not_connected_are_exact_whichever_they_are(
    chosen: tuple[int, int], dtype: torch.dtype
) -> None:
    """Each of four parts has eigenvalue 1."""
    kernel = DenseKernel(torch.block_diag(*[torch.full((size, size), 1 / size) for size in (3, 5, 4, 6)]).to(dtype))
    bounds = [0, 3, 8, 12, 18]
    functions = torch.zeros(18, 2, dtype=dtype)
    for column, part in enumerate(chosen):
        functions[bounds[part] : bounds[part + 1], column] = 1
    check = angle(functions, kernel, limit=5.0)
    assert check.value == pytest.approx(0, abs=1e-3)
    assert check.passed
    assert HELD in check.note


def test_the_vectors_of_larger_eigenvalues_must_be_among_them() -> None:
    """Of eigenvalues 3, 2, 2, 2, 1 two functions: the first vector and any of the next three."""
    kernel, vectors = kernel_of([3, 2, 2, 2, 1, 0.5])
    mixed = vectors[:, 1:4] @ torch.tensor([0.3, -0.8, 0.5], dtype=torch.float64)
    sound = torch.stack([vectors[:, 0] + mixed, vectors[:, 0] - 2 * mixed], 1)
    assert angle(sound, kernel).value == pytest.approx(0, abs=1e-5)
    assert angle(vectors[:, 1:3], kernel).value == pytest.approx(90)  # all tied, the first is missing
    assert angle(vectors[:, [0, 4]], kernel).value == pytest.approx(90)  # too small an eigenvalue
    limited = angle(vectors[:, [0, 4]], kernel, limit=5.0)
    assert not limited.passed
    assert limited.note.startswith("90, expected at most 5; ")
    assert HELD in limited.note


@pytest.mark.parametrize("degrees", [0.0, 20.0, 70.0])
def test_functions_turned_out_of_the_tied_eigenspace_are_off_by_that_angle(degrees: float) -> None:
    kernel, vectors = kernel_of([2, 2, 2, 1, 0.5])
    turn = np.radians(degrees)
    turned = torch.stack([vectors[:, 1], np.cos(turn) * vectors[:, 2] + np.sin(turn) * vectors[:, 4]], 1)
    assert angle(turned, kernel).value == pytest.approx(degrees, abs=1e-5)


@pytest.mark.parametrize(("gap", "tied"), [(1e-8, True), (1e-5, False)])
def test_a_gap_that_can_be_seen_is_no_tie_and_changes_nothing(gap: float, tied: bool) -> None:
    kernel, vectors = kernel_of([2, 1 + gap, 1, 0.5])
    check = angle(vectors[:, [0, 2]], kernel)
    assert check.value == pytest.approx(0 if tied else 90, abs=1e-3)
    assert (HELD in check.note) == tied
    found = tied_eigenspace(kernel, exact_eigenspace(kernel, 2)[0])
    assert (found is not None) == tied
    if found is not None:
        assert [part.shape for part in found] == [(4, 1), (4, 2)]


def test_ties_within_the_exact_eigenspace_and_with_nothing_behind_it_are_none() -> None:
    kernel, _ = kernel_of([2, 2, 1, 0.5])
    for count in (2, 3, 4):
        assert tied_eigenspace(kernel, exact_eigenspace(kernel, count)[0]) is None


def test_equal_eigenvalues_of_zero_are_told_from_rounding() -> None:
    """They are the largest of a kernel that is negative otherwise, and their rounding is all that differs."""
    kernel, vectors = kernel_of([0.0] * 9 + [-1.0, -2.0, -3.0])
    assert angle(vectors[:, [3, 7]], kernel).value == pytest.approx(0, abs=1e-5)
    assert angle(vectors[:, [3, 10]], kernel).value == pytest.approx(90)


def test_functions_that_are_all_zero_span_nothing() -> None:
    kernel, vectors = kernel_of([2, 2, 2, 1, 0.5])
    assert angle(vectors[:, :2] * 0, kernel).value == pytest.approx(90)


@pytest.mark.parametrize("change", ["dead", "twice"])
def test_dimensions_that_functions_do_not_span_count_as_ninety_degrees(change: str) -> None:
    kernel, vectors = kernel_of([2, 2, 2, 1, 0.5])
    functions = vectors[:, :2].clone()
    functions[:, 1] = 0 if change == "dead" else 2 * functions[:, 0]
    above, equal = tied_eigenspace(kernel, exact_eigenspace(kernel, 2)[0]) or (None, None)
    assert above is not None
    assert equal is not None
    space = nearest_eigenspace(functions, above, equal)
    np.testing.assert_allclose(space.T @ space, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(principal_angles(functions, space), [0, 90], atol=1e-5)


def test_a_fit_in_several_graphs_says_in_how_many_eigenvalues_are_tied() -> None:
    tied, plain = kernel_of([2, 2, 2, 1, *[0.0] * 16]), kernel_of([3, 2, 1, *[0.0] * 17])

    class Method:
        def pick(self, batch: Any) -> tuple[DenseKernel, Tensor]:
            return tied if batch.image_ids == ("image0",) else plain

        def eigenfunctions(self, batch: Any) -> Tensor:
            return self.pick(batch)[1][:, :2].T.reshape(1, 2, 4, 5)

        def kernel(self, batch: Any) -> DenseKernel:
            return self.pick(batch)[0]

    source = scenes(2, (4, 5))[0]
    checks = {check.name: check for check in method_checks(Method(), [source.batch([0]), source.batch([1])])}
    assert "the last eigenvalue equals the next in 1 of 2 graphs" in checks["angle_largest"].note
