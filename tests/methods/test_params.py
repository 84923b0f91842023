"""Parameter models: defaults, ranges, what is filled in, what is refused."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from spectral_bench.methods.neuralef.params import NeuralEFKMeansParams, NeuralEFLabelLeakParams, NeuralEFParams
from spectral_bench.methods.params import (
    GraphParams,
    KMeansParams,
    LinearProbeParams,
    LloydParams,
    OracleParams,
    Params,
    SpinParams,
)

MODELS = [
    KMeansParams,
    NeuralEFParams,
    NeuralEFKMeansParams,
    SpinParams,
    NeuralEFLabelLeakParams,
    LinearProbeParams,
    OracleParams,
]


@pytest.mark.parametrize("model", MODELS)
def test_every_field_has_a_default_and_says_what_it_is(model: type[Params]) -> None:
    for name, field in model.model_fields.items():
        assert not field.is_required(), name
        assert field.description, name
    assert "k" in model.model_fields


@pytest.mark.parametrize("model", MODELS)
def test_unknown_names_are_refused(model: type[Params]) -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        model(no_such_parameter=1)  # type: ignore[call-arg]


@pytest.mark.parametrize("model", MODELS)
def test_dumped_parameters_give_the_same_model_again(model: type[Params]) -> None:
    params = model()
    assert model(**params.model_dump(mode="json")) == params


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("k", [1, 0, -3, 2.5, True, None, "many", float("nan")])
def test_a_bad_number_of_clusters_is_refused(model: type[Params], k: object) -> None:
    with pytest.raises(ValidationError):
        model(k=k)  # type: ignore[call-arg]


@given(k=st.integers(2, 4096))
def test_beta_scales_inversely_with_k_and_is_held_as_a_number(k: int) -> None:
    assert NeuralEFParams(k=k).model_dump()["beta"] == pytest.approx(20.48 / k)


def test_the_published_beta_and_a_given_one() -> None:
    assert NeuralEFParams(k=256).beta == pytest.approx(0.08)
    assert NeuralEFParams(k=256, beta=0.0).beta == 0.0
    assert NeuralEFParams(k=256, beta=0.2).beta == 0.2


def test_published_settings_are_the_defaults() -> None:
    params = NeuralEFParams()
    assert (params.k, params.alpha, params.neighbours, params.t) == (256, 0.3, 256, 0.01)
    assert (params.epochs, params.batch_size, params.lr, params.lr_min) == (40, 16, 1e-3, 1e-5)
    assert (params.depth, params.heads, params.head_width, params.mlp_width) == (2, 18, 64, 576)
    assert (params.temperature_max, params.temperature_min) == (1.0, 0.3)
    assert params.discrete
    assert (params.noise, params.normalisation, params.penalty, params.graph) == ("gumbel", "clamped", "fixed", "knn")


def test_spin_learns_sixteen_functions_by_two_layers_of_128_on_the_same_kernel() -> None:
    params, other = SpinParams(), NeuralEFParams()
    assert (params.functions, params.depth, params.width, params.decay) == (16, 2, 128, 0.0)
    assert all(getattr(params, name) == getattr(other, name) for name in GraphParams.model_fields)
    assert (params.epochs, params.batch_size) == (other.epochs, other.batch_size)


@pytest.mark.parametrize("model", [NeuralEFParams, NeuralEFKMeansParams, SpinParams])
def test_a_limit_that_is_not_set_is_no_part_of_what_identities_are_made_of(model: type[Params]) -> None:
    assert "angle_limit" not in model().model_dump(mode="json")
    assert model(angle_limit=5).model_dump(mode="json")["angle_limit"] == 5  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="less than or equal to 90"):
        model(angle_limit=91)  # type: ignore[call-arg]


@pytest.mark.parametrize("model", [NeuralEFParams, NeuralEFKMeansParams, NeuralEFLabelLeakParams])
def test_a_head_that_only_starts_orthogonal_is_another_fit_and_the_default_none(model: type[Params]) -> None:
    assert "orthogonality" not in model().model_dump(mode="json")
    assert model(orthogonality="constraint") == model()  # type: ignore[call-arg]
    free = model(orthogonality="initialisation")  # type: ignore[call-arg]
    assert free.model_dump(mode="json")["orthogonality"] == "initialisation"
    if model is NeuralEFKMeansParams:
        assert free.base_params()["orthogonality"] == "initialisation"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("functions", 1),
        ("decay", 1.0),
        ("decay", -0.1),
        ("jacobian_patches", 0),
        ("width", 0),
        ("depth", -1),
        ("features", "first"),
        ("activation", "step"),
        ("input", "last"),
        ("lr_min", 1.0),
    ],
)
def test_values_of_spin_out_of_range_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValidationError):
        SpinParams(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("alpha", -0.1),
        ("neighbours", 0),
        ("graph_epsilon", 0.0),
        ("graph_epsilon", 1.5),
        ("graph_level", 3),
        ("graph_level", "high"),
        ("t", 0.0),
        ("beta", -1.0),
        ("lr", 0.0),
        ("epochs", 0),
        ("steps", 0),
        ("batch_size", 0),
        ("noise", "normal"),
        ("penalty", "none"),
        ("heads", 0),
        ("alpha", float("inf")),
        ("alpha", False),
    ],
)
def test_values_out_of_range_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValidationError):
        NeuralEFParams(**{name: value})  # type: ignore[arg-type]


def test_schedules_must_go_down_even_against_a_default() -> None:
    with pytest.raises(ValidationError, match=r"lr_min = 1e-05 must not be above lr = 1e-06"):
        NeuralEFParams(lr=1e-6)
    with pytest.raises(ValidationError, match=r"temperature_min = 0.3 must not be above temperature_max = 0.2"):
        NeuralEFParams(temperature_max=0.2)


def test_flags_take_truth_values_and_numbers_do_not() -> None:
    assert not NeuralEFParams(discrete=False, standardise=False).discrete
    with pytest.raises(ValidationError, match='"epochs" is a number or a name, not true'):
        NeuralEFParams(epochs=True)


def test_parameters_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        KMeansParams().k = 3  # type: ignore[misc]


@given(k=st.integers(2, 512), base_k=st.none() | st.integers(2, 512))
def test_the_base_of_neuralef_kmeans_is_a_complete_neuralef(k: int, base_k: int | None) -> None:
    params = NeuralEFKMeansParams(k=k, base_k=base_k, alpha=0.7)
    base = params.base_params()
    assert params.base_k == base["k"] == (base_k or k)
    assert base == NeuralEFParams(k=base_k or k, alpha=0.7).model_dump(mode="json")


def test_kmeans_options_do_not_reach_the_base() -> None:
    few, many = NeuralEFKMeansParams(restarts=1, scores="distance"), NeuralEFKMeansParams(restarts=9, input="hidden_l2")
    assert few.base_params() == many.base_params()
    assert not set(few.base_params()) & set(LloydParams.model_fields)


def test_a_method_without_base_says_so() -> None:
    with pytest.raises(NotImplementedError, match="KMeansParams"):
        KMeansParams().base_params()


def test_importing_parameters_and_registry_imports_no_torch() -> None:
    code = (
        "import sys, spectral_bench.methods.params, spectral_bench.methods.registry; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
