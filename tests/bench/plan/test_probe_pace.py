"""What a probe times: steps of new and of known images, those that write the curve, pauses; and images of one's own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image
from plan_lab import TRAINED, Lab, cost, fit_record

from spectral_bench.bench.plan.images import counts_of
from spectral_bench.bench.plan.prediction import Measurements
from spectral_bench.bench.plan.probe import NO_WARM_UP, found_by, probe_of
from spectral_bench.bench.plan.today import CurrentData
from spectral_bench.bench.run.probe import (
    CLEAR_S,
    FOUND_FILE,
    LEAST_KNOWN,
    LEAST_STEPS,
    LONG_S,
    MOST_STEPS,
    Pace,
    _Counted,
    steady_mean,
)
from spectral_bench.bench.work.order import Execution
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.results.store import Store


@pytest.mark.parametrize(
    ("took", "mean"),
    [
        ([], None),
        ([(2.0, 4)], 0.5),
        ([(1.0, 1), (2.0, 1), (1.5, 1)], 1.5),
        # A pause of 50 counts as three times the median; of two images, as that of each.
        ([(1.0, 1)] * 9 + [(50.0, 1)], 1.2),
        ([(2.0, 2)] * 9 + [(50.0, 2)], 1.2),
        # What comes again and again is no pause, such as eight images that go through a network together.
        ([(0.8, 1), *[(0.0, 1)] * 7] * 2, 0.1),
        ([(1.0, 1)] * 8 + [(50.0, 1)], 58 / 9),
    ],
)
def test_a_pause_of_the_machine_hardly_moves_a_pace(took: list[tuple[float, int]], mean: float | None) -> None:
    assert steady_mean(took) == (mean if mean is None else pytest.approx(mean))


OWN = "{runs: [{method: neuralef, dataset: 'folder:own.yaml', params: {k: 8, batch_size: 10, epochs: 60}}]}"


@pytest.fixture
def own_data(lab: Lab) -> CurrentData:
    """Twelve images to train on and ten to evaluate, whose number only their folder tells."""
    for split, count in (("train", 12), ("val", 10)):
        for kind, shape in (("images", (64, 64, 3)), ("labels", (64, 64))):
            folder = lab.folder / kind / split
            folder.mkdir(parents=True)
            for index in range(count):
                Image.fromarray(np.full(shape, index % 2, np.uint8)).save(folder / f"{index}.png")
    splits = "{train: {images: images/train, labels: labels/train}, val: {images: images/val, labels: labels/val}}"
    (lab.folder / "own.yaml").write_text(f"{{title: Own, splits: {splits}, classes: {{0: a, 1: b}}}}")
    return CurrentData(DataRoots())


def test_images_of_ones_own_are_counted(lab: Lab, scratch: Store, own_data: CurrentData) -> None:
    (run,) = lab.plan(OWN, data=own_data).unfinished
    assert [(part.kind, part.units, part.images) for part in run.parts] == [
        ("features", 12, 12),
        ("features", 10, 10),
        ("fit", 60 * 10, 12),
        ("evaluate", 10, 10),
    ]
    probe = probe_of(run, scratch, Execution(), [])
    (asked,) = probe.asked
    assert asked.whole is not None
    assert (asked.whole.spec.data.subset, asked.whole.spec.params["steps"]) == (12, 60)
    assert [view.subset for view in probe.orders[-1].views] == [10]
    (lab.folder / "own.yaml").write_text("{")  # which is told elsewhere
    assert counts_of([(run.spec.data.dataset, "train")], own_data.count) == {}


def counted(lab: Lab, scratch: Store, seconds: list[float], written: Sequence[int] = ()) -> _Counted:
    """A training whose steps took so long; the first four, of four images each, see images for the first time."""
    (run,) = lab.plan(TRAINED).unfinished
    (asked,) = probe_of(run, scratch, Execution(), []).asked
    assert asked.whole is not None
    timed = _Counted(asked.whole, scratch, lambda: False)
    timed.ticks["fit"] += [(sum(seconds[: step + 1]), step + 1) for step in range(len(seconds))]
    for step in written:
        timed.curve.append(step, {"loss": 0.1})
    return timed


@pytest.mark.parametrize(
    ("seconds", "written", "step_s", "new_s"),
    [
        ([9.0, 2.2, 2.2, 2.2, 1.0, 1.0, 1.0, 1.0], [], 1.0, 0.3),
        ([9.0, 2.2, 2.2, 2.2, 1.0, 1.5, 1.0, 1.0], [0, 5], 1.1, 0.3),  # of five steps one writes the curve
        ([9.0, 2.2, 2.7, 2.2, 1.0, 1.0, 1.0, 1.0], [0, 2, 4, 6], 1.0 + (0.5 + 0 + 0) / 3 / 2, 0.3),
        ([9.0, 2.2, 2.2, 2.2, 1.0, 1.0, 1.0, 1.0], list(range(8)), 1.0, 0.3),  # all do
        ([9.0, 0.8, 0.8, 0.8, 1.0, 1.0, 1.0, 1.0], [], 1.0, 0.0),
        ([9.0, 2.0, 2.0], [], 2.0, 0.0),
        ([9.0], [], None, 0.0),
    ],
)
def test_steps_of_new_images_and_those_that_write_the_curve_count_by_their_shares(
    lab: Lab, scratch: Store, seconds: list[float], written: list[int], step_s: float | None, new_s: float
) -> None:
    found = counted(lab, scratch, seconds, written).means()
    assert found == (step_s if step_s is None else pytest.approx(step_s), pytest.approx(new_s))


def test_steps_are_timed_until_enough_of_known_images_have_come(lab: Lab, scratch: Store) -> None:
    steps = [CLEAR_S] * (4 + LEAST_STEPS)
    assert not counted(lab, scratch, steps[1:], [2]).should_stop()
    assert counted(lab, scratch, steps, [2]).should_stop()
    more = [CLEAR_S / 100] * (4 + MOST_STEPS)
    assert not counted(lab, scratch, more).should_stop()  # all of them take less than a second
    assert counted(lab, scratch, [step * 100 for step in more]).should_stop()
    slow = [LONG_S / 3] * (4 + LEAST_KNOWN)  # the first epoch alone takes too long: the cheaper steps after it tell
    assert not counted(lab, scratch, slow[1:]).should_stop()
    assert counted(lab, scratch, slow).should_stop()
    assert counted(lab, scratch, [2 * LONG_S] * LEAST_STEPS).should_stop()


def test_what_follows_on_the_steps_of_a_training_is_no_step(lab: Lab, scratch: Store) -> None:
    timed = counted(lab, scratch, [9.0, 1.0, 1.0])
    timed.ticks["fit"] += [(12.0 + turn, turn) for turn in (1, 2, 3, 4)]  # of k-means
    assert timed.steps == [9.0, 10.0, 11.0]
    assert timed.means() == (pytest.approx(1.0), 0.0)


def test_later_epochs_of_several_views_meet_new_images_too(lab: Lab, scratch: Store) -> None:
    timed = counted(lab, scratch, [1.0])
    assert timed.first_epoch == 4
    spec = timed.spec.model_copy(update={"features": timed.spec.features.model_copy(update={"views": 2})})
    order = timed.order.model_copy(update={"spec": spec})
    assert _Counted(order, scratch, lambda: False).first_epoch == 0


def test_steps_after_the_warm_up_of_self_training_are_timed_by_themselves(lab: Lab, scratch: Store) -> None:
    text = "runs: [{method: self_training, params: {k: 8, batch_size: 4, steps: 30, warm_up: 0.2}}]"
    (run,) = (one for one in lab.plan(text).unfinished if one.spec.method == "self_training")
    *_, asked = probe_of(run, scratch, Execution(), []).asked
    assert asked.whole is not None
    assert asked.later is not None
    assert asked.warm_up == 0.2
    assert asked.later.spec.params == {**asked.whole.spec.params, "warm_up": NO_WARM_UP}


def test_a_fit_that_starts_from_a_training_is_known_by_its_own_probe(lab: Lab, scratch: Store) -> None:
    text = "runs: [{method: neuralef_kmeans, subset: 50, params: {k: 8, batch_size: 4}, matrix: {steps: [30, 60]}}]"
    runs = [one for one in lab.plan(text).unfinished if one.spec.method == "neuralef_kmeans"]
    probe = probe_of(runs[1], scratch, Execution(), [])
    scratch.write_fit(fit_record(probe.orders[-1].spec, costs=[cost("fit", 1.0).model_copy(update={"items": 4})]))
    (scratch.run_folder(probe.orders[-1].spec.run_id) / FOUND_FILE).write_text(Pace().model_dump_json())
    found = Measurements(found_by(probe, scratch))
    for run in runs:  # whatever the length of what they start from
        (fit,) = (part for part in run.parts if part.kind == "fit")
        assert found.same(fit)
        assert (fit.units, fit.images) == (50, 50)
