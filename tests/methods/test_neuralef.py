"""NeuralEF: one step against the equations, noise, prediction, refusals, collapse."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from spectral_bench.common.errors import ConfigError, RunInterrupted
from spectral_bench.common.seeds import SeedStreams
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.graphs.batch import batch_kernel
from spectral_bench.methods.neuralef.method import NeuralEF
from spectral_bench.methods.neuralef.params import NeuralEFParams
from spectral_bench.methods.neuralef.training import gumbel_noise
from spectral_bench.methods.testing import (
    MemoryCheckpoint,
    MemoryLabels,
    MemorySource,
    Recorder,
    build,
    fit,
    fit_context,
    same_state,
    scenes,
    stop_after,
)

SMALL: dict[str, Any] = {
    "k": 5,
    "neighbours": 12,
    "epochs": 4,
    "batch_size": 4,
    "depth": 1,
    "heads": 2,
    "head_width": 4,
    "mlp_width": 8,
}


@pytest.fixture
def source() -> MemorySource:
    return scenes(8, (4, 5))[0]


def curve(source: MemorySource, seed: int = 0, **params: Any) -> list[dict[str, float]]:
    recorder = Recorder()
    fit("neuralef", {**SMALL, **params}, source, seed, recorder=recorder)
    return [values for _, values in recorder.curve]


def first_loss(source: MemorySource, params: NeuralEFParams, noise: Tensor | None) -> tuple[float, float]:
    """Both terms at the first step, in float64 as the equations read, with dense matrices."""
    batch = next(source.batches(0, params.batch_size))
    kernel = batch_kernel(batch, neighbours=params.neighbours, alpha=params.alpha).dense().double()
    psi = NeuralEF(params)._initial(source.channels, fit_context(0))
    if params.standardise:
        psi.standardise(source.statistics())
    with torch.no_grad():
        outputs = psi(batch.features).flatten(0, 1).double()
    if params.discrete:
        noise = torch.zeros_like(outputs) if noise is None else noise.double()
        outputs = torch.softmax((outputs + noise) / params.temperature_max, dim=1)
    norms = outputs.square().sum(0).sqrt().clamp_min(1 if params.normalisation == "clamped" else 0)
    columns = outputs / norms * math.sqrt(params.t)
    r = columns.T @ kernel @ columns
    assert params.beta is not None
    return float(-r.diagonal().mean()), float(params.beta / params.k * r.triu(1).square().sum())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"noise": "none"},
        {"discrete": False, "normalisation": "full"},
        {"standardise": False, "alpha": 0.0},
        {"orthogonality": "initialisation"},
    ],
)
def test_the_first_loss_is_that_of_the_equations(source: MemorySource, options: dict[str, Any]) -> None:
    params = NeuralEFParams(**{**SMALL, "steps": 1, **options})
    noise = None
    if params.noise == "gumbel":
        noise = gumbel_noise(torch.empty(80, 5), SeedStreams(0).torch("noise", 0))
    alignment, penalty = first_loss(source, params, noise)
    measured = curve(source, **{"steps": 1, **options})[0]
    assert measured["alignment"] == pytest.approx(alignment, rel=1e-4)
    assert measured["penalty"] == pytest.approx(penalty, rel=1e-3)
    assert measured["loss"] == pytest.approx(alignment + penalty, rel=1e-4)


def test_the_curve_records_both_terms_their_gradients_and_the_schedules(source: MemorySource) -> None:
    values = curve(source)
    assert len(values) == 8
    assert values[0].keys() >= {"loss", "lr", "alignment", "penalty", "alignment_gradient", "penalty_gradient"}
    assert values[0]["temperature"] == 1.0
    assert values[-1]["temperature"] == pytest.approx(0.3)
    assert [values[0]["lr"], values[-1]["lr"]] == pytest.approx([1e-3, 1e-5])
    assert all(one["alignment_gradient"] > one["penalty_gradient"] > 0 for one in values)


def test_training_lowers_the_loss(source: MemorySource) -> None:
    values = curve(source, epochs=40, lr=1e-2)
    assert sum(one["loss"] for one in values[-5:]) < sum(one["loss"] for one in values[:5])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_noise_is_gumbel_in_float32_whatever_the_outputs_are(dtype: torch.dtype) -> None:
    """In half precision the smallest draws round to 0 and their logarithm to infinity."""
    noise = gumbel_noise(torch.empty(2000, 500, dtype=dtype), torch.Generator().manual_seed(0))
    assert noise.dtype == torch.float32
    assert noise.isfinite().all()
    assert noise.mean().item() == pytest.approx(0.57722, abs=5e-3)
    assert noise.var().item() == pytest.approx(math.pi**2 / 6, abs=1e-2)


def test_soft_assignments_by_noise_are_samples_of_the_softmax() -> None:
    logits = torch.tensor([0.0, 1.0, -1.0, 2.0])
    noisy = logits + gumbel_noise(torch.empty(200_000, 4), torch.Generator().manual_seed(1))
    drawn = torch.bincount(noisy.argmax(1), minlength=4) / len(noisy)
    torch.testing.assert_close(drawn, torch.softmax(logits, 0), atol=5e-3, rtol=0)


@pytest.mark.parametrize(
    "change",
    [
        {"alpha": 0.0},
        {"beta": 5.0},
        {"graph": "mutual"},
        {"graph": "epsilon"},
        {"graph": "full"},
        {"graph_level": 0},
        {"graph_level": "all"},
        {"graph_standardise": True},
        {"neighbours": 3},
        {"noise": "none"},
        {"normalisation": "none"},
        {"penalty": "ratio"},
        {"t": 1.0},
        {"standardise": False},
        {"discrete": False},
        {"temperature_max": 3.0},
        {"temperature_min": 0.9},
    ],
)
def test_every_parameter_of_the_objective_reaches_it(source: MemorySource, change: dict[str, Any]) -> None:
    plain, changed = (curve(source, **params) for params in ({"epochs": 1}, {"epochs": 1, **change}))
    assert [one["loss"] for one in plain] != [one["loss"] for one in changed]


def test_prediction_is_logits_over_the_final_temperature(source: MemorySource) -> None:
    method = fit("neuralef", SMALL, source)
    assert isinstance(method, NeuralEF)
    assert method.psi is not None
    batch = source.batch([1, 4])
    with torch.no_grad():
        logits = method.psi(batch.features)
    scores = method.predict(batch)
    assert scores.shape == (2, 5, 4, 5)
    torch.testing.assert_close(scores, (logits / 0.3).view(2, 4, 5, 5).permute(0, 3, 1, 2))


def test_continuous_outputs_are_predicted_as_they_are(source: MemorySource) -> None:
    method = fit("neuralef", {**SMALL, "discrete": False}, source)
    assert isinstance(method, NeuralEF)
    assert method.psi is not None
    with torch.no_grad():
        outputs = method.psi(source.batch([0]).features)
    torch.testing.assert_close(method.predict(source.batch([0])), outputs.view(1, 4, 5, 5).permute(0, 3, 1, 2))


def test_half_precision_is_for_training_only(source: MemorySource) -> None:
    full, half = (fit("neuralef", SMALL, source, precision=precision) for precision in ("float32", "bfloat16"))
    assert not same_state(full, half)
    assert half.predict(source.batch([0])).dtype == torch.float32
    restored = build("neuralef", SMALL)
    restored.load_state_dict(half.state_dict())
    assert torch.equal(restored.predict(source.batch([0])), half.predict(source.batch([0])))


def test_the_statistics_of_the_input_travel_with_the_state(source: MemorySource) -> None:
    method = fit("neuralef", SMALL, source)
    torch.testing.assert_close(method.state_dict()["mean"], torch.cat(source.statistics().mean))
    raw = fit("neuralef", {**SMALL, "standardise": False}, source)
    assert torch.equal(raw.state_dict()["scale"], torch.ones(18))


def test_restoring_draws_nothing_and_shares_no_memory(source: MemorySource) -> None:
    state = fit("neuralef", SMALL, source).state_dict()
    before = torch.random.get_rng_state()
    method = build("neuralef", SMALL)
    method.load_state_dict(state)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(tensor.data_ptr() != state[name].data_ptr() for name, tensor in method.state_dict().items())


def test_the_start_depends_on_the_seed_alone(source: MemorySource) -> None:
    states = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        method = build("neuralef", SMALL)
        assert isinstance(method, NeuralEF)
        states.append(method._initial(source.channels, fit_context(7)).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_head_wider_than_the_hidden_features_can_be_trained() -> None:
    source = scenes(8, (4, 5), channels=(2, 2, 3))[0]
    method = fit("neuralef", {**SMALL, "k": 16}, source)
    assert method.predict(source.batch([0])).shape == (1, 16, 4, 5)


def test_the_graph_is_charged_to_its_own_stage(source: MemorySource) -> None:
    recorder = Recorder()
    fit("neuralef", {**SMALL, "steps": 3}, source, recorder=recorder)
    assert recorder.stages == ["graph"] * 3 + ["health"]


def test_a_sound_fit_passes_its_checks(source: MemorySource) -> None:
    method = fit("neuralef", {**SMALL, "epochs": 20}, source)
    assert isinstance(method, NeuralEF)
    assert [check.name for check in method.checks] == ["training_clusters_in_use", "assignment_spread"]
    assert all(check.passed for check in method.checks)


def test_a_collapsed_fit_is_found_out(source: MemorySource) -> None:
    """Constant features leave nothing to tell patches apart by."""
    constant = MemorySource([torch.full_like(level, 0.3) for level in source.features], torch.full((8, 4, 5, 3), 0.5))
    method = fit("neuralef", SMALL, constant)
    assert isinstance(method, NeuralEF)
    assert not method.checks[0].passed
    assert "collapsed" in method.checks[0].note
    assert method.predict(constant.batch([0])).isfinite().all()


@pytest.mark.parametrize("level", [0, 2])
def test_nan_is_refused_with_level_and_image(source: MemorySource, level: int) -> None:
    method = fit("neuralef", SMALL, source)
    source.features[level][3, 1, 1, 0] = float("nan")
    with pytest.raises(NumericalError, match=f"level {level} of the features of images .*NaN"):
        fit("neuralef", {**SMALL, "standardise": False, "batch_size": 8}, source)
    with pytest.raises(NumericalError, match=f"level {level} of the features of image image3"):
        method.predict(source.batch([3]))


def test_a_diverged_network_predicts_an_error(source: MemorySource) -> None:
    method = fit("neuralef", SMALL, source)
    state = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    state["norm.weight"][0] = float("nan")
    broken = build("neuralef", SMALL)
    broken.load_state_dict(state)
    with pytest.raises(NumericalError, match="training diverged"):
        broken.predict(source.batch([0]))


def test_too_many_clusters_or_too_few_images_are_refused_before_work(source: MemorySource) -> None:
    recorder = Recorder()
    with pytest.raises(ConfigError, match="k = 161: expected at most 160"):
        fit("neuralef", {**SMALL, "k": 161}, source, recorder=recorder)
    with pytest.raises(ConfigError, match="batch_size = 9: expected at most the 8 training images"):
        fit("neuralef", {**SMALL, "batch_size": 9}, source, recorder=recorder)
    assert recorder == Recorder()


def test_one_image_and_more_neighbours_than_patches_can_be_trained_on() -> None:
    source = scenes(1, (4, 5))[0]
    method = fit("neuralef", {**SMALL, "batch_size": 1, "neighbours": 1000}, source)
    assert method.predict(source.batch([0])).isfinite().all()


def test_an_unfitted_method_says_so(source: MemorySource) -> None:
    with pytest.raises(RuntimeError, match="fit or load a state"):
        build("neuralef", SMALL).predict(source.batch([0]))


def test_without_the_constraint_the_weight_starts_the_same_and_then_leaves_orthogonality(source: MemorySource) -> None:
    kept, free = (NeuralEF(NeuralEFParams(**SMALL, orthogonality=how)) for how in ("constraint", "initialisation"))
    one, other = (method._initial(source.channels, fit_context(0)).state_dict() for method in (kept, free))
    assert torch.equal(one.pop("head.free"), other.pop("head.weight"))
    assert all(torch.equal(one[name], other[name]) for name in one.keys() | other.keys())
    batch = source.batch([0])
    starts = [method._initial(source.channels, fit_context(0))(batch.features) for method in (kept, free)]
    torch.testing.assert_close(*starts)
    errors = []
    for how in ("constraint", "initialisation"):
        psi = fit("neuralef", {**SMALL, "lr": 0.05, "orthogonality": how}, source).psi  # type: ignore[attr-defined]
        weight = psi.head.weight() if how == "constraint" else psi.head.weight
        errors.append(float((weight @ weight.T - torch.eye(5)).detach().abs().max()))
    assert errors[0] < 1e-5
    assert errors[1] > 0.1


@pytest.mark.parametrize("name", ["neuralef", "neuralef_kmeans", "neuralef_label_leak"])
def test_a_free_head_is_stored_and_restored(name: str) -> None:
    source, groups = scenes(8, (4, 5))
    labels = MemoryLabels(groups, 5) if name == "neuralef_label_leak" else None
    params = {**SMALL, "orthogonality": "initialisation"}
    fitted = fit(name, params, source, labels=labels)
    restored = build(name, params)
    restored.load_state_dict(fitted.state_dict())
    batch = source.batch([0, 3])
    assert torch.equal(restored.predict(batch), fitted.predict(batch))


def test_separated_continuous_outputs_are_ordered_and_of_the_same_span(source: MemorySource) -> None:
    params = {**SMALL, "discrete": False, "normalisation": "full", "penalty": "ratio", "beta": 1.0}
    plain, separated = (fit("neuralef", {**params, "separate": wanted}, source) for wanted in (False, True))
    assert isinstance(plain, NeuralEF)
    assert isinstance(separated, NeuralEF)
    state = separated.state_dict()
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, state[name])
    batch = source.batch(range(8))
    outputs, functions = (
        method.eigenfunctions(batch).permute(0, 2, 3, 1).flatten(0, 2).double() for method in (plain, separated)
    )
    torch.testing.assert_close(functions, outputs @ state["separation"].double(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(functions.T @ functions / len(functions), torch.eye(5).double(), rtol=0, atol=1e-3)
    moments = torch.zeros(5, 5, dtype=torch.float64)
    for part in source.batches(0, 4):  # the mean over an epoch is what was decomposed
        y = separated.eigenfunctions(part).permute(0, 2, 3, 1).flatten(0, 2)
        moments += y.double().T @ separated.kernel(part).apply(y).double() / len(y) / 2
    off = moments - torch.diag(moments.diagonal())
    assert off.abs().max() < 1e-3
    assert (moments.diagonal().diff() < 0).all()
    restored = build("neuralef", {**params, "separate": True})
    restored.load_state_dict(state)
    assert torch.equal(restored.predict(batch), separated.predict(batch))


def test_separation_resumes_exactly(source: MemorySource) -> None:
    params = {**SMALL, "discrete": False, "separate": True}
    undisturbed = fit("neuralef", params, source)
    for questions in (0, 7, 8, 9):  # the last two are asked by separation
        checkpoint, recorder = MemoryCheckpoint(), Recorder()
        with pytest.raises(RunInterrupted):
            fit("neuralef", params, source, checkpoint=checkpoint, should_stop=stop_after(questions))
        assert same_state(undisturbed, fit("neuralef", params, source, checkpoint=checkpoint, recorder=recorder))
        assert recorder.stages.count("graph") == 8 - min(questions, 8) + 2


def test_an_option_that_is_not_asked_for_leaves_identities_as_they_are() -> None:
    assert not {"separate", "separate_batches"} & NeuralEFParams().model_dump().keys()
    assert NeuralEFParams(discrete=False, separate=True).model_dump()["separate_batches"] == 64


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"separate": True}, "soft assignments are not eigenfunctions mixed; set discrete: false"),
        ({"discrete": False, "separate_batches": 8}, "separate_batches = 8 is for separate: true alone"),
    ],
)
def test_a_separation_of_nothing_is_refused(source: MemorySource, params: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        fit("neuralef", {**SMALL, **params}, source)
