"""Eigenvalues of functions and masked gradients, against loops over the equations, and the refusal of singular ones."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.spin.spectrum import Spectrum, cholesky, second_moment


def draw(n: int, seed: int, points: int = 40) -> tuple[Tensor, Tensor]:
    """Functions (points, n) and their image under a symmetric positive operator, float64."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(points, n, generator=generator, dtype=torch.float64)
    root = torch.randn(points, points, generator=generator, dtype=torch.float64)
    return values, root @ root.T @ values / points


def eigenvalue(values: Tensor, image: Tensor, index: int) -> Tensor:
    """The eigenvalue of one function: its Rayleigh quotient once those before it are projected out, in plain loops."""
    basis: list[tuple[Tensor, Tensor]] = []
    for column in range(index + 1):
        one, other = values[:, column], image[:, column]
        for unit, unit_image in basis:
            overlap = (one * unit).mean()
            one, other = one - overlap * unit, other - overlap * unit_image
        length = one.square().mean().sqrt()
        basis.append((one / length, other / length))
    return (basis[-1][0] * basis[-1][1]).mean()


@settings(max_examples=20)
@given(n=st.integers(1, 7), seed=st.integers(0, 2**16))
def test_eigenvalues_are_those_of_gram_schmidt(n: int, seed: int) -> None:
    values, image = draw(n, seed)
    spectrum = Spectrum.of(second_moment(values, values), second_moment(values, image))
    literal = torch.stack([eigenvalue(values, image, index) for index in range(n)])
    torch.testing.assert_close(spectrum.eigenvalues, literal, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(spectrum.factor @ spectrum.factor.T, values.T @ values / len(values))


@settings(max_examples=20)
@given(n=st.integers(1, 7), seed=st.integers(0, 2**16))
def test_masked_gradients_are_the_formulas_entry_by_entry(n: int, seed: int) -> None:
    values, image = draw(n, seed)
    spectrum = Spectrum.of(second_moment(values, values), second_moment(values, image))
    inverse = torch.linalg.inv(spectrum.factor)
    masked = spectrum.masked_gradients()
    for row in range(n):
        for column in range(n):
            diagonal = spectrum.factor[column, column]
            pi = inverse[column, row] / diagonal
            sigma = -sum(
                (inverse[k, row] * spectrum.matrix[k, column] / diagonal for k in range(column + 1)),
                torch.zeros((), dtype=torch.float64),
            )
            torch.testing.assert_close(masked.pi[row, column], pi, rtol=1e-7, atol=1e-9)
            torch.testing.assert_close(masked.sigma[row, column], sigma, rtol=1e-7, atol=1e-9)


@settings(max_examples=20)
@given(n=st.integers(1, 6), seed=st.integers(0, 2**16))
def test_column_i_is_the_derivative_of_the_ith_eigenvalue_by_function_i(n: int, seed: int) -> None:
    """Against autograd of the eigenvalue itself: twice the one-sided product."""
    values, image = draw(n, seed)
    operator = image @ torch.linalg.pinv(values)
    operator = (operator + operator.T) / 2
    spectrum = Spectrum.of(second_moment(values, values), second_moment(values, operator @ values))
    masked = spectrum.masked_gradients()
    found = 2 * (operator @ values @ masked.pi + values @ masked.sigma) / len(values)
    for index in range(n):
        leaf = values.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(eigenvalue(leaf, operator @ leaf, index), leaf)
        torch.testing.assert_close(found[:, index], gradient[:, index], rtol=1e-6, atol=1e-8)
        assert not gradient[:, index + 1 :].any()


def test_functions_after_i_leave_the_gradient_of_i_as_it_is() -> None:
    values, image = draw(5, 0)
    other, other_image = draw(5, 1)
    mixed, mixed_image = values.clone(), image.clone()
    mixed[:, 3:], mixed_image[:, 3:] = other[:, 3:], other_image[:, 3:]
    one, two = (
        Spectrum.of(second_moment(a, a), second_moment(a, b)).masked_gradients()
        for a, b in ((values, image), (mixed, mixed_image))
    )
    torch.testing.assert_close(one.pi[:, :3], two.pi[:, :3])
    torch.testing.assert_close(one.sigma[:, :3], two.sigma[:, :3])
    assert not torch.allclose(one.pi[:, 3:], two.pi[:, 3:])


def test_exact_eigenfunctions_have_a_diagonal_lambda_and_no_gradient() -> None:
    matrix = torch.diag(torch.arange(12, 0, -1, dtype=torch.float64))
    mix = torch.triu(torch.ones(4, 4, dtype=torch.float64))  # the spans of the first 1, 2, 3, 4 are kept
    values = torch.eye(12, dtype=torch.float64)[:, :4] @ mix
    spectrum = Spectrum.of(second_moment(values, values), second_moment(values, matrix @ values))
    torch.testing.assert_close(spectrum.eigenvalues, torch.tensor([12.0, 11.0, 10.0, 9.0], dtype=torch.float64))
    assert spectrum.off_diagonal < 1e-12
    masked = spectrum.masked_gradients()
    assert (matrix @ values @ masked.pi + values @ masked.sigma).abs().max() < 1e-11


@pytest.mark.parametrize(
    ("column", "message"),
    [(lambda values: values[:, 0] * 0, "function 3"), (lambda values: values[:, 0] - 2 * values[:, 1], "function 3")],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dependent_functions_are_refused_by_number(column: object, message: str, dtype: torch.dtype) -> None:
    values = draw(4, 3)[0]
    assert callable(column)
    values[:, 2] = column(values)
    with pytest.raises(NumericalError, match=f"{message} of the 4 functions of SpIN is 0 or a combination"):
        cholesky(second_moment(values.to(dtype), values.to(dtype)))


def test_what_is_not_finite_is_refused() -> None:
    sigma = torch.eye(3)
    for bad in (float("nan"), float("inf")):
        broken = sigma.clone()
        broken[1, 1] = bad
        with pytest.raises(NumericalError, match="the functions of SpIN hold NaN or infinite values"):
            cholesky(broken)
        with pytest.raises(NumericalError, match="image of the functions of SpIN holds NaN or infinite"):
            Spectrum.of(sigma, broken)
