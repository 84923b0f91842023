"""The methods that use labels: the leak and its correction, the linear probe, the oracle."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from spectral_bench.common.errors import ConfigError, RunInterrupted
from spectral_bench.common.seeds import SeedStreams, labelled_images
from spectral_bench.methods.labels import batch_labels, cross_entropy, predict_scores
from spectral_bench.methods.linear_probe import LinearProbe
from spectral_bench.methods.neuralef.label_leak import NeuralEFLabelLeak
from spectral_bench.methods.oracle import Oracle
from spectral_bench.methods.testing import (
    MemoryCheckpoint,
    MemoryLabels,
    Recorder,
    build,
    fit,
    same_state,
    scenes,
    stop_after,
)

NETWORK = {"neighbours": 20, "epochs": 2, "batch_size": 2, "depth": 1, "heads": 2, "head_width": 4, "mlp_width": 8}
PSI = {"k": 4, **NETWORK}
SOURCE, TRUTH = scenes()
LABELS = MemoryLabels(TRUTH, 5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_psi_with_a_detached_head_is_that_of_neuralef_bit_for_bit(precision: str) -> None:
    plain = fit("neuralef", PSI, SOURCE, precision=precision).state_dict()
    params = {**PSI, "detach_head": True, "head_weight": 7.0}
    corrected = fit("neuralef_label_leak", params, SOURCE, labels=LABELS, precision=precision).state_dict()
    assert all(torch.equal(tensor, corrected[name]) for name, tensor in plain.items())
    assert corrected.keys() - plain.keys() == {"label_head.weight", "label_head.bias"}


def test_labels_reach_psi_through_the_head_as_first_released() -> None:
    plain = fit("neuralef", PSI, SOURCE).state_dict()
    leaky = fit("neuralef_label_leak", PSI, SOURCE, labels=LABELS).state_dict()
    assert not torch.equal(plain["blocks.0.mlp.0.weight"], leaky["blocks.0.mlp.0.weight"])
    permuted = fit("neuralef_label_leak", PSI, SOURCE, labels=LABELS.permuted()).state_dict()
    assert not torch.equal(permuted["blocks.0.mlp.0.weight"], leaky["blocks.0.mlp.0.weight"])


def test_the_leak_makes_hidden_features_tell_classes_apart() -> None:
    recorder = Recorder()
    params = {**PSI, "epochs": 12, "lr": 1e-2}
    fit("neuralef_label_leak", params, SOURCE, labels=LABELS, recorder=recorder)
    curve = [values["cross_entropy"] for _, values in recorder.curve]
    assert curve[-1] < 0.3 * curve[0]
    assert "labels" in recorder.stages


def test_the_loss_is_that_of_neuralef_plus_the_weighted_cross_entropy() -> None:
    params, plain, leaky = {**PSI, "steps": 1}, Recorder(), Recorder()
    fit("neuralef", params, SOURCE, recorder=plain)
    fit("neuralef_label_leak", {**params, "head_weight": 3.0}, SOURCE, labels=LABELS, recorder=leaky)
    (_, before), (_, after) = plain.curve[0], leaky.curve[0]
    assert after["loss"] == pytest.approx(before["loss"] + 3.0 * after["cross_entropy"], rel=1e-5)
    assert {key: after[key] for key in ("alignment", "penalty")} == {
        key: before[key] for key in ("alignment", "penalty")
    }


@pytest.mark.parametrize("name", ["neuralef_label_leak", "linear_probe", "oracle"])
def test_a_fit_without_labels_is_refused(name: str) -> None:
    params = PSI if name == "neuralef_label_leak" else {"k": 5}
    with pytest.raises(ConfigError, match=f"{name} is fitted with labels, and was handed none"):
        fit(name, params, SOURCE)


@pytest.mark.parametrize("name", ["linear_probe", "oracle"])
def test_clusters_are_the_classes(name: str) -> None:
    with pytest.raises(ConfigError, match=f"k = 4: expected 5, as the clusters of {name} are the classes"):
        fit(name, {"k": 4}, SOURCE, labels=LABELS)


def test_a_linear_probe_reads_separable_classes_off_features() -> None:
    method = fit("linear_probe", {"k": 5, "epochs": 40, "batch_size": 4, "lr": 0.1}, SOURCE, labels=LABELS)
    assert isinstance(method, LinearProbe)
    agreement = (method.predict(SOURCE.batch(range(8))).argmax(1) == TRUTH).float().mean()
    assert agreement > 0.99


def test_a_linear_probe_reaches_the_minimum_of_its_convex_loss() -> None:
    source, truth = scenes(noise=3.0)  # not separable, so that the minimum is finite
    labels = MemoryLabels(truth.where(torch.rand(truth.shape, generator=generator()) > 0.2, -1), 5)
    params = {"k": 5, "epochs": 400, "batch_size": 8, "lr": 0.05}
    state = fit("linear_probe", params, source, labels=labels).state_dict()
    points = (torch.cat([level.flatten(0, 2) for level in source.features], 1) - state["mean"]) * state["scale"]
    classes, points = labels.classes.flatten(), points.double()

    def loss(weight: Tensor, bias: Tensor) -> Tensor:
        return functional.cross_entropy((points @ weight.T + bias)[classes >= 0], classes[classes >= 0])

    weight, bias = (torch.zeros_like(state[f"linear.{n}"]).double().requires_grad_() for n in ("weight", "bias"))
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=500, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = loss(weight, bias)
        torch.autograd.backward(value)
        return value

    optimiser.step(closure)
    best = float(loss(weight, bias).detach())
    reached = float(loss(state["linear.weight"].double(), state["linear.bias"].double()))
    assert reached == pytest.approx(best, abs=1e-4)


BUDGET = {"k": 5, "epochs": 10, "batch_size": 2, "lr": 0.05}


def test_a_label_budget_is_the_fit_on_these_images_alone_but_for_the_standardisation() -> None:
    chosen = labelled_images(len(SOURCE), 3, SeedStreams(4))
    hidden = TRUTH.clone()
    hidden[[index for index in range(len(SOURCE)) if index not in chosen]] = (
        TRUTH[[index for index in range(len(SOURCE)) if index not in chosen]] + 1
    ) % 5
    with_budget = fit("linear_probe", {**BUDGET, "label_budget": 3}, SOURCE, 4, labels=LABELS)
    assert same_state(
        with_budget, fit("linear_probe", {**BUDGET, "label_budget": 3}, SOURCE, 4, labels=MemoryLabels(hidden, 5))
    )
    other = hidden.clone()
    other[chosen[0]] = (TRUTH[chosen[0]] + 1) % 5
    assert not same_state(
        with_budget, fit("linear_probe", {**BUDGET, "label_budget": 3}, SOURCE, 4, labels=MemoryLabels(other, 5))
    )


def test_a_larger_budget_takes_the_images_of_a_smaller_one() -> None:
    taken = [set(labelled_images(20, budget, SeedStreams(1))) for budget in (1, 2, 5, 10, 20)]
    assert [len(one) for one in taken] == [1, 2, 5, 10, 20]
    assert all(small < large for small, large in pairwise(taken))
    assert taken[2] != set(labelled_images(20, 5, SeedStreams(2)))


def test_a_budget_of_one_image_learns_it_in_as_many_steps_as_all_images_take() -> None:
    recorder = Recorder()
    method = fit("linear_probe", {**BUDGET, "label_budget": 1}, SOURCE, labels=LABELS, recorder=recorder)
    assert recorder.progress[-1] == (40, 40)
    (chosen,) = labelled_images(len(SOURCE), 1, SeedStreams(0))
    assert (method.predict(SOURCE.batch([chosen])).argmax(1)[0] == TRUTH[chosen]).float().mean() > 0.99


def test_a_budget_goes_on_from_its_checkpoint_bit_for_bit() -> None:
    params, checkpoint = {**BUDGET, "label_budget": 3}, MemoryCheckpoint()
    with pytest.raises(RunInterrupted):
        fit("linear_probe", params, SOURCE, labels=LABELS, checkpoint=checkpoint, should_stop=stop_after(21))
    resumed = fit("linear_probe", params, SOURCE, labels=LABELS, checkpoint=checkpoint)
    assert same_state(resumed, fit("linear_probe", params, SOURCE, labels=LABELS))


def test_budgets_that_cannot_be_spent_are_refused() -> None:
    with pytest.raises(ConfigError, match="label_budget = 9: expected at most the 8 training images"):
        fit("linear_probe", {**BUDGET, "label_budget": 9}, SOURCE, labels=LABELS)
    void = MemoryLabels(torch.full_like(TRUTH, -1), 5)
    with pytest.raises(ConfigError, match="label_budget = 1: no patch of the images drawn has a class: image"):
        fit("linear_probe", {**BUDGET, "label_budget": 1}, SOURCE, labels=void)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_void_patches_count_for_nothing() -> None:
    logits = torch.randn(6, 3, generator=generator(), requires_grad=True)
    classes = torch.tensor([0, -1, 2, -1, 1, 0])
    kept = functional.cross_entropy(logits[classes >= 0], classes[classes >= 0])
    torch.testing.assert_close(cross_entropy(logits, classes), kept)
    nothing = cross_entropy(logits, torch.full((6,), -1))
    torch.autograd.backward(nothing)
    assert nothing == 0
    assert (logits.grad == 0).all()


def test_the_labels_of_a_batch_are_those_of_its_images_in_order() -> None:
    assert torch.equal(batch_labels(LABELS, SOURCE.batch([3, 0, 5])), TRUTH[[3, 0, 5]])


def test_an_oracle_predicts_the_shares_of_the_images_own_labels() -> None:
    method, batch = fit("oracle", {"k": 5}, SOURCE, labels=LABELS), SOURCE.batch([2, 6])
    assert torch.equal(
        predict_scores(method, batch, LABELS), functional.one_hot(TRUTH[[2, 6]], 5).movedim(-1, 1).float()
    )
    assert method.state_dict() == {}


def test_an_oracle_without_labels_of_the_images_says_so() -> None:
    method = fit("oracle", {"k": 5}, SOURCE, labels=LABELS)
    with pytest.raises(ConfigError, match="predicts from the labels of the images themselves"):
        predict_scores(method, SOURCE.batch([0]))
    with pytest.raises(ConfigError, match="can only be evaluated"):
        method.predict(SOURCE.batch([0]))
    with pytest.raises(ConfigError, match="k = 5: expected 7"):
        predict_scores(method, SOURCE.batch([0]), MemoryLabels(TRUTH, 7))


@pytest.mark.parametrize("name", ["kmeans", "linear_probe", "neuralef_label_leak"])
def test_no_other_method_is_handed_labels_of_what_it_predicts(name: str) -> None:
    params = {"kmeans": {"k": 5}, "linear_probe": {"k": 5, "batch_size": 4}, "neuralef_label_leak": PSI}[name]
    method = fit(name, params, SOURCE, labels=LABELS if name != "kmeans" else None)
    labels = MemoryLabels(TRUTH, 5)
    assert torch.equal(predict_scores(method, SOURCE.batch([1]), labels), method.predict(SOURCE.batch([1])))
    assert labels.asked == []


@pytest.mark.parametrize("method", [LinearProbe, NeuralEFLabelLeak])
def test_nothing_is_stored_before_a_fit(method: type) -> None:
    name = {LinearProbe: "linear_probe", NeuralEFLabelLeak: "neuralef_label_leak"}[method]
    with pytest.raises(RuntimeError, match="fit or load a state"):
        build(name, {}).state_dict()
    assert isinstance(build("oracle", {}), Oracle)
