"""Views that name clusters: one pass for a finished run, no label looked at, and the same bits however it is done."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from spectral_bench.bench.features.backbones import weights_digest
from spectral_bench.bench.run import execute
from spectral_bench.bench.run.naming import NAMES_STAGE
from spectral_bench.bench.work.worker import ExitCode, Told, main_together
from spectral_bench.common.errors import DataError
from spectral_bench.common.words import Words
from spectral_bench.datasets.files import FileLabels
from spectral_bench.results.naming import nearest_words
from spectral_bench.results.specification import BackboneSpec, Resize, View
from spectral_bench.results.store import Store

PLAIN = View(dataset="camvid", split="val", resize=Resize(mode="exact", size=(64, 96)))
OPTIONS = {"weights": "random", "seed": 1}
NETWORK = BackboneSpec(name="vit_tiny_patch16_224", options=OPTIONS, weights="random-1")
NAMING = PLAIN.model_copy(update={"names": NETWORK})


def carry_out(order, store):
    return execute(order.model_copy(update={"store": store.path}), store=store, should_stop=lambda: False)


def permute_labels(root):
    rng = np.random.default_rng(0)
    for path in (root / "camvid").glob("*annot/*.png"):
        label = np.array(Image.open(path))
        Image.fromarray(rng.permutation(label.ravel()).reshape(label.shape)).save(path)


def remove_labels(root):
    for folder in (root / "camvid").glob("*annot"):
        shutil.rmtree(folder)


def stored(store, order, view=NAMING):
    return (store.run_folder(order.spec.run_id) / "evaluations" / f"{view.view_id}.npz").read_bytes()


def test_views_that_name_nothing_keep_their_identities():
    assert PLAIN.view_id == "5dc479f18458"
    assert "names" not in PLAIN.model_dump(mode="json")
    again = View.model_validate(NAMING.model_dump(mode="json"))
    assert again == NAMING
    assert len({view.view_id for view in (PLAIN, NAMING, again)}) == 2
    moved = NETWORK.model_copy(update={"options": {"weights": "/a/w.pt"}})
    elsewhere = NETWORK.model_copy(update={"options": {"weights": "/b/w.pt"}})
    views = [PLAIN.model_copy(update={"names": network}) for network in (moved, elsewhere)]
    assert views[0].view_id == views[1].view_id != NAMING.view_id


def test_a_finished_run_is_named_by_one_pass_and_nothing_is_trained(store, make_order):
    carry_out(make_order(), store)
    order = make_order(views=(PLAIN, NAMING))
    folder = store.run_folder(order.spec.run_id)
    before = {path: path.stat().st_mtime_ns for path in (*folder.glob("fit.*"), *folder.glob("evaluations/*"))}
    assert len(before) == 4
    assert carry_out(order, store).status == "done"
    assert {path: path.stat().st_mtime_ns for path in before} == before
    record = store.evaluation_record(order.spec.run_id, NAMING.view_id)
    found = store.cluster_vectors(order.spec.run_id, NAMING.view_id)
    assert (record.n_clusters, record.n_images, record.label_files, record.class_sets) == (4, 4, "", {})
    assert found.counts.sum() == 4 * 4 * 6
    assert found.vectors.shape == (4, 192)
    assert [cost.stage for cost in record.costs].count(NAMES_STAGE) == 1
    assert "bench.run.naming" in record.code


@pytest.mark.parametrize("change", [permute_labels, remove_labels])
def test_labels_permuted_or_removed_give_the_same_names_bit_for_bit(change, store, make_order, data_root, tmp_path):
    order = make_order(views=(NAMING,))
    carry_out(order, store)
    change(data_root)
    other = Store.open(tmp_path / "other", create=True)
    carry_out(order, other)
    assert stored(store, order) == stored(other, order)
    rng = np.random.default_rng(0)
    words = Words(("a", "b", "c"), rng.normal(size=(3, 192)).astype(np.float32), np.arange(3))
    names = [nearest_words(s.cluster_vectors(order.spec.run_id, NAMING.view_id), words) for s in (store, other)]
    assert names[0].tolist() == names[1].tolist()


def test_no_label_is_opened(store, make_order, monkeypatch):
    def opened(*args):
        raise AssertionError("a label was looked at")

    monkeypatch.setattr(FileLabels, "__init__", opened)
    assert carry_out(make_order(views=(NAMING,)), store).status == "done"


def test_runs_side_by_side_are_named_as_alone(store, make_order, tmp_path):
    orders = [make_order("kmeans", {"k": k}, views=(PLAIN, NAMING), features=None) for k in (3, 4)]
    together = Store.open(tmp_path / "together", create=True)
    paths = []
    for number, order in enumerate(orders):
        carry_out(order, store)
        path = tmp_path / f"order-{number}.json"
        path.write_text(order.model_copy(update={"store": together.path}).model_dump_json())
        paths.append(path)
    ended = {}
    told = Told(begun=lambda number: None, ended=lambda number, code: ended.update({number: code}))
    main_together(paths, known_failures=[None, None], told=told)
    assert set(ended.values()) == {int(ExitCode.DONE)}
    for order in orders:
        assert stored(store, order) == stored(together, order)


def test_windows_mirrored_images_and_training_images_are_looked_at_as_asked(store, make_order):
    windows = NAMING.model_copy(update={"window": 48, "stride": 32, "flip": "scores"})
    training = NAMING.model_copy(update={"split": "train", "flip": "features"})
    order = make_order(views=(windows, training))
    assert carry_out(order, store).status == "done"
    counts = [store.cluster_vectors(order.spec.run_id, view.view_id).counts.sum() for view in (windows, training)]
    assert counts[0] % (2 * 9) == 0  # of both sides, 3 x 3 patches a window
    assert counts[1] == 4 * 4 * 6


def test_an_interrupted_pass_leaves_nothing_and_is_done_anew(store, make_order):
    order = make_order(views=(NAMING,))
    carry_out(make_order(views=()), store)
    asked = iter([False, False, True])
    assert execute(order, store=store, should_stop=lambda: next(asked, True)).status == "interrupted"
    assert store.evaluation_record(order.spec.run_id, NAMING.view_id) is None
    assert carry_out(order, store).status == "done"


def test_other_weights_than_planned_are_refused(store, make_order):
    assert weights_digest(NETWORK.name, OPTIONS) == "random-1"
    other = NAMING.model_copy(update={"names": NETWORK.model_copy(update={"weights": "random-2"})})
    with pytest.raises(DataError, match="planned with weights random-2; this machine has random-1"):
        carry_out(make_order(views=(other,)), store)
