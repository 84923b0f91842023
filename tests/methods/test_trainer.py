"""The training loop: schedules, budgets, checkpoints, exact resume, curves, refusals."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from spectral_bench.common.errors import ConfigError, RunInterrupted
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.interface import FitContext, PatchBatch
from spectral_bench.methods.testing import MemoryCheckpoint, MemorySource, Recorder, fit_context, scenes, stop_after
from spectral_bench.methods.trainer import Budget, Cosine, Step, train

RATE = Cosine(1e-2, 1e-4)


@pytest.fixture
def source() -> MemorySource:
    return scenes(7, (3, 4))[0]


def network() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(8, 3)


def noisy_step(model: nn.Module, context: FitContext) -> Callable[[int, int, PatchBatch], Step]:
    """A loss with noise that is a function of the step."""

    def step(number: int, steps: int, batch: PatchBatch) -> Step:
        noise = torch.randn((), generator=context.seeds.torch("noise", number))
        loss = model(batch.features[-1]).square().mean() + noise * model(batch.features[-1]).mean()
        return Step(loss, lambda: {"noise": float(noise)})

    return step


def run(source: MemorySource, budget: Budget, **context: Any) -> dict[str, Tensor]:
    model, given_context = network(), fit_context(**context)
    train(model, noisy_step(model, given_context), source, context=given_context, budget=budget, rate=RATE)
    return model.state_dict()


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


@given(start=st.floats(1e-6, 1), end=st.floats(0, 1), steps=st.integers(2, 500), data=st.data())
def test_the_cosine_runs_from_start_to_end(start: float, end: float, steps: int, data: st.DataObject) -> None:
    schedule = Cosine(start, end)
    step = data.draw(st.integers(0, steps - 1))
    assert schedule.at(0, steps) == pytest.approx(start)
    assert schedule.at(steps - 1, steps) == pytest.approx(end)
    assert min(start, end) - 1e-9 <= schedule.at(step, steps) <= max(start, end) + 1e-9
    mirrored = schedule.at(step, steps) + schedule.at(steps - 1 - step, steps)
    assert mirrored == pytest.approx(start + end)


def test_one_step_is_taken_at_the_start_of_a_schedule() -> None:
    assert Cosine(0.5, 0.1).at(0, 1) == 0.5


def test_schedules_count_full_batches(source: MemorySource) -> None:
    assert Budget(3, 5).total(source) == 10
    assert Budget(7, 5).total(source) == 5
    assert Budget(2, 5, steps=4).total(source) == 4


def test_fewer_images_than_a_batch_are_refused(source: MemorySource) -> None:
    with pytest.raises(ConfigError, match="batch_size = 8: expected at most the 7 training images"):
        run(source, Budget(8, 1))


@pytest.mark.parametrize("budget", [Budget(2, 3), Budget(2, 9, steps=8), Budget(3, 4)])
def test_resume_at_any_step_ends_with_the_same_bits(source: MemorySource, budget: Budget) -> None:
    undisturbed = run(source, budget)
    for stop in range(budget.total(source)):
        checkpoint = MemoryCheckpoint()
        with pytest.raises(RunInterrupted):
            run(source, budget, checkpoint=checkpoint, should_stop=stop_after(stop))
        assert equal(run(source, budget, checkpoint=checkpoint), undisturbed), stop


def test_many_interruptions_end_with_the_same_bits(source: MemorySource) -> None:
    checkpoint, finished, tries = MemoryCheckpoint(), None, 0
    while finished is None:
        tries += 1
        try:
            finished = run(source, Budget(2, 3), checkpoint=checkpoint, should_stop=stop_after(2))
        except RunInterrupted:
            continue
    assert tries == 5
    assert equal(finished, run(source, Budget(2, 3)))


def test_checkpoints_that_are_due_change_nothing_and_serve_a_crash(source: MemorySource) -> None:
    checkpoint = MemoryCheckpoint(every=3)
    undisturbed = run(source, Budget(2, 3))
    assert equal(run(source, Budget(2, 3), checkpoint=checkpoint), undisturbed)
    assert checkpoint.saves == 3
    assert equal(run(source, Budget(2, 3), checkpoint=checkpoint), undisturbed)


def test_a_resumed_training_writes_to_tensors_of_its_own(source: MemorySource, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was loaded may be mapped from a file, and is let go."""
    checkpoint = MemoryCheckpoint()
    with pytest.raises(RunInterrupted):
        run(source, Budget(2, 3), checkpoint=checkpoint, should_stop=stop_after(5))
    loaded, expected = checkpoint.load(), checkpoint.load()
    assert loaded is not None
    assert expected is not None
    monkeypatch.setattr(checkpoint, "load", lambda: loaded)
    run(source, Budget(2, 3), checkpoint=checkpoint)
    assert equal(loaded["network"], expected["network"])
    moments, before = (state["optimiser"]["state"] for state in (loaded, expected))
    assert moments.keys() == before.keys() == {0, 1}
    assert all(equal(moments[index], before[index]) for index in moments)


def test_a_training_that_more_follows_is_not_repeated(source: MemorySource) -> None:
    checkpoint, model = MemoryCheckpoint(), network()
    numbers: list[int] = []
    for _ in range(2):
        given_context = fit_context(checkpoint=checkpoint)
        step = noisy_step(model, given_context)

        def counted(number: int, steps: int, batch: PatchBatch, step: Callable[..., Step] = step) -> Step:
            numbers.append(number)
            return step(number, steps, batch)

        train(model, counted, source, context=given_context, budget=Budget(2, 1), rate=RATE, more_follows=True)
    assert numbers == [0, 1, 2]
    assert equal(model.state_dict(), run(source, Budget(2, 1)))


def test_a_resumed_epoch_starts_behind_the_batches_seen(source: MemorySource, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, starts, batches = MemoryCheckpoint(), [], source.batches
    with pytest.raises(RunInterrupted):
        run(source, Budget(2, 3), checkpoint=checkpoint, should_stop=stop_after(5))
    monkeypatch.setattr(source, "batches", lambda *args: starts.append(args) or batches(*args))
    run(source, Budget(2, 3), checkpoint=checkpoint)
    assert starts == [(1, 2, 2), (2, 2, 0)]


def test_the_curve_holds_the_loss_the_rate_and_what_the_step_measures(source: MemorySource) -> None:
    recorder = Recorder()
    run(source, Budget(2, 2), recorder=recorder)
    assert [step for step, _ in recorder.curve] == list(range(6))
    assert recorder.progress == [(done, 6) for done in range(1, 7)]
    values = recorder.curve[0][1]
    assert values.keys() == {"loss", "lr", "noise"}
    assert values["lr"] == 1e-2
    assert recorder.curve[-1][1]["lr"] == pytest.approx(1e-4)


def test_long_trainings_measure_at_a_bounded_number_of_steps(source: MemorySource) -> None:
    recorder = Recorder()
    run(source, Budget(7, 450), recorder=recorder)
    steps = [step for step, _ in recorder.curve]
    assert 200 <= len(steps) <= 230
    assert steps[0] == 0
    assert steps[-1] == 449


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_fit(source: MemorySource, bad: float) -> None:
    model = network()

    def step(number: int, steps: int, batch: PatchBatch) -> Step:
        loss = model(batch.features[-1]).mean()
        return Step(loss * bad if number == 2 else loss, dict)

    with pytest.raises(NumericalError, match=f"the loss is -?{bad} at step 2"):
        train(model, step, source, context=fit_context(), budget=Budget(2, 3), rate=RATE)


def test_the_optimiser_is_adam_without_weight_decay(source: MemorySource) -> None:
    """Against the update written out (Kingma and Ba, 2015)."""
    model = network()
    weight = model.weight.detach().clone().double()
    first, second = torch.zeros_like(weight), torch.zeros_like(weight)
    gradient = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))

    def step(number: int, steps: int, batch: PatchBatch) -> Step:
        return Step((model.weight * gradient * (number + 1)).sum(), dict)

    train(model, step, source, context=fit_context(), budget=Budget(2, 2), rate=RATE)
    for number in range(6):
        g = gradient.double() * (number + 1)
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g * g
        scaled = (first / (1 - 0.9 ** (number + 1))) / ((second / (1 - 0.999 ** (number + 1))).sqrt() + 1e-8)
        weight -= (1e-4 + (1e-2 - 1e-4) * (1 + math.cos(math.pi * number / 5)) / 2) * scaled
    torch.testing.assert_close(model.weight.detach().double(), weight, rtol=1e-5, atol=1e-6)


def test_the_network_trains_in_training_mode_and_is_handed_back_in_evaluation_mode(source: MemorySource) -> None:
    model, modes = network(), []

    def step(number: int, steps: int, batch: PatchBatch) -> Step:
        modes.append(model.training)
        return Step(model(batch.features[-1]).mean(), dict)

    train(model.eval(), step, source, context=fit_context(), budget=Budget(2, 1), rate=RATE)
    assert modes == [True] * 3
    assert not model.training
