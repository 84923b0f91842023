from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from spectral_bench.bench.run import execute, load_fit
from spectral_bench.bench.run.fit import STATE_FILE
from spectral_bench.bench.work.order import Order
from spectral_bench.common.errors import ConfigError, DataError, StoreError
from spectral_bench.results.metrics import score
from spectral_bench.results.specification import Features, Resize, Transform, View
from spectral_bench.results.store import Store

EXAMPLE = str(Path(__file__).parents[3] / "examples" / "random_directions.py") + ":RandomDirections"


def never() -> bool:
    return False


def run(order: Order, store: Store) -> str:
    return execute(order, store=store, should_stop=never).status


def state_bytes(order: Order, store: Store) -> bytes:
    return (store.run_folder(order.spec.run_id) / STATE_FILE).read_bytes()


def test_a_run_leaves_a_fit_an_evaluation_and_their_costs(store, make_order):
    order = make_order()
    assert run(order, store) == "done"
    fit = store.fit_record(order.spec.run_id)
    assert fit is not None
    assert (fit.status, fit.n_clusters, fit.uses_labels) == ("done", 4, False)
    assert {cost.stage for cost in fit.costs} >= {"features", "fit"}
    assert all(cost.wall_s >= 0 and cost.peak_rss > 0 for cost in fit.costs)
    assert fit.execution["threads"] == torch.get_num_threads()
    assert "methods.kmeans" in fit.code
    view = order.views[0]
    evaluation = store.evaluation_record(order.spec.run_id, view.view_id)
    assert evaluation is not None
    assert (evaluation.n_images, evaluation.n_clusters, evaluation.n_raw_labels) == (4, 4, 12)
    contingency = store.contingency(order.spec.run_id, view.view_id)
    assert contingency.n_pixels == 4 * 64 * 96
    assert {cost.stage for cost in evaluation.costs} >= {"features", "predict", "evaluate"}


def test_the_contingency_equals_a_literal_computation(store, make_order, data_root):
    from PIL import Image

    from spectral_bench.bench.features.backbones import load_backbone

    order = make_order()
    run(order, store)
    method = load_fit(store, order.spec.run_id)
    backbone = load_backbone(order.spec.backbone.name, order.spec.backbone.options, "cpu")
    counts = np.zeros((4, 12), int)
    from spectral_bench.methods.interface import Crop, PatchBatch

    for path in sorted((data_root / "camvid" / "val").iterdir()):
        image = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None].float() / 255
        levels = tuple(level.half().float() for level in backbone.features(image))
        batch = PatchBatch(levels, torch.zeros(*levels[0].shape[:3], 3), ("x",), (Crop.whole(64, 96),))
        scores = torch.nn.functional.interpolate(method.predict(batch), (64, 96), mode="bilinear")
        label = np.array(Image.open(data_root / "camvid" / "valannot" / path.name))
        np.add.at(counts, (scores[0].argmax(0).numpy(), label), 1)
    stored = store.contingency(order.spec.run_id, order.views[0].view_id).matrix()
    assert np.abs(stored - counts).sum() <= 0.001 * counts.sum()  # pixels half-way between two one-hot scores


def test_what_is_stored_is_not_done_again(store, make_order):
    order = make_order()
    run(order, store)
    folder = store.run_folder(order.spec.run_id)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")}
    assert run(order, store) == "done"
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")} == before


def test_a_view_added_later_evaluates_the_stored_fit(store, make_order):
    order = make_order()
    run(order, store)
    state = store.run_folder(order.spec.run_id) / STATE_FILE
    stamp = state.stat().st_mtime_ns
    more = View(dataset="camvid", split="train", resize=order.views[0].resize)
    assert run(order.model_copy(update={"views": (*order.views, more)}), store) == "done"
    assert store.evaluation_record(order.spec.run_id, more.view_id) is not None
    assert state.stat().st_mtime_ns == stamp


def test_windows_and_centre_crops_are_evaluated_at_their_sizes(store, make_order):
    resize = Resize(mode="short_side", short_side=96)
    windows = View(dataset="camvid", split="val", resize=resize, window=64, stride=32)
    centre = View(dataset="camvid", split="val", resize=resize, centre_crop=80, label_resize=True)
    order = make_order(views=(windows, centre))
    assert run(order, store) == "done"
    full = store.contingency(order.spec.run_id, windows.view_id)
    cropped = store.contingency(order.spec.run_id, centre.view_id)
    assert (full.n_pixels, cropped.n_pixels) == (4 * 64 * 96, 4 * 80 * 80)


def test_the_same_seed_gives_the_same_bytes_whatever_the_workers(store, make_order, tmp_path):
    order = make_order()
    run(order, store)
    other = Store.open(tmp_path / "other", create=True)
    again = make_order(workers=3, inference_batch=2).model_copy(update={"store": other.path})
    run(again, other)
    assert state_bytes(order, store) == state_bytes(again, other)
    view = order.views[0].view_id
    assert store.contingency(order.spec.run_id, view) == other.contingency(order.spec.run_id, view)


def test_another_seed_gives_another_fit(store, make_order):
    one, two = make_order(seed=0), make_order(seed=1)
    run(one, store)
    run(two, store)
    assert state_bytes(one, store) != state_bytes(two, store)


def test_online_features_train_and_evaluate(store, make_order):
    transform = Transform(scale=(0.5, 2.0), crop=64, flip=True, photometric=True)
    order = make_order(features=Features(mode="online"), transform=transform)
    assert run(order, store) == "done"
    assert not (store.path / "features").exists()


def test_features_only_writes_caches_and_no_record(store, make_order):
    order = make_order()
    assert run(order.model_copy(update={"features_only": True}), store) == "done"
    assert store.fit_record(order.spec.run_id) is None
    assert len(list((store.path / "features").glob("*/meta.json"))) == 2
    assert run(order, store) == "done"
    record = store.fit_record(order.spec.run_id)
    assert record is not None
    assert next(cost for cost in record.costs if cost.stage == "features").reused


def test_a_stop_before_the_end_is_no_failure(store, make_order):
    order = make_order()
    assert execute(order, store=store, should_stop=lambda: True).status == "interrupted"
    assert store.fit_record(order.spec.run_id) is None
    assert run(order, store) == "done"


def test_a_third_party_method_needs_no_change_to_the_harness(store, make_order):
    order = make_order(EXAMPLE, {"k": 8})
    assert run(order, store) == "done"
    evaluation = store.evaluation_record(order.spec.run_id, order.views[0].view_id)
    assert evaluation is not None
    scores = score(store.contingency(order.spec.run_id, order.views[0].view_id), evaluation.class_sets["11"], "iou")
    assert 0 <= scores.miou <= 1


def test_neuralef_kmeans_starts_from_the_stored_fit(store, make_order):
    small = {"k": 4, "epochs": 1, "batch_size": 2, "depth": 1, "heads": 1, "head_width": 8, "mlp_width": 16}
    base = make_order("neuralef", small, views=())
    assert run(base, store) in ("done", "not_converged")
    order = make_order("neuralef_kmeans", small, requires=base.spec.run_id)
    assert run(order, store) in ("done", "not_converged")
    assert order.spec.run_id != base.spec.run_id
    fit = store.fit_record(order.spec.run_id)
    assert fit is not None
    assert fit.base == base.spec.run_id
    stages = {cost.stage: cost.reused for cost in fit.costs}
    assert (stages["base"], stages["fit"]) == (True, False)  # loading psi is no part of what k-means costs


def test_a_missing_base_is_named(store, make_order):
    order = make_order("neuralef_kmeans", {"k": 4}, requires="neuralef-s0-0123456789ab")
    with pytest.raises(StoreError, match="neuralef-s0-0123456789ab"):
        run(order, store)


def test_missing_labels_are_an_error_of_the_evaluation_and_never_of_the_fit(store, make_order, data_root):
    shutil.rmtree(data_root / "camvid" / "valannot")
    shutil.rmtree(data_root / "camvid" / "trainannot")
    order = make_order()
    with pytest.raises(DataError, match="valannot"):
        run(order, store)
    fit = store.fit_record(order.spec.run_id)
    assert fit is not None
    assert fit.status == "done"


def test_a_torn_state_is_named(store, make_order):
    order = make_order()
    run(order, store)
    path = store.run_folder(order.spec.run_id) / STATE_FILE
    path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(StoreError, match=STATE_FILE):
        load_fit(store, order.spec.run_id)


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cpu1"])
def test_an_unknown_device_is_refused(store, make_order, name):
    with pytest.raises(ConfigError, match="valid: auto, cpu, cuda"):
        run(make_order(device=name), store)
