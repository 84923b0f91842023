"""No label can reach a method that does not declare it, and labels decide what the others learn.

Fits of methods without labels are bit-identical whatever the labels are, and when there are none.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spectral_bench.bench.run import execute
from spectral_bench.bench.run.fit import STATE_FILE
from spectral_bench.common.errors import DataError
from spectral_bench.datasets.files import FileLabels
from spectral_bench.methods.registry import METHODS
from spectral_bench.methods.testing import text_file
from spectral_bench.results.specification import Resize, View
from spectral_bench.results.store import Store

TINY = {
    "epochs": 2,
    "batch_size": 2,
    "depth": 1,
    "heads": 1,
    "head_width": 8,
    "mlp_width": 16,
    "functions": 3,
    "width": 8,
    "archive": 2,
}
LABEL_FREE = [name for name, entry in METHODS.items() if not entry.facts.uses_labels and entry.facts.fit_from is None]
LEARNING = [name for name, entry in METHODS.items() if entry.facts.uses_labels and not entry.facts.labels_at_prediction]
VIEW = View(dataset="camvid", split="val", resize=Resize(mode="exact", size=(64, 96)))


def small(method: str) -> dict[str, int | str]:
    """Parameters of a fit of a moment, out of those that the method has."""
    facts = METHODS[method].facts
    own = {name: value for name, value in TINY.items() if name in facts.params.model_fields}
    text = {"text": text_file(11, 192)} if "text" in facts.params.model_fields else {}
    return {**text, "k": 11 if facts.classes_as_clusters else 4, **own}


def permute_labels(root: Path) -> None:
    rng = np.random.default_rng(0)
    for path in (root / "camvid").glob("*annot/*.png"):
        label = np.array(Image.open(path))
        Image.fromarray(rng.permutation(label.ravel()).reshape(label.shape)).save(path)


def remove_labels(root: Path) -> None:
    for folder in (root / "camvid").glob("*annot"):
        shutil.rmtree(folder)


@pytest.fixture
def fit_again(make_order, store, data_root, tmp_path):
    """The states of a fit before and after a change of the labels."""

    def states(method, change):
        order = make_order(method, small(method), views=())
        execute(order, store=store, should_stop=lambda: False)
        change(data_root)
        other = Store.open(tmp_path / "other", create=True)
        execute(order.model_copy(update={"store": other.path}), store=other, should_stop=lambda: False)
        return [(s.run_folder(order.spec.run_id) / STATE_FILE).read_bytes() for s in (store, other)]

    return states


@pytest.mark.parametrize("change", [permute_labels, remove_labels])
@pytest.mark.parametrize("method", LABEL_FREE)
def test_labels_change_nothing(method, change, fit_again):
    first, second = fit_again(method, change)
    assert first == second


@pytest.mark.parametrize("method", LABEL_FREE)
def test_the_loader_of_labels_is_never_opened_for_a_method_without(method, make_order, store, monkeypatch):
    def opened(*args):
        raise AssertionError("a label was looked at")

    monkeypatch.setattr(FileLabels, "__init__", opened)
    execute(make_order(method, small(method), views=()), store=store, should_stop=lambda: False)


@pytest.mark.parametrize("method", LEARNING)
def test_labels_change_the_fit_of_a_method_that_uses_them(method, fit_again):
    first, second = fit_again(method, permute_labels)
    assert first != second


def test_a_record_tells_which_labels_a_fit_was_handed(make_order, store, data_root, tmp_path):
    order = make_order("linear_probe", small("linear_probe"), views=())
    execute(order, store=store, should_stop=lambda: False)
    permute_labels(data_root)
    other = Store.open(tmp_path / "other", create=True)
    execute(order.model_copy(update={"store": other.path}), store=other, should_stop=lambda: False)
    first, second = (s.fit_record(order.spec.run_id) for s in (store, other))
    assert first.data_digest == second.data_digest
    assert len(first.label_digest) == 16
    assert first.label_digest != second.label_digest
    free = make_order("kmeans", small("kmeans"), views=())
    execute(free, store=store, should_stop=lambda: False)
    assert store.fit_record(free.spec.run_id).label_digest == ""


@pytest.mark.parametrize("method", [*LEARNING, "oracle"])
@pytest.mark.parametrize("fault", ["missing", "corrupt", "size"])
def test_a_bad_label_is_told_by_its_file_before_the_fit(method, fault, make_order, store, data_root):
    path = data_root / "camvid" / "trainannot" / "train2.png"
    if fault == "missing":
        path.unlink()
    elif fault == "corrupt":
        path.write_bytes(path.read_bytes()[:40])
    else:
        Image.fromarray(np.zeros((10, 10), np.uint8)).save(path)
    order = make_order(method, small(method), views=())
    with pytest.raises(DataError, match=r"train2\.png|trainannot"):
        execute(order, store=store, should_stop=lambda: False)
    assert not (store.path / "features").exists()  # nothing was begun
    assert store.fit_record(order.spec.run_id) is None


def test_a_label_outside_of_the_subset_is_not_asked_for(make_order, store, data_root):
    order = make_order("linear_probe", {**small("linear_probe"), "batch_size": 1}, views=())
    data = order.spec.data.model_copy(update={"subset": 1})
    order = order.model_copy(update={"spec": order.spec.model_copy(update={"data": data})})
    execute(order, store=store, should_stop=lambda: False)
    assert store.fit_record(order.spec.run_id).uses_labels


def test_an_oracle_reads_the_labels_of_the_evaluated_images(make_order, store, data_root):
    order = make_order("oracle", small("oracle"), views=(VIEW,))
    assert execute(order, store=store, should_stop=lambda: False).status == "done"
    counts = store.contingency(order.spec.run_id, VIEW.view_id)
    dense = np.zeros((counts.n_clusters, counts.n_labels), np.int64)
    np.add.at(dense, (counts.cluster, counts.label), counts.count)
    assert dense.diagonal().sum() / dense.sum() > 0.95  # blocks of the size of a patch: only their borders blur
    record = store.fit_record(order.spec.run_id)
    assert (record.uses_labels, record.parameters) == (True, 0)


def test_an_oracle_has_nothing_to_say_of_images_without_labels(make_order, store, data_root):
    order = make_order("oracle", small("oracle"), views=(VIEW,))
    shutil.rmtree(data_root / "camvid" / "valannot")
    with pytest.raises(DataError, match="valannot"):
        execute(order, store=store, should_stop=lambda: False)


def test_the_time_for_labels_is_a_stage_of_its_own(make_order, store):
    order = make_order("linear_probe", small("linear_probe"), views=())
    execute(order, store=store, should_stop=lambda: False)
    stages = {cost.stage: cost for cost in store.fit_record(order.spec.run_id).costs}
    assert stages["labels"].items == 4
    assert stages["labels"].wall_s > 0
