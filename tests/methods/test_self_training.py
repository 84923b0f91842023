"""Self-training: what it starts from, what its teacher is, and what it learns."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from spectral_bench.bench.code.records import fit_code
from spectral_bench.common.errors import ConfigError, RunInterrupted
from spectral_bench.methods.neuralef.params import NeuralEFParams
from spectral_bench.methods.neuralef.psi import Psi
from spectral_bench.methods.params import PLAIN, Colours
from spectral_bench.methods.registry import REGISTRY, base_method, base_params, colours_asked, complete_params
from spectral_bench.methods.self_training.method import SelfTraining, _Pair
from spectral_bench.methods.self_training.params import SelfTrainingParams
from spectral_bench.methods.testing import MemoryCheckpoint, Recorder, fit, fit_context, same_state, scenes, stop_after

SMALL = {"k": 5, "batch_size": 2, "heads": 2, "head_width": 4, "mlp_width": 8}
SOURCE, TRUTH = scenes()


def test_it_starts_from_the_fit_of_any_method_without_labels() -> None:
    params = {**SMALL, "start": "nystrom", "start_params": {"samples": 100, "neighbours": 8}}
    assert base_method("self_training", params) == "nystrom"
    assert base_params("self_training", params) == complete_params("nystrom", {"k": 5, "samples": 100, "neighbours": 8})
    assert complete_params("self_training", params)["start_params"]["extension"] == "nearest"


OWN = """
from typing import Any
from spectral_bench.methods.kmeans import KMeans
from spectral_bench.methods.params import Params


class OwnParams(Params):
    k: int = 5
    start: str = "kmeans"


class Own(KMeans):
    Params, fit_from, uses_labels = OwnParams, "any", False

    @staticmethod
    def base_params(params: OwnParams) -> dict[str, Any]:
        return {"k": params.k}


class Marked(Own):
    uses_labels = True
"""


def test_a_method_of_ones_own_that_starts_from_any_gets_no_fit_with_labels_and_no_other_code(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    own, marked = (f"{tmp_path}/own.py:{name}" for name in ("Own", "Marked"))
    assert (base_method(own, {}), base_method(own, {"start": "spin"})) == ("kmeans", "spin")
    for start in ("linear_probe", "oracle", "neuralef_label_leak", own):
        with pytest.raises(ConfigError, match=f"start = {start}: expected a method that ships and uses no labels"):
            base_params(own, {"start": start})
    assert base_method(marked, {"start": "linear_probe"}) == "linear_probe"
    with pytest.raises(ConfigError, match="expected a method that ships: kmeans"):
        base_method(marked, {"start": own})
    assert "methods.linear_probe" not in fit_code(own, "synthetic", "efficientnet_lite0")
    assert "methods.linear_probe" in fit_code(marked, "synthetic", "efficientnet_lite0")


@pytest.mark.parametrize("broken", [True, False])
def test_methods_of_other_packages_are_no_start(monkeypatch: pytest.MonkeyPatch, broken: bool) -> None:
    """Their code is not among that of self_training: whether they are there, or broken, changes no fit of it."""
    usual = fit_code("self_training", "synthetic", "efficientnet_lite0")
    value = "no.such:Thing" if broken else "random:Random"
    point = EntryPoint("theirs", value, REGISTRY.group)
    monkeypatch.setattr(REGISTRY, "_entry_points", lambda: {"theirs": point})
    assert fit_code("self_training", "synthetic", "efficientnet_lite0") == usual
    with pytest.raises(ConfigError, match='start = "theirs": expected the name of a method that uses no labels'):
        complete_params("self_training", {"k": 5, "start": "theirs"})


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"start": "oracle"}, "start = oracle: it uses labels, which would reach the student"),
        ({"start": "kmean"}, 'start = "kmean": expected the name of a method that uses no labels: '),
        ({"start": "mine.py:Mine"}, "expected the name of a method that uses no labels"),
        ({"start_params": {"kk": 3}}, 'start_params: unknown parameter of kmeans "kk"; did you mean "k"'),
        ({"start_params": {"k": 3}}, "start_params.k = 3: the clusters are those of k = 5"),
        ({"depth": 0}, "patch_drop = 0.2: expected 0, as with depth: 0 a patch sees no other"),
    ],
)
def test_a_start_that_cannot_be_is_refused(params: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says.replace("(", r"\(")):
        complete_params("self_training", {"k": 5, **params})


def test_what_the_start_cannot_do_with_is_told_before() -> None:
    params = SelfTrainingParams(**SMALL, start="neuralef", start_params={"batch_size": 9})
    assert params.misfits(8, 400) == {"start_params": "batch_size = 9 is to be at most the 8 training images"}


def test_a_fit_without_the_start_is_refused() -> None:
    with pytest.raises(ConfigError, match="starts from a stored fit of 5 clusters, and was given none"):
        fit("self_training", SMALL, SOURCE, base=fit("kmeans", {"k": 4}, SOURCE))


def test_taught_by_the_start_alone_it_reproduces_its_clusters() -> None:
    base = fit("kmeans", {"k": 5, "input": "all_standardised_l2"}, SOURCE)
    params = {**SMALL, "epochs": 40, "warm_up": 1.0, "lr": 1e-2, "average": 0.9}
    student = fit("self_training", params, SOURCE, base=base)
    batch = SOURCE.batch(range(8))
    assert (student.predict(batch).argmax(1) == base.predict(batch).argmax(1)).float().mean() > 0.98


def test_its_own_teacher_mends_scattered_mistakes_of_the_start() -> None:
    """A tenth of the start's assignments is drawn anew in every batch; what is consistent is learnt."""

    class Noisy:
        n_clusters = 5

        def __init__(self) -> None:
            self.generator = torch.Generator().manual_seed(0)

        def predict(self, batch: Any) -> torch.Tensor:
            classes = TRUTH[[int(name.removeprefix("image")) for name in batch.image_ids]]
            wrong = torch.rand(classes.shape, generator=self.generator) < 0.3
            drawn = torch.randint(5, classes.shape, generator=self.generator)
            return nn.functional.one_hot(torch.where(wrong, drawn, classes), 5).movedim(-1, 1).float()

    recorder = Recorder()
    params = {**SMALL, "epochs": 40, "warm_up": 0.5, "lr": 1e-2, "average": 0.9}
    student = SelfTraining(SelfTrainingParams(**params))
    student.fit(SOURCE, context=fit_context(base=Noisy(), recorder=recorder))  # type: ignore[arg-type]
    assert (student.predict(SOURCE.batch(range(8))).argmax(1) == TRUTH).float().mean() > 0.97
    learnt = [values["learnt"] for _, values in recorder.curve]
    assert learnt[0] == 1.0
    assert 0 < learnt[-1] <= 1
    assert "teacher" in recorder.stages


def test_the_teacher_is_the_moving_average_of_the_student() -> None:
    torch.manual_seed(0)
    pair = _Pair(Psi((3,), 4, depth=1, heads=1, head_width=2, mlp_width=4, constrained=False))
    first = [own.clone() for own in pair.teacher.parameters()]
    with torch.no_grad():
        for own in pair.student.parameters():
            own.add_(torch.randn(own.shape))
    pair.follow(0.9)
    for own, old, new in zip(pair.teacher.parameters(), first, pair.student.parameters(), strict=True):
        torch.testing.assert_close(own, 0.9 * old + 0.1 * new)
    assert not any(own.requires_grad for own in pair.teacher.parameters())


@pytest.mark.parametrize("questions", [3, 9, 14])
def test_it_goes_on_from_its_checkpoint_bit_for_bit(questions: int) -> None:
    params, checkpoint = {**SMALL, "epochs": 4}, MemoryCheckpoint()
    base = fit("kmeans", {"k": 5}, SOURCE)
    with pytest.raises(RunInterrupted):
        fit("self_training", params, SOURCE, base=base, checkpoint=checkpoint, should_stop=stop_after(questions))
    resumed = fit("self_training", params, SOURCE, base=base, checkpoint=checkpoint)
    assert same_state(resumed, fit("self_training", params, SOURCE, base=base))


def test_memory_is_that_of_student_optimiser_and_teacher() -> None:
    params = SelfTrainingParams(k=7, depth=2, heads=3, head_width=4, mlp_width=5)
    network = Psi((8, 6), 7, depth=2, heads=3, head_width=4, mlp_width=5, constrained=False)
    assert params.held_bytes(14) == 20 * sum(one.numel() for one in network.parameters())
    start = {"start": "neuralef", "start_params": {"heads": 2, "head_width": 3, "mlp_width": 4}}
    psi = NeuralEFParams(k=7, **start["start_params"]).held_bytes(14)
    assert psi > 0
    stronger = SelfTrainingParams(**{**params.model_dump(), **start})
    assert stronger.held_bytes(14) == params.held_bytes(14) + psi // 4  # its weights, without their optimiser


def test_it_asks_for_the_pixels_that_its_start_looks_at() -> None:
    start = {"published": True, "segments": 4}
    params = {**SMALL, "epochs": 1, "start": "deep_spectral", "start_params": start}
    assert colours_asked("self_training", params).antialiased
    assert colours_asked("self_training", SMALL) == PLAIN
    finer = {**params, "start_params": {"pixel_grid": 2, "segments": 4}}
    assert colours_asked("self_training", finer) == Colours(samples=2)
    base = fit("deep_spectral", {"k": 5, **start}, SOURCE)
    fit("self_training", params, SOURCE.asked(colours_asked("self_training", params)), base=base)


def test_its_code_is_that_of_all_that_it_may_start_from() -> None:
    code = fit_code("self_training", "synthetic", "efficientnet_lite0")
    assert {"methods.nystrom.method", "methods.spin.method", "methods.self_training.method"} <= code.keys()
    assert "methods.oracle" not in code
