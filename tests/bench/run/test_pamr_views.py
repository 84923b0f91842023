"""Evaluations with PAMR: another view of the same fit, whose absence changes no identity."""

from __future__ import annotations

import json
import re

import pytest
from pydantic import ValidationError

from spectral_bench.bench.run import execute
from spectral_bench.results.specification import Crf, Pamr, Resize, View

PLAIN = View(dataset="camvid", split="val", resize=Resize(mode="exact", size=(64, 96)))
REFINED = View.model_validate({**PLAIN.model_dump(), "refine": "pamr"})


def test_pamr_is_another_view_of_the_same_fit(store, make_order):
    order = make_order(views=(PLAIN, REFINED))
    assert execute(order, store=store, should_stop=lambda: False).status == "done"
    records = [store.evaluation_record(order.spec.run_id, view.view_id) for view in order.views]
    plain, refined = (store.contingency(order.spec.run_id, view.view_id) for view in order.views)
    assert plain.image_ids == refined.image_ids
    assert plain.n_pixels == refined.n_pixels
    assert plain.matrix([0]).sum(0).tolist() == refined.matrix([0]).sum(0).tolist()  # the same labels
    assert plain != refined
    assert [[cost.stage for cost in record.costs].count("pamr") for record in records] == [0, 1]
    assert "bench.evaluation.pamr" in records[1].code
    assert records[1].view == REFINED


def test_views_without_it_keep_their_identities():
    assert "refine" not in PLAIN.model_dump()
    assert "refine" not in PLAIN.model_dump(mode="json")
    assert PLAIN.view_id == "5dc479f18458"


@pytest.mark.parametrize("change", [{"iterations": 9}, {"dilations": (1, 2)}, {"contrast": 0.2}])
def test_each_setting_is_part_of_the_views_identity(change):
    other = PLAIN.model_copy(update={"refine": Pamr(**change)})
    assert len({PLAIN.view_id, REFINED.view_id, other.view_id}) == 3


def test_a_name_and_its_settings_are_the_same():
    spelled = View.model_validate({**PLAIN.model_dump(), "refine": {"name": "pamr", "iterations": 10}})
    assert spelled == REFINED
    assert View.model_validate(REFINED.model_dump(mode="json")).view_id == REFINED.view_id


def test_distances_are_a_list_in_the_file_of_a_protocol():
    written = {**PLAIN.model_dump(mode="json"), "refine": {"name": "pamr", "dilations": [8, 16]}}
    assert View.model_validate_json(json.dumps(written), strict=True).refine.dilations == (8, 16)
    written["refine"]["dilations"] = [8, "16"]
    with pytest.raises(ValidationError, match="valid integer"):
        View.model_validate_json(json.dumps(written), strict=True)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"refine": "pamrr"}, "pamr"),
        ({"refine": True}, "refine = True: expected pamr, its settings as {name: pamr, ...}, or null"),
        ({"refine": {"iterations": 0}}, "greater than or equal to 1"),
        ({"refine": {"dilations": []}}, "at least 1 item"),
        ({"refine": {"dilations": [0]}}, "greater than or equal to 1"),
        ({"refine": {"contrast": 0}}, "greater than 0"),
        ({"refine": {"sigma": 1}}, "sigma"),
        ({"refine": "pamr", "crf": Crf().model_dump()}, "refine and crf both take the place of the argmax"),
    ],
)
def test_wrong_keys_are_refused(keys, message):
    with pytest.raises(ValidationError, match=re.escape(message)):
        View.model_validate({**PLAIN.model_dump(), **keys})
