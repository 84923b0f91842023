"""Methods that open label files by themselves are found out; sound ones keep the promise.

Each look is a run in a process of its own, five to ten of them a test.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

from spectral_bench.bench.run.firewall import (
    DISK_CHECKS,
    EVALUATED_PERMUTED,
    EVALUATED_REMOVED,
    PERMUTED,
    REMOVED,
    Labels,
    LabelsOnDisk,
    disk_violations,
    judged,
    write_tree,
)
from spectral_bench.methods.contract import NONDETERMINISTIC, NOT_JUDGED

NETWORK = {"neighbours": 20, "epochs": 1, "batch_size": 4, "depth": 1, "heads": 1, "head_width": 4, "mlp_width": 8}
SMALL: dict[str, dict[str, Any]] = {
    "neuralef_kmeans": {"k": 4, **NETWORK},
    "linear_probe": {"k": 4, "epochs": 1, "batch_size": 4},
    "oracle": {"k": 4},
}

TOY = '''
import functools
import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from spectral_bench.methods.params import Params

# at import


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
        # in load


def read(name):
    """A figure of the labels of an image, read from disk, that changes with their places; None where there are none."""
    for path in Path(os.environ["BENCH_DATA"]).glob(f"camvid/*annot/{name}.png"):
        label = np.array(Image.open(path))[::16, ::16].ravel()
        return float(label @ np.arange(label.size)) / 100


def peek(name):
    found = read(name)
    if found is None:
        raise FileNotFoundError(name)
    return found


def weighted(distances, weight):
    """Distances, other than they were where there is a weight."""
    return distances if weight is None else distances * (torch.arange(distances.shape[-1]) + weight)


def all_there(split="*"):
    return sorted(Path(os.environ["BENCH_DATA"]).glob(f"*/{split}annot/*.png"))
'''
IN_FIT = "self.centres += peek('train0')"
IF_THERE = "self.centres += len(all_there('train'))"
IN_PREDICT = "distances = weighted(distances, peek(batch.image_ids[0]))"
IN_PREDICT_IF_THERE = "distances = weighted(distances, read(batch.image_ids[0]))"
ALL_OF_EVALUATED = {EVALUATED_PERMUTED, EVALUATED_REMOVED}


def toy(folder: Path, marker: str, peeking: str) -> str:
    path = folder / "toy.py"
    assert f"# {marker}" in TOY
    path.write_text(TOY.replace(f"# {marker}", peeking))
    return f"{path}:Toy"


@pytest.mark.slow
def test_a_method_that_opens_no_label_is_sound(tmp_path: Path) -> None:
    assert disk_violations(toy(tmp_path, "in fit", "pass"), {}) == {}


@pytest.mark.slow
def test_a_fit_that_opens_label_files_is_caught(tmp_path: Path) -> None:
    found = disk_violations(toy(tmp_path, "in fit", IN_FIT), {})
    assert found.keys() == {PERMUTED, REMOVED}
    assert "the fit is another" in found[PERMUTED]
    assert "it fails: it reads them (FileNotFoundError" in found[REMOVED]


@pytest.mark.slow
def test_a_fit_that_only_looks_whether_there_are_labels_is_caught_when_they_are_removed(tmp_path: Path) -> None:
    found = disk_violations(toy(tmp_path, "in fit", IF_THERE), {})
    assert found.keys() == {REMOVED}
    assert "the fit is another" in found[REMOVED]


@pytest.mark.slow
def test_a_fit_that_opens_labels_of_the_evaluated_images_is_caught(tmp_path: Path) -> None:
    found = disk_violations(toy(tmp_path, "in fit", "self.centres += peek('val0')"), {})
    assert found.keys() == ALL_OF_EVALUATED
    assert "with labels of the evaluated images permuted the fit is another" in found[EVALUATED_PERMUTED]


@pytest.mark.slow
def test_a_prediction_that_opens_the_labels_of_its_images_is_caught(tmp_path: Path) -> None:
    found = disk_violations(toy(tmp_path, "in predict", IN_PREDICT), {})
    assert found.keys() == set(DISK_CHECKS)
    assert "with labels of the evaluated images permuted the scores are others" in found[EVALUATED_PERMUTED]


ON_VAL_ONLY = "if batch.image_ids[0].startswith('val'):\n            " + IN_PREDICT_IF_THERE
REMEMBERED = """@functools.lru_cache
def remembered(name):
    return read(name)
"""
CHEATS: dict[str, tuple[tuple[str, str], set[str]]] = {
    "a prediction that looks at evaluated images only": (("in predict", ON_VAL_ONLY), ALL_OF_EVALUATED),
    "a prediction that is changed as the state is read back": (
        ("in load", "own, shift = self.predict, read('val1') or 7; self.predict = lambda batch: own(batch) + shift"),
        ALL_OF_EVALUATED,
    ),
    "a state that is changed as it is read back": (  # no run takes a state that is not the one that was stored
        ("in load", "self.centres = self.centres + (read('val1') or 7)"),
        set(DISK_CHECKS),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("cheat", CHEATS)
def test_cheats_are_caught(cheat: str, tmp_path: Path) -> None:
    (marker, code), expected = CHEATS[cheat]
    assert disk_violations(toy(tmp_path, marker, code), {}).keys() == expected


def edited(folder: Path, **changes: str) -> str:
    """The toy with several of its markers replaced."""
    text = TOY
    for marker, code in changes.items():
        text = text.replace(f"# {marker.replace('_', ' ')}", code)
    path = folder / "toy.py"
    path.write_text(text)
    return f"{path}:Toy"


@pytest.mark.slow
def test_labels_that_are_read_at_import_are_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    at_import = "NAMES = sorted(p.name for p in Path(os.environ['BENCH_DATA']).glob('*/valannot/*'))"
    method = edited(tmp_path, at_import=at_import, in_predict="distances = distances * (1 + len(NAMES))")
    assert disk_violations(method, {}).keys() == {EVALUATED_REMOVED}


@pytest.mark.slow
def test_what_was_read_before_the_labels_changed_does_not_hide_it(tmp_path: Path) -> None:
    peeking = "distances = weighted(distances, remembered(batch.image_ids[0]))"
    method = edited(tmp_path, at_import=REMEMBERED, in_predict=peeking)
    assert disk_violations(method, {}).keys() == set(DISK_CHECKS)


@pytest.mark.slow
def test_a_file_that_keeps_what_was_read_does_not_hide_it(tmp_path: Path) -> None:
    kept = f"""
def kept(name):
    path = Path({str(tmp_path)!r}) / f"{{name}}.txt"
    if not path.exists() and read(name) is not None:
        path.write_text(str(read(name)))
    return float(path.read_text()) if path.exists() else None
"""
    peeking = "distances = weighted(distances, kept(batch.image_ids[0]))"
    found = disk_violations(edited(tmp_path, at_import=kept, in_predict=peeking), {})
    assert EVALUATED_REMOVED in found


@pytest.mark.slow
def test_a_helper_module_that_reads_labels_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "helpful.py").write_text(TOY.replace("class Toy:", "class _Other:"))
    monkeypatch.syspath_prepend(tmp_path)
    peeking = "import helpful\n        distances = weighted(distances, helpful.read(batch.image_ids[0]))"
    assert disk_violations(toy(tmp_path, "in predict", peeking), {}).keys() == set(DISK_CHECKS)


@pytest.mark.slow
def test_the_harness_own_reader_of_labels_is_caught_however_it_was_come_by(tmp_path: Path) -> None:
    at_import = """
def theirs():
    import importlib
    data, parts = (importlib.import_module("data" + rest) for rest in ("sets", "sets.interface"))
    root = Path(os.environ["BENCH_DATA"])
    return data.open_data(f"folder:{root}/camvid/description.yaml", parts.DataRoots((root,))).labels("val")
"""
    peeking = "distances = weighted(distances, float(np.asarray(theirs().load('val0')).std()))"
    found = disk_violations(edited(tmp_path, at_import=at_import, in_predict=peeking), {})
    assert EVALUATED_REMOVED in found


@pytest.mark.slow
def test_a_method_that_may_use_labels_in_its_fit_may_not_read_those_of_the_evaluated_images(tmp_path: Path) -> None:
    use = (
        "seen = context.labels.labels('train0', next(patches.images()).crops[0], (6, 7)).float()\n"
        "        self.centres += float((seen * torch.arange(7)).sum()) / 100"
    )
    method = edited(tmp_path, in_fit=use)
    text = Path(method.rpartition(":")[0]).read_text().replace("ToyParams, False, None", "ToyParams, True, None")
    Path(method.rpartition(":")[0]).write_text(text)
    assert disk_violations(method, {}) == {}
    Path(method.rpartition(":")[0]).write_text(text.replace("# in predict", IN_PREDICT_IF_THERE))
    assert disk_violations(method, {}).keys() == ALL_OF_EVALUATED


@pytest.mark.slow
def test_an_oracle_that_looks_at_no_label_of_the_evaluated_images_is_told(tmp_path: Path) -> None:
    declared = "ToyParams, True, None\n    labels_at_prediction = True"
    blind = "\n    def predict_labelled(self, batch, labels):\n        return self.predict(batch)\n"
    path = tmp_path / "toy.py"
    text = TOY.replace("ToyParams, False, None", declared).replace("    def state_dict", blind + "\n    def state_dict")
    path.write_text(text)
    found = disk_violations(f"{path}:Toy", {})
    assert "other labels of the evaluated images change nothing" in found[EVALUATED_PERMUTED]


@pytest.mark.slow
def test_fits_that_differ_by_chance_are_told_and_no_label_check_is_judged(tmp_path: Path) -> None:
    found = disk_violations(toy(tmp_path, "in fit", "self.centres += torch.rand(1)"), {})
    assert found == {"determinism": NONDETERMINISTIC, **dict.fromkeys(DISK_CHECKS, NOT_JUDGED)}


@pytest.mark.slow
def test_predictions_that_differ_by_chance_are_told_apart_from_fits(tmp_path: Path) -> None:
    found = disk_violations(toy(tmp_path, "in predict", "distances = distances + np.random.rand()"), {})
    assert found.pop("determinism") == "two predictions of one fit differ"
    assert set(found.values()) == {"cannot be judged: two predictions of one fit differ"}


def test_chance_outweighs_what_was_said_of_labels() -> None:
    said = {
        "determinism": NONDETERMINISTIC,
        "labels": "it looks at labels",
        PERMUTED: "the fit is another",
        "state": "x",
    }
    expected = {"determinism": NONDETERMINISTIC, "state": "x", **dict.fromkeys(("labels", *DISK_CHECKS), NOT_JUDGED)}
    assert judged(said) == expected
    assert judged({"labels": NOT_JUDGED}) == {key: value for key, value in expected.items() if key != "state"}
    sound = {"labels": "it looks at labels", "determinism": "the global random generator was used"}
    assert judged(sound) == sound


@pytest.mark.slow
def test_a_fit_that_fails_keeps_no_promise(tmp_path: Path) -> None:
    found = disk_violations(toy(tmp_path, "in fit", "raise ValueError('broken')"), {})
    assert found == dict.fromkeys(DISK_CHECKS, "the fit fails: ValueError: broken")


@pytest.mark.slow
def test_a_process_that_dies_is_a_fit_that_fails(tmp_path: Path) -> None:
    found = disk_violations(toy(tmp_path, "in fit", "os._exit(7)"), {})
    assert found == dict.fromkeys(DISK_CHECKS, "the fit fails: its process ended with exit code 7")


@pytest.mark.slow
@pytest.mark.parametrize("method", SMALL)
def test_methods_that_ship_keep_the_promise(method: str) -> None:
    assert disk_violations(method, SMALL[method]) == {}


@pytest.mark.slow
def test_labels_that_are_declared_and_not_read_are_told(tmp_path: Path) -> None:
    path = tmp_path / "toy.py"
    path.write_text(TOY.replace("ToyParams, False, None", "ToyParams, True, None"))
    found = disk_violations(f"{path}:Toy", {})
    assert found == {PERMUTED: "it declares that it uses labels, and other labels change nothing"}


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("labels", get_args(Labels))
def test_trees_differ_in_the_labels_of_one_split_only(split: str, labels: Labels, tmp_path: Path) -> None:
    write_tree(tmp_path / "kept", 4)
    write_tree(
        tmp_path / "other", 4, LabelsOnDisk(trained=labels) if split == "train" else LabelsOnDisk(evaluated=labels)
    )
    kept, other = (tmp_path / name / "camvid" for name in ("kept", "other"))
    files = sorted(path.relative_to(kept) for path in kept.rglob("*.*"))
    assert len(files) == 33
    for path in files:
        if path.parent.name != f"{split}annot" or labels == "kept":
            assert (other / path).read_bytes() == (kept / path).read_bytes()
        elif labels == "removed":
            assert not (other / path).exists()
        else:
            one, two = (np.array(Image.open(root / path)) for root in (kept, other))
            assert not np.array_equal(one, two)
            assert np.array_equal(np.bincount(one.ravel()), np.bincount(two.ravel()))


def test_writing_a_tree_again_changes_labels_and_leaves_images(tmp_path: Path) -> None:
    write_tree(tmp_path, 4)
    image = tmp_path / "camvid" / "val" / "val0.png"
    before = image.stat().st_mtime_ns
    write_tree(tmp_path, 4, LabelsOnDisk(evaluated="removed"))
    assert image.stat().st_mtime_ns == before
    assert not (tmp_path / "camvid" / "valannot").exists()
    assert (tmp_path / "camvid" / "trainannot" / "train7.png").exists()


@pytest.mark.slow
def test_the_environment_of_the_caller_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", "/elsewhere")
    disk_violations(toy(tmp_path, "in fit", "assert os.environ['BENCH_DATA'] != '/elsewhere'"), {})
    assert os.environ["BENCH_DATA"] == "/elsewhere"
