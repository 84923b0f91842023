"""Evaluations with guided up-sampling: another view of the same fit, whose absence changes no identity."""

from __future__ import annotations

import json
import re

import pytest
from pydantic import ValidationError

from spectral_bench.bench.run import execute
from spectral_bench.results.specification import Guided, Pamr, Resize, View

PLAIN = View(dataset="camvid", split="val", resize=Resize(mode="exact", size=(64, 96)))


def of(**keys):
    return View.model_validate({**PLAIN.model_dump(), **keys})


@pytest.mark.slow
def test_it_is_another_view_of_the_same_fit_with_pamr_or_a_crf_behind_it(store, make_order):
    pytest.importorskip("pydensecrf")
    idle = {"iterations": 1, "gaussian_weight": 0.0, "bilateral_weight": 0.0}  # a CRF that leaves scores as they are
    pamr = {"name": "pamr", "iterations": 1, "dilations": [1]}
    views = (PLAIN, of(upsample="guided"), of(refine=pamr), of(refine=pamr, upsample="guided"))
    order = make_order(views=(*views, of(crf=idle, upsample="guided")))
    assert execute(order, store=store, should_stop=lambda: False).status == "done"
    records = [store.evaluation_record(order.spec.run_id, view.view_id) for view in order.views]
    plain, guided, refined, both, crf = (store.contingency(order.spec.run_id, view.view_id) for view in order.views)
    assert {tuple(one.matrix([0]).sum(0)) for one in (guided, refined, both)} == {tuple(plain.matrix([0]).sum(0))}
    assert plain != guided
    assert guided == crf
    assert both != refined
    stages = [[cost.stage for cost in record.costs if cost.stage in ("guided", "pamr")] for record in records]
    assert stages == [[], ["guided"], ["pamr"], ["pamr"], []]
    assert "bench.evaluation.guided" in records[1].code
    assert records[1].view == views[1]


def test_views_without_it_keep_their_identities():
    assert "upsample" not in PLAIN.model_dump(mode="json")
    assert of(upsample="bilinear") == PLAIN
    assert PLAIN.view_id == "5dc479f18458"
    assert of(upsample="guided").view_id == "fae29bb30dfc"


@pytest.mark.parametrize(
    "change",
    [
        {"iterations": 9},
        {"distances": (1, 2)},
        {"contrast": 0.2},
        {"keep": 0.5},
        {"keep": 0.0},
        {"correction": "ratio"},
        {"temperature": 0.3},
        {"distances_taken": "in_turn"},
    ],
)
def test_each_setting_is_part_of_the_views_identity(change):
    other = PLAIN.model_copy(update={"upsample": Guided(**change)})
    assert len({PLAIN.view_id, of(upsample="guided").view_id, other.view_id}) == 3


def test_a_name_and_its_settings_are_the_same():
    assert of(upsample={"name": "guided", "iterations": 60}) == of(upsample="guided")
    assert View.model_validate(of(upsample="guided").model_dump(mode="json")) == of(upsample="guided")


def test_distances_are_a_list_in_the_file_of_a_protocol():
    written = {**PLAIN.model_dump(mode="json"), "upsample": {"name": "guided", "distances": [2, 5]}}
    written["refine"] = {"name": "pamr", "dilations": [8, 16]}
    view = View.model_validate_json(json.dumps(written), strict=True)
    assert (view.upsample.distances, view.refine.dilations) == ((2, 5), (8, 16))
    assert view.refine == Pamr(dilations=(8, 16))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"upsample": "gided"}, 'unknown value "gided"; did you mean "guided"? valid: bilinear, guided'),
        ({"upsample": True}, "upsample = True: expected guided, its settings as {name: guided, ...}, or bilinear"),
        ({"upsample": {"iterations": 0}}, "greater than or equal to 1"),
        ({"upsample": {"distances": []}}, "at least 1 item"),
        ({"upsample": {"distances": [0]}}, "greater than or equal to 1"),
        ({"upsample": {"contrast": 0}}, "greater than 0"),
        ({"upsample": {"keep": 1.5}}, "less than or equal to 1"),
        ({"upsample": {"sigma": 1}}, "sigma"),
        ({"upsample": {"correction": "product"}}, "'shift' or 'ratio'"),
        ({"upsample": {"temperature": 0}}, "greater than 0"),
        ({"upsample": {"correction": "ratio", "keep": 0}}, "correction = ratio: with keep = 0 no patch gets its mean"),
        (
            {"upsample": {"distances_taken": "in_turn", "distances": (1, 2, 3), "iterations": 2}},
            "iterations = 2: expected at least 3, one for each of distances, with distances_taken: in_turn",
        ),
    ],
)
def test_wrong_keys_are_refused(keys, message):
    with pytest.raises(ValidationError, match=re.escape(message)):
        of(**keys)
