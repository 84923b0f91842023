"""The health of a method on several graphs, and on kernels and functions that are degenerate."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.exact import MOST_EXACT_NODES, ExactSpaces, exact_eigenspace
from spectral_bench.methods.graphs.kernel import DenseKernel, Kernel, SparseKernel
from spectral_bench.methods.health import Check
from spectral_bench.methods.interface import PatchBatch
from spectral_bench.methods.neuralef.method import NeuralEF
from spectral_bench.methods.neuralef.params import NeuralEFParams
from spectral_bench.methods.spectral_health import method_checks, spectral_checks
from spectral_bench.methods.testing import MemorySource, fit, scenes

SPIN: dict[str, Any] = {"k": 4, "functions": 3, "neighbours": 12, "epochs": 2, "batch_size": 4, "width": 8}
NEURALEF: dict[str, Any] = {"k": 4, "epochs": 1, "batch_size": 4, "depth": 0, "neighbours": 12}


class Six:
    """Six functions on a kernel of the caller's choice."""

    def __init__(self, value: float = 1.0) -> None:
        self.value = value

    def eigenfunctions(self, batch: PatchBatch) -> Tensor:
        return torch.randn(len(batch), 6, *batch.grid, generator=torch.Generator().manual_seed(0))

    def kernel(self, batch: PatchBatch) -> DenseKernel:
        values = torch.linspace(1, 2, batch.pixels[..., 0].numel())
        return DenseKernel(torch.diag(values) * self.value)


def by_name(checks: tuple[Check, ...]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def batch(grid: tuple[int, int]) -> PatchBatch:
    return scenes(1, grid)[0].batch([0])


@pytest.mark.parametrize("order", [1, -1])
def test_graphs_with_and_without_exact_eigenvectors_may_stand_in_any_order(order: int) -> None:
    """Five patches are fewer than six functions."""
    large, small = batch((4, 5)), batch((1, 5))
    together = by_name(method_checks(Six(), [large, small][::order]))
    alone = by_name(method_checks(Six(), [large]))
    assert together.keys() == alone.keys()
    assert together["angle_largest"] == alone["angle_largest"]
    assert together["residual_largest"].value == max(
        check["residual_largest"].value for check in (alone, by_name(method_checks(Six(), [small])))
    )


def test_no_graphs_are_refused() -> None:
    with pytest.raises(ValueError, match="no graphs: expected one or more"):
        method_checks(Six(), [])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_kernel_that_is_not_finite_is_an_error_of_numerics(value: float) -> None:
    for look in (
        lambda: method_checks(Six(value), [batch((4, 5))]),
        lambda: exact_eigenspace(DenseKernel(torch.full((3, 3), value)), 2),
    ):
        with pytest.raises(NumericalError, match="the kernel holds NaN or infinite values"):
            look()


@pytest.mark.parametrize("exact", [True, False])
def test_a_kernel_that_is_zero_fails_and_says_why(exact: bool) -> None:
    functions = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    kernel = torch.zeros(20, 20)
    failed = [check for check in spectral_checks(functions, DenseKernel(kernel), exact=exact) if not check.passed]
    assert [(check.name, check.value) for check in failed] == [("rayleigh_mean", 0.0)]
    assert "no two patches are joined" in failed[0].note
    kernel[0, 1] = kernel[1, 0] = 1e-30
    assert all(check.passed for check in spectral_checks(functions, DenseKernel(kernel), exact=exact))


def test_functions_that_the_kernel_maps_to_zero_do_not_make_it_zero() -> None:
    kernel = torch.zeros(6, 6)
    kernel[4, 5] = kernel[5, 4] = 1.0
    functions = torch.eye(6)[:, :3]
    for exact in (True, False):
        assert by_name(spectral_checks(functions, DenseKernel(kernel), exact=exact))["rayleigh_mean"].passed


def test_one_empty_graph_among_others_is_no_empty_kernel() -> None:
    class Mixed(Six):
        def kernel(self, batch: PatchBatch) -> DenseKernel:
            kernel = super().kernel(batch)
            return DenseKernel(kernel.matrix * 0) if batch.grid == (4, 5) else kernel

    assert by_name(method_checks(Mixed(), [batch((4, 5)), batch((4, 6))]))["rayleigh_mean"].passed
    assert not by_name(method_checks(Mixed(), [batch((4, 5))]))["rayleigh_mean"].passed


@pytest.mark.parametrize(("name", "params"), [("spin", {**SPIN, "width": 32}), ("neuralef", NEURALEF)])
def test_a_fit_on_patches_of_which_no_two_are_alike_has_failed(name: str, params: dict[str, Any]) -> None:
    """Features at right angles and no pixel graph: no edge at all."""
    source = MemorySource([torch.eye(160).reshape(8, 4, 5, 160)])
    method = fit(name, {**params, "alpha": 0.0, "standardise": False}, source)
    check = by_name(method_checks(method, [source.batch(range(4))]))["rayleigh_mean"]  # type: ignore[arg-type]
    assert not check.passed
    assert check.note.startswith("the kernel is 0")


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("factor", [1e-310, 1e-200, 1e-170, 1e170, 1e200])
def test_figures_of_functions_of_extreme_length_are_those_of_others(factor: float, exact: bool) -> None:
    kernel = DenseKernel(torch.diag(torch.arange(12, 0, -1, dtype=torch.float64)))
    functions = torch.randn(12, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    scaled = functions * torch.tensor([factor, 1.0, -factor], dtype=torch.float64)
    plain = by_name(spectral_checks(functions, kernel, exact=exact))
    for name, check in by_name(spectral_checks(scaled, kernel, exact=exact)).items():
        assert check.value == pytest.approx(plain[name].value, rel=1e-4 if factor < 1e-300 else 1e-9), name
        assert check.passed


def test_single_precision_is_not_left_where_functions_are_huge() -> None:
    kernel = DenseKernel(torch.eye(12) + 0.1)
    functions = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
    for exact in (True, False):
        plain = by_name(spectral_checks(functions, kernel, exact=exact))
        for name, check in by_name(spectral_checks(functions * 5e37, kernel, exact=exact)).items():
            assert check.value == pytest.approx(plain[name].value, rel=1e-4, abs=1e-6), name


def test_a_large_empty_kernel_is_found_without_its_matrix() -> None:
    class Empty:
        size = MOST_EXACT_NODES + 1

        def apply(self, x: Tensor) -> Tensor:
            return torch.zeros_like(x)

        def dense(self) -> Tensor:
            raise AssertionError("too large")

    functions = torch.randn(Empty.size, 2, generator=torch.Generator().manual_seed(0))
    assert not by_name(spectral_checks(functions, Empty(), exact=False))["rayleigh_mean"].passed


NYSTROM: dict[str, Any] = {"k": 4, "samples": 60, "neighbours": 8, "restarts": 2}
AT_ONCE = [
    ("neuralef", NEURALEF),
    ("neuralef", NEURALEF | {"discrete": False}),
    ("spin", SPIN),
    *(("nystrom", NYSTROM | {"extension": kind}) for kind in ("nearest", "nystrom", "cluster_means")),
]


@pytest.mark.parametrize(("name", "params"), AT_ONCE)
def test_functions_beside_scores_are_those_by_themselves(name: str, params: dict[str, Any]) -> None:
    source, _ = scenes(8, (5, 6))
    method: Any = fit(name, params, source)
    unseen = source.batch([1, 4])
    scores, functions = method.predict_with_functions(unseen)
    assert torch.equal(scores, method.predict(unseen))
    assert torch.equal(functions, method.eigenfunctions(unseen))
    known = method_checks(method, [unseen], functions=[functions])
    assert known == method_checks(method, [unseen])


CHANGES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    *(("neuralef", NEURALEF, change) for change in ({"neighbours": 9}, {"alpha": 0.7}, {"graph": "mutual"})),
    *(("neuralef", NEURALEF, change) for change in ({"graph_level": 0}, {"graph_standardise": True})),
    ("neuralef", NEURALEF | {"graph": "epsilon"}, {"graph_epsilon": 0.9}),
    ("spin", SPIN, {"neighbours": 9}),
    ("spin", SPIN, {"graph_standardise": True}),
    *(("nystrom", NYSTROM, change) for change in ({"neighbours": 9}, {"graph": "mutual"})),
    ("nystrom", NYSTROM, {"input": "all_standardised_l2"}),
]


@pytest.mark.parametrize(("name", "params", "change"), CHANGES)
def test_a_kept_kernel_is_given_to_fits_of_the_same_settings_alone(
    name: str, params: dict[str, Any], change: dict[str, Any], tmp_path: Path
) -> None:
    source, _ = scenes(8, (5, 6))
    one, other = (fit(name, wanted, source) for wanted in (params, params | change))
    spaces, unseen = ExactSpaces(tmp_path), source.batch([1, 4])
    for method in (one, other, one):
        kept, alone = spaces.kernel(method, unseen), method.kernel(unseen)  # type: ignore[arg-type,attr-defined]
        assert torch.equal(kept.dense(), alone.dense())
        assert kept.dense().dtype == alone.dense().dtype
    assert len(list(tmp_path.iterdir())) == 2


def test_a_kernel_is_found_once_for_the_same_patches_and_code(tmp_path: Path) -> None:
    source, _ = scenes(8, (5, 6))
    found: list[int] = []

    class Counted(NeuralEF):
        def kernel(self, batch: PatchBatch) -> Kernel:
            found.append(len(batch))
            return super().kernel(batch)

        @property
        def kernel_settings(self) -> tuple[object, ...]:
            return super().kernel_settings

    method = Counted(NeuralEFParams(**NEURALEF))
    method.load_state_dict(fit("neuralef", NEURALEF, source).state_dict())
    for code, images in (("a", [1, 4]), ("a", [1, 4]), ("a", [1, 4, 5]), ("b", [1, 4]), ("b", [4, 1])):
        ExactSpaces(tmp_path, code).kernel(method, source.batch(images))
    assert found == [2, 3, 2, 2]
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:100])
    kept = ExactSpaces(tmp_path, "a").kernel(method, source.batch([1, 4]))
    assert torch.equal(kept.dense(), method.kernel(source.batch([1, 4])).dense())
    ExactSpaces().kernel(method, source.batch([1, 4]))
    assert len(found) == 7  # nothing is kept without a folder


def test_a_kept_kernel_that_is_held_dense_is_no_sparse_one(tmp_path: Path) -> None:
    source, _ = scenes(8, (5, 6))
    method: Any = fit("neuralef", NEURALEF | {"graph": "full"}, source)
    for _ in range(2):
        assert type(ExactSpaces(tmp_path).kernel(method, source.batch([0]))).__name__ == "FullKernel"
    assert not list(tmp_path.iterdir())


class Weighted(NeuralEF):
    """A kernel of its own, and the settings of another."""

    weight = 1.0

    def kernel(self, batch: PatchBatch) -> SparseKernel:
        return SparseKernel(super().kernel(batch).matrix * self.weight)  # type: ignore[attr-defined]


class Sized(Weighted):
    """The same with settings."""

    @property
    def kernel_settings(self) -> tuple[object, ...]:
        return (self.weight,)


class Halved(Weighted):
    """Another kernel of the same settings as ``Sized``, in the same file."""

    def kernel(self, batch: PatchBatch) -> SparseKernel:
        return SparseKernel(super().kernel(batch).matrix * 0.5)

    @property
    def kernel_settings(self) -> tuple[object, ...]:
        return (self.weight,)


class Vague(Weighted):
    """Settings that are written alike and differ."""

    @property
    def kernel_settings(self) -> tuple[object, ...]:
        return (torch.tensor([self.weight]),)


@pytest.mark.parametrize(
    ("kinds", "files"), [([Weighted] * 2, 0), ([Sized] * 2, 2), ([Sized, Halved], 2), ([Vague] * 2, 0)]
)
def test_kernels_of_ones_own_are_not_mistaken_for_others(
    kinds: list[type[Weighted]], files: int, tmp_path: Path
) -> None:
    """Two methods of one file, so of one code, one after the other, and the first once more."""
    source, _ = scenes(8, (5, 6))
    state = fit("neuralef", NEURALEF, source).state_dict()
    methods = [kind(NeuralEFParams(**NEURALEF)) for kind in kinds]
    for method in methods:
        method.load_state_dict(state)
    if kinds[0] is kinds[1]:
        methods[1].weight = 1.0 + 2.0**-20
    spaces, unseen = ExactSpaces(tmp_path, "a"), source.batch([1, 4])
    for method in (*methods, methods[0]):
        assert torch.equal(spaces.kernel(method, unseen).dense(), method.kernel(unseen).dense())
    assert len(list(tmp_path.iterdir())) == files


class Tripled(SparseKernel):
    """More than its matrix says."""

    def apply(self, x: Tensor) -> Tensor:
        return 3 * super().apply(x)


class OfTripled(Sized):
    """A kernel of a class of its own."""

    def kernel(self, batch: PatchBatch) -> SparseKernel:
        return Tripled(super().kernel(batch).matrix)

    @property
    def kernel_settings(self) -> tuple[object, ...]:
        return (self.weight,)


def test_a_kernel_of_a_class_of_its_own_comes_back_as_such(tmp_path: Path) -> None:
    source, _ = scenes(8, (5, 6))
    method = OfTripled(NeuralEFParams(**NEURALEF))
    method.load_state_dict(fit("neuralef", NEURALEF, source).state_dict())
    for _ in range(2):
        assert isinstance(ExactSpaces(tmp_path).kernel(method, source.batch([0])), Tripled)
