"""Methods that open label files by themselves are found out; sound ones keep the promise."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from spectral_bench.bench.run import firewall
from spectral_bench.bench.run.firewall import DISK_CHECKS, PERMUTED, REMOVED, disk_violations, write_tree

NETWORK = {"neighbours": 20, "epochs": 1, "batch_size": 4, "depth": 1, "heads": 1, "head_width": 4, "mlp_width": 8}
SMALL: dict[str, dict[str, Any]] = {
    "kmeans": {"k": 4},
    "neuralef_kmeans": {"k": 4, **NETWORK},
    "linear_probe": {"k": 4, "epochs": 1, "batch_size": 4},
    "oracle": {"k": 4},
}

TOY = '''
import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from spectral_bench.methods.params import Params


class ToyParams(Params):
    k: int = 4


class Toy:
    """The first K patches as centres."""

    Params, uses_labels, fit_from = ToyParams, False, None

    def __init__(self, params):
        self.n_clusters = params.k

    def fit(self, patches, *, context):
        self.centres = patches.subsample(self.n_clusters).features[-1].clone()
        # in fit
        return self

    def predict(self, batch):
        distances = (batch.features[-1][..., None, :] - self.centres).square().sum(-1)
        # in predict
        return -distances.permute(0, 3, 1, 2)

    def state_dict(self):
        return {"centres": self.centres}

    def load_state_dict(self, state):
        self.centres = state["centres"]


def peek(name):
    """The mean label of an image, read from disk."""
    path = Path(os.environ["BENCH_DATA"]) / "camvid" / "trainannot" / f"{name}.png"
    return float(np.array(Image.open(path))[:16].std())


def all_there():
    return sorted(Path(os.environ["BENCH_DATA"]).glob("*/*annot/*.png"))
'''
IN_FIT = "self.centres += peek('train0')"
IF_THERE = "self.centres += len(all_there())"
IN_PREDICT = "distances = distances * (torch.arange(self.n_clusters) + peek(batch.image_ids[0]))"


def toy(folder: Path, marker: str, peeking: str) -> str:
    path = folder / "toy.py"
    path.write_text(TOY.replace(f"# in {marker}", peeking))
    return f"{path}:Toy"


def test_a_method_that_opens_no_label_is_sound(tmp_path: Path) -> None:
    assert disk_violations(toy(tmp_path, "fit", "pass"), {}) == {}


def test_a_fit_that_opens_label_files_is_caught(tmp_path: Path) -> None:
    found = disk_violations(toy(tmp_path, "fit", IN_FIT), {})
    assert "the fit is another" in found[PERMUTED]
    assert "the fit fails" in found[REMOVED]


def test_a_fit_that_only_looks_whether_there_are_labels_is_caught_when_they_are_removed(tmp_path: Path) -> None:
    found = disk_violations(toy(tmp_path, "fit", IF_THERE), {})
    assert found.keys() == {REMOVED}
    assert "the fit is another" in found[REMOVED]


def test_a_prediction_that_opens_label_files_is_caught(tmp_path: Path) -> None:
    found = disk_violations(toy(tmp_path, "predict", IN_PREDICT), {})
    assert "the scores are others" in found[PERMUTED]
    assert found.keys() == set(DISK_CHECKS)


def test_a_fit_that_fails_keeps_no_promise(tmp_path: Path) -> None:
    found = disk_violations(toy(tmp_path, "fit", "raise ValueError('broken')"), {})
    assert found == dict.fromkeys(DISK_CHECKS, "the fit fails: ValueError: broken")


@pytest.mark.parametrize("method", SMALL)
def test_methods_that_ship_keep_the_promise(method: str) -> None:
    assert disk_violations(method, SMALL[method]) == {}


def test_labels_that_are_declared_and_not_read_are_told(tmp_path: Path) -> None:
    path = tmp_path / "toy.py"
    path.write_text(TOY.replace("ToyParams, False, None", "ToyParams, True, None"))
    found = disk_violations(f"{path}:Toy", {})
    assert found == {PERMUTED: "it declares that it uses labels, and other labels change nothing"}


def test_trees_differ_in_their_labels_only(tmp_path: Path) -> None:
    for labels in ("kept", "permuted", "removed"):
        write_tree(tmp_path / labels, 4, labels)
    kept, permuted, removed = (tmp_path / labels / "camvid" for labels in ("kept", "permuted", "removed"))
    assert not (removed / "trainannot").exists()
    for path in (kept / "train").iterdir():
        assert all((other / "train" / path.name).read_bytes() == path.read_bytes() for other in (permuted, removed))
        one, two = (np.array(Image.open(root / "trainannot" / path.name)) for root in (kept, permuted))
        assert not np.array_equal(one, two)
        assert np.array_equal(np.bincount(one.ravel()), np.bincount(two.ravel()))


@pytest.mark.parametrize("before", [None, "/elsewhere"])
def test_the_data_root_of_the_environment_is_restored(
    before: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCH_DATA", raising=False)
    if before is not None:
        monkeypatch.setenv("BENCH_DATA", before)
    with firewall._data_root(tmp_path):
        assert os.environ["BENCH_DATA"] == str(tmp_path)
    assert os.environ.get("BENCH_DATA") == before
