"""Whose functions the evaluation's own prediction gives: never those of a base whose prediction is overridden."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from spectral_bench.bench.evaluation.layout import WindowLayout
from spectral_bench.bench.run.evaluate import scored_images
from spectral_bench.bench.run.health import Foreseen, foresee
from spectral_bench.common.geometry import Crop
from spectral_bench.methods.interface import PatchBatch
from spectral_bench.methods.spin.method import Spin
from spectral_bench.methods.testing import fit, scenes
from spectral_bench.results.specification import View

SPIN: dict[str, Any] = {"k": 4, "functions": 3, "neighbours": 12, "epochs": 1, "batch_size": 4, "width": 8}
VIEW = View(dataset="camvid", split="val")
METER: Any = SimpleNamespace(stage=lambda name: nullcontext())
RUN: Any = SimpleNamespace(spec=SimpleNamespace(data=SimpleNamespace(dataset="camvid", split="train")))


class Otherwise(Spin):
    """Other scores than its base gives beside the functions."""

    def predict(self, batch: PatchBatch) -> Tensor:
        return super().predict(batch).flip(1)


class Turned(Spin):
    """Other functions than its base gives beside the scores."""

    def eigenfunctions(self, batch: PatchBatch) -> Tensor:
        return -super().eigenfunctions(batch)


class Both(Spin):
    """Gives them together itself, and so alone."""

    def predict_with_functions(self, batch: PatchBatch) -> tuple[Tensor, Tensor]:
        scores, functions = super().predict_with_functions(batch)
        return scores.flip(1), functions


class Oracle(Spin):
    """Its scores are those of ``predict_labelled``."""

    labels_at_prediction = True


@pytest.mark.parametrize(("kind", "wanted"), [(Spin, 2), (Otherwise, 0), (Turned, 0), (Both, 2), (Oracle, 0)])
def test_functions_beside_scores_are_asked_of_who_gives_both(kind: type[Spin], wanted: int) -> None:
    features: Any = SimpleNamespace(image_ids=("a", "b"))
    method: Any = kind(Spin.Params(**SPIN))
    foreseen = foresee(RUN, VIEW, method, features, METER)
    assert foreseen is not None
    assert foreseen.fresh == ("a", "b")
    assert len(foreseen.wanted) == wanted


@pytest.mark.parametrize("kind", [Spin, Otherwise, Both])
def test_every_image_gets_the_scores_of_predict(kind: type[Spin]) -> None:
    source, _ = scenes(8, (5, 6))
    method: Any = kind(Spin.Params(**SPIN))
    method.load_state_dict(fit("spin", SPIN, source).state_dict())
    batch = source.batch([3])
    features: Any = SimpleNamespace(image_ids=batch.image_ids)
    foreseen = foresee(RUN, VIEW, method, features, METER)
    assert isinstance(foreseen, Foreseen)
    item: Any = SimpleNamespace(image_id="x", patches=batch, original=(5, 6), cover=(5, 6))
    with pytest.MonkeyPatch.context() as patch:
        layout = WindowLayout((Crop.whole(5, 6),), (5, 6), (5, 6), Crop.whole(5, 6), (5, 6))
        patch.setattr("spectral_bench.bench.run.evaluate.window_layout", lambda *arguments: layout)
        (scored,) = scored_images(method, VIEW, [item], device=torch.device("cpu"), foreseen=foreseen)
    assert torch.equal(scored.scores, method.predict(batch))
