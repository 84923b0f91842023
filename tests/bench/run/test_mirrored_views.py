"""Evaluations that average in the mirrored image, from the order to the record."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from spectral_bench.bench.evaluation.layout import full_scores
from spectral_bench.bench.features.views import fresh_features
from spectral_bench.bench.predict.panels import make_panels
from spectral_bench.bench.run import execute
from spectral_bench.bench.run.evaluate import scored_images
from spectral_bench.bench.run.fit import load_fit
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.datasets.registry import open_data
from spectral_bench.reports.gallery.panels import WantedPanel
from spectral_bench.results.specification import Resize, View

PLAIN = View(dataset="camvid", split="val", resize=Resize(mode="exact", size=(64, 90)))


def flipped(flip, view: View = PLAIN) -> View:
    return View.model_validate({**view.model_dump(), "flip": flip})


def test_views_without_a_mirrored_image_keep_the_identities_of_before() -> None:
    assert PLAIN.view_id == "2d8e7896a952"
    assert flipped(False) == flipped(None) == PLAIN
    assert "flip" not in PLAIN.model_dump_json()
    assert flipped(True) == flipped("features")
    assert len({PLAIN.view_id, flipped("features").view_id, flipped("scores").view_id}) == 3
    with pytest.raises(ValidationError, match="'features' or 'scores'"):
        flipped("both")


def test_it_is_another_view_of_the_same_fit(store, make_order) -> None:
    order = make_order(params={"k": 4, "scores": "distance"}, views=(PLAIN, flipped("scores"), flipped("features")))
    assert execute(order, store=store, should_stop=lambda: False).status == "done"
    records = [store.evaluation_record(order.spec.run_id, view.view_id) for view in order.views]
    counts = [store.contingency(order.spec.run_id, view.view_id) for view in order.views]
    assert counts[0] != counts[1]
    assert all(np.array_equal(one.matrix([0]).sum(0), counts[0].matrix([0]).sum(0)) for one in counts)  # same labels
    assert [record.flops_features for record in records[1:]] == [2 * records[0].flops_features] * 2
    assert [record.flops_predict // records[0].flops_predict for record in records] == [1, 2, 1]
    reused = [cost.reused for record in records for cost in record.costs if cost.stage == "features"]
    assert reused[-1]  # features and scores are of one cache


def scores_of(store, order, view: View, image: str, turned: bool = False) -> torch.Tensor:
    """(H, W, K) scores of an image, or of the mirrored image, at the pixels of its label."""
    data = open_data("camvid", DataRoots(order.data_roots))

    class Images:
        def image(self, image_id: str) -> np.ndarray:
            shown = data.images("val").image(image_id)
            return np.ascontiguousarray(shown[:, ::-1]) if turned else shown

    how = {"folder": store.features_folder, "device": torch.device("cpu"), "workers": 0}
    features = fresh_features(view, order.spec.backbone, images=Images(), ids=(image,), **how)
    method = load_fit(store, order.spec.run_id, torch.device("cpu"))
    (scored,) = scored_images(method, view, features, device=torch.device("cpu"))
    return full_scores(scored.scores, scored.layout)


@pytest.mark.parametrize(
    "look",
    [
        pytest.param({}, id="padded at the right"),
        pytest.param({"resize": {"mode": "exact", "size": [64, 96]}}, id="whole patches"),
        pytest.param({"resize": {"mode": "exact", "size": [64, 112]}, "window": 48, "stride": 32}, id="windows"),
        pytest.param({"resize": {"mode": "exact", "size": [64, 91]}, "window": 91, "stride": 91}, id="larger window"),
        pytest.param({"centre_crop": 58, "label_resize": True}, id="padded centre crop"),
    ],
)
def test_scores_are_the_mean_at_the_pixels_of_the_label(store, make_order, look) -> None:
    plain = View.model_validate({**PLAIN.model_dump(), **look})
    order = make_order(params={"k": 4, "scores": "distance"}, views=())
    execute(order, store=store, should_stop=lambda: False)
    one, other = (scores_of(store, order, plain, "val1", turned) for turned in (False, True))
    found = scores_of(store, order, flipped("scores", plain), "val1")
    gap = (found - (one + other.flip(1)) / 2).abs().max()  # a mirrored image is resized to within a grey level
    assert gap < 0.02 * (found - one).abs().max()


def test_of_distances_of_whole_patches_features_and_scores_give_the_same_clusters(store, make_order) -> None:
    """Minus the squared distance is linear in the feature but for a term that all clusters share."""
    plain = View.model_validate({**PLAIN.model_dump(), "resize": {"mode": "exact", "size": [64, 96]}})
    order = make_order(params={"k": 4, "scores": "distance", "input": "last"}, views=())
    execute(order, store=store, should_stop=lambda: False)
    scores, features = (scores_of(store, order, flipped(flip, plain), "val1") for flip in ("scores", "features"))
    gaps = scores - features
    torch.testing.assert_close(gaps, gaps[..., :1].expand_as(gaps), rtol=1e-3, atol=1e-3)
    assert float((scores.argmax(-1) == features.argmax(-1)).float().mean()) > 0.999


@pytest.mark.parametrize("flip", ["features", "scores"])
def test_panels_show_what_was_scored(store, make_order, data_root, flip: str) -> None:
    view = flipped(flip)
    order = make_order(views=(view,))
    execute(order, store=store, should_stop=lambda: False)
    wanted = [WantedPanel(order.spec.run_id, view, "val2")]
    assert make_panels(store, wanted, DataRoots((data_root,)), device="cpu") == []
