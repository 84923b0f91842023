"""A method that asks for antialiased or finer pixels gets the same ones wherever its images are looked at."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from spectral_bench.bench.predict.images import Wanted, predict
from spectral_bench.bench.predict.panels import make_panels
from spectral_bench.bench.run import execute
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.reports.gallery.panels import WantedPanel
from spectral_bench.results.specification import Features

SMALL = {"k": 4, "eigenvectors": 3, "segments": 6}


@pytest.fixture(params=[{"published": True}, {"pixel_grid": 2}], ids=["antialiased", "finer"])
def orders(request, store, make_order):
    """The same fit and evaluation on cached features in float32 and on computed ones."""
    made = [
        make_order("deep_spectral", SMALL | request.param, features=features)
        for features in (Features(dtype="float32"), Features(mode="online"))
    ]
    for order in made:
        execute(order, store=store, should_stop=lambda: False)
    return made


def test_counts_masks_and_panels_agree(store, orders, data_root, tmp_path):
    view = orders[0].views[0]
    counts = [store.contingency(order.spec.run_id, view.view_id) for order in orders]
    np.testing.assert_array_equal(counts[0].matrix(), counts[1].matrix())
    run_id = orders[0].spec.run_id
    images = sorted((data_root / "camvid" / "val").iterdir())
    for index, path in enumerate(
        predict(store, run_id, images, tmp_path / "masks", wanted=Wanted(overlays=False))[:-1]
    ):
        found = np.bincount(np.array(Image.open(path)).ravel(), minlength=4)
        np.testing.assert_array_equal(found, counts[0].matrix([index]).sum(1))
    wanted = [WantedPanel(run_id, view, "val1")]
    assert make_panels(store, wanted, DataRoots((data_root,)), device="cpu") == []
    assert all(check.passed for check in store.evaluation_record(run_id, view.view_id).health)
