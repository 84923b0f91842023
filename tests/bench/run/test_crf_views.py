"""Evaluations with a CRF: another view of the same fit."""

from __future__ import annotations

import sys

import pytest

from spectral_bench.bench.run import execute
from spectral_bench.common.errors import ConfigError
from spectral_bench.results.specification import Crf, Resize, View

PLAIN = View(dataset="camvid", split="val", resize=Resize(mode="exact", size=(64, 96)))
WITH_CRF = PLAIN.model_copy(update={"crf": Crf()})


@pytest.mark.slow
@pytest.mark.usefixtures("crf_server")
def test_a_crf_is_another_view_of_the_same_fit(store, make_order):
    pytest.importorskip("pydensecrf.densecrf")
    order = make_order(views=(PLAIN, WITH_CRF))
    assert execute(order, store=store, should_stop=lambda: False).status == "done"
    assert PLAIN.view_id != WITH_CRF.view_id
    records = [store.evaluation_record(order.spec.run_id, view.view_id) for view in order.views]
    plain, crf = (store.contingency(order.spec.run_id, view.view_id) for view in order.views)
    assert plain.image_ids == crf.image_ids
    assert plain.n_pixels == crf.n_pixels
    assert plain.matrix([0]).sum(0).tolist() == crf.matrix([0]).sum(0).tolist()  # the same labels
    assert plain != crf
    assert [cost.stage for record in records for cost in record.costs if cost.stage == "crf"] == ["crf"]
    assert "bench.evaluation.crf" in records[1].code


def test_without_the_package_nothing_is_begun(store, make_order, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    order = make_order(views=(PLAIN, WITH_CRF))
    with pytest.raises(ConfigError, match=r"pydensecrf2 is not installed.*pip install"):
        execute(order, store=store, should_stop=lambda: False)
    assert store.runs() == []


@pytest.mark.parametrize("change", [{"black_image": True}, {"iterations": 9}, {"bilateral_srgb": 4.0}])
def test_each_setting_of_the_crf_is_part_of_the_views_identity(change):
    assert PLAIN.model_copy(update={"crf": Crf(**change)}).view_id not in (PLAIN.view_id, WITH_CRF.view_id)
