"""Rows of grids that name text vectors: where the file lies, whose classes it has, and of which backbone it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from plan_lab import FixedCode
from safetensors.numpy import save_file

from spectral_bench.bench.grid.load import load_grid
from spectral_bench.bench.plan.build import make_plan
from spectral_bench.bench.plan.show import plan_lines, plan_rows
from spectral_bench.bench.plan.states import Plan
from spectral_bench.bench.plan.titles import TEXT_NOTE
from spectral_bench.common.errors import ConfigError
from spectral_bench.datasets.registry import data_info
from spectral_bench.methods.testing import text_file

BY_TEXT = ("maskclip", "reco")
NAME = "vit_xsmall_patch16_clip_224"
CAMVID = tuple(data_info("camvid").class_sets["11"].classes)


def copied(folder: Path, classes: tuple[str, ...] = CAMVID, width: int = 512, backbone: str = NAME, weights="random-0"):
    return shutil.copy(text_file(classes, width, backbone=backbone, backbone_weights=weights), folder / "t.safetensors")


def planned(folder: Path, more: str = "", method: str = "maskclip", protocols: str = "[whole]", **options) -> Plan:
    path = folder / "grid.yaml"
    own = options.pop("params", {})
    params = f"params: {json.dumps({'text': 't.safetensors', **own})}, " if method in BY_TEXT else ""
    given = json.dumps({"weights": "random", "facet": "language", **options})
    run = f"{{method: {method}, {params}dataset: camvid, backbone: {NAME}, backbone_options: {given}{more}}}"
    path.write_text(f"protocols: {protocols}\nruns:\n  - {run}\n")
    return make_plan(load_grid(path), None, folder / "out", FixedCode())


def test_the_file_lies_beside_the_grid_and_says_how_many_clusters_there_are(tmp_path):
    copied(tmp_path)
    plan = planned(tmp_path)
    (run,) = plan.runs
    assert run.spec.params["text"] == str(tmp_path / "t.safetensors")
    assert run.spec.params["k"] == 11
    assert TEXT_NOTE in plan_lines(plan)
    assert any("‖" in str(cell) for row in plan_rows(plan) for cell in row)
    other = tmp_path / "other"
    other.mkdir()
    copied(other)
    assert planned(other).runs[0].run_id == run.run_id


NAMED = "[{name: named, view: {}, scoring: {matching: text}}]"
BAD = [
    ({"classes": CAMVID[:-1]}, {}, r"its classes are not those of camvid: of class set 11 it lacks"),
    ({"classes": (*CAMVID[:-1], "moon")}, {}, "lacks .* and has moon besides"),
    ({"classes": CAMVID[::-1]}, {}, "it has them in another order"),
    ({"weights": "0123"}, {}, "with weights 0123, and the backbone here is vit_xsmall.* with weights random-0"),
    ({"backbone": "vit_base_patch16_clip_224"}, {}, "features of vit_base_patch16_clip_224 with weights random-0, and"),
    ({"width": 500}, {}, "its vectors have 500 channels, features of the backbone 512"),
    ({}, {"facet": "tokens"}, "its space is that of facet language; set backbone_options"),
    (
        {},
        {"method": "kmeans", "protocols": NAMED},
        "protocol named matches by text, and the clusters here have no names",
    ),
]


@pytest.mark.parametrize("method", BY_TEXT)
@pytest.mark.parametrize(("text", "row", "words"), BAD, ids=[words for *_, words in BAD])
def test_a_text_of_something_else_is_refused_before_anything_runs(tmp_path, method, text, row, words):
    copied(tmp_path, **text)
    with pytest.raises(ConfigError, match=words) as caught:
        planned(tmp_path, **{"method": method, **row})
    assert len(str(caught.value).splitlines()) == 1
    assert "grid.yaml" in str(caught.value)


NO_TEXT = [
    ({"classes": ["sky", "sky"]}, {}, "class names that stand twice: sky"),
    ({"classes": ["sky", "tree", "sea"]}, {}, "classes without a vector: sea"),
    ({"prompts": ["sky", " "]}, {}, "vector 1 has an empty prompt"),
    ({}, {"vectors": 3 * np.eye(2, 512, dtype="f4")}, r"vector 0 \(sky\) is of length 3, not normalised"),
    ({}, {"weights": np.eye(2, dtype="f4")}, "no tensor called vectors; it has weights"),
]


@pytest.mark.parametrize("method", BY_TEXT)
@pytest.mark.parametrize(("told", "tensors", "words"), NO_TEXT, ids=[words for *_, words in NO_TEXT])
def test_a_faulty_text_is_refused_at_its_place_in_the_grid(tmp_path, method, told, tensors, words):
    lists = {"classes": ["sky", "tree"], "prompts": ["sky", "tree"], **told}
    metadata = {
        "backbone": NAME,
        "backbone_weights": "random-0",
        **{key: json.dumps(one) for key, one in lists.items()},
    }
    save_file(tensors or {"vectors": np.eye(2, 512, dtype="f4")}, tmp_path / "t.safetensors", metadata=metadata)
    with pytest.raises(ConfigError, match=words) as caught:
        planned(tmp_path, method=method)
    assert len(str(caught.value).splitlines()) == 1
    assert "grid.yaml" in str(caught.value)
    assert "params.text" in str(caught.value)


BAD_RECO = [
    ({"level": 2}, r"level = 2: expected -2 to 1, a level of vit_xsmall"),
    ({"archive": 400}, "archive = 400: expected at most the 367 training images"),
    ({"context": ["Ski"]}, 'unknown class of the text "Ski"; did you mean "sky"'),
    ({"text_scale": 0}, "text_scale = 0: input should be greater than 0"),
    ({"archives": 3}, 'unknown parameter of reco "archives"; did you mean "archive"'),
]


@pytest.mark.parametrize(("params", "words"), BAD_RECO, ids=[words for _, words in BAD_RECO])
def test_what_reco_cannot_do_with_is_told_at_planning(tmp_path, params, words):
    copied(tmp_path)
    with pytest.raises(ConfigError, match=words) as caught:
        planned(tmp_path, method="reco", params=params)
    assert len(str(caught.value).splitlines()) == 1
    assert f"grid.yaml:3: runs[0].params.{next(iter(params))}" in str(caught.value)


def test_reco_is_planned_with_as_many_clusters_as_classes_and_marked(tmp_path):
    copied(tmp_path)
    plan = planned(tmp_path, method="reco", protocols=NAMED, params={"context": ["sky", "tree"]})
    (run,) = plan.runs
    assert (run.spec.params["k"], run.spec.params["context"]) == (11, ["sky", "tree"])
    assert any("‖" in str(cell) for row in plan_rows(plan) for cell in row)


def test_text_that_is_not_stated_is_told_once_beside_other_faults(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text(
        "protocols: [whole]\nruns:\n  - {method: reco, dataset: camvid, params: {level: low, archive: 0}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        make_plan(load_grid(path), None, tmp_path / "out", FixedCode())
    said = str(caught.value)
    told = ("reco: text: required, file of text vectors", "level = ", "archive = 0")
    assert [said.count(one) for one in told] == [1, 1, 1]


def test_a_missing_file_is_told_by_its_name(tmp_path):
    with pytest.raises(ConfigError, match=r"text t\.safetensors.*no such file"):
        planned(tmp_path)


def test_matching_by_text_is_of_the_class_set_of_the_text(tmp_path):
    sets = data_info("cityscapes").class_sets
    copied(tmp_path, tuple(sets["27"].classes))
    path = tmp_path / "grid.yaml"

    def plan(classes: str) -> Plan:
        path.write_text(
            f"protocols: [{{name: named, view: {{}}, scoring: {{classes: '{classes}', matching: text}}}}]\n"
            f"runs: [{{method: maskclip, params: {{text: t.safetensors}}, dataset: cityscapes, backbone: {NAME}, "
            "backbone_options: {weights: random, facet: language}}]\n"
        )
        return make_plan(load_grid(path), None, tmp_path / "out", FixedCode())

    assert plan("27").runs[0].spec.params["k"] == 27
    with pytest.raises(ConfigError, match=r"of class set 19 it has .* besides \(protocol named\)"):
        plan("19")


def test_matching_by_text_is_planned_for_what_has_names(tmp_path):
    copied(tmp_path)
    (run,) = planned(tmp_path, protocols=NAMED).runs
    assert run.spec.method == "maskclip"


def naming(**keys) -> str:
    names = {"text": "t.safetensors", "options": {"weights": "random"}, **keys}
    return f"[whole, {{name: named, extends: whole, scoring: {json.dumps({'matching': 'text', 'names': names})}}}]"


def test_clusters_of_any_method_are_named_by_a_further_view_of_the_same_run(tmp_path):
    copied(tmp_path)
    plain = planned(tmp_path, method="kmeans").runs[0]
    (run,) = planned(tmp_path, method="kmeans", protocols=naming()).runs
    assert run.run_id == plain.run_id
    assert [view.view_id for view in run.views[:1]] == [view.view_id for view in plain.views]
    (network,) = [view.names for view in run.views if view.names is not None]
    assert (network.name, network.weights, network.options["facet"]) == (NAME, "random-0", "language")
    plan = planned(tmp_path, method="kmeans", protocols=naming())
    (protocol,) = [one for one in plan.rows[0].protocols if one.views[1:]]
    assert protocol.scoring.names.text == str(tmp_path / "t.safetensors")
    assert len(protocol.scoring.names.text_digest) == 16


def test_another_text_of_the_same_network_needs_no_further_pass(tmp_path):
    copied(tmp_path)
    first = planned(tmp_path, method="kmeans", protocols=naming()).runs[0].views
    shutil.copy(text_file(CAMVID, 512, 2, backbone=NAME, backbone_weights="random-0"), tmp_path / "u.safetensors")
    assert planned(tmp_path, method="kmeans", protocols=naming(text="u.safetensors")).runs[0].views == first
    other = planned(tmp_path, method="kmeans", protocols=naming(split="train")).runs[0].views
    assert [view.split for view in other] == ["val", "train"]


def test_clusters_that_have_names_keep_them(tmp_path):
    copied(tmp_path)
    (run,) = planned(tmp_path, protocols=naming()).runs
    assert [view.names for view in run.views] == [None]


def test_a_protocol_of_its_own_file_names_a_text_beside_it(tmp_path):
    (folder := tmp_path / "protocols").mkdir()
    copied(folder)
    names = "{text: t.safetensors, options: {weights: random}}"
    (folder / "named.yaml").write_text(f"name: named\nextends: whole\nscoring: {{matching: text, names: {names}}}\n")
    (run,) = planned(tmp_path, method="kmeans", protocols="[protocols/named.yaml]").runs
    assert any(view.names is not None for view in run.views)


BAD_NAMES = [
    ({"classes": CAMVID[:-1]}, {}, r"its classes are not those of camvid: of class set 11 it lacks"),
    ({"classes": CAMVID[::-1]}, {}, "it has them in another order"),
    ({"weights": "0123"}, {}, "with weights 0123, and the network here is vit_xsmall.* with weights random-0"),
    ({}, {"options": {}}, "with weights random-0, and the network here is vit_xsmall.* with weights of the hub"),
    ({}, {"backbone": "vit_base_patch16_clip_224"}, "and the network here is vit_base_patch16_clip_224 with weights"),
    ({}, {"backbone": "efficientnet_lite0"}, "efficientnet_lite0 shares no space with texts; expected a CLIP"),
    ({}, {"backbone": "efficientnet_lite"}, 'unknown backbone "efficientnet_lite"'),
    ({}, {"options": {"weights": "random", "facet": "tokens"}}, "is to have facet tokens"),
    ({"width": 500}, {}, "its vectors have 500 channels, features of vit_xsmall_patch16_clip_224 512"),
    ({}, {"text": "none.safetensors"}, "no such file"),
    ({}, {"split": "trainn"}, '"trainn"; did you mean "train"'),
    ({}, {"text_digest": "0123456789abcdef"}, "holds another text .* than text_digest says"),
    ({}, {"words": 1}, "words"),
]


@pytest.mark.parametrize(("text", "names", "words"), BAD_NAMES, ids=[words for *_, words in BAD_NAMES])
def test_names_of_something_else_are_refused_before_anything_runs(tmp_path, text, names, words):
    copied(tmp_path, **text)
    with pytest.raises(ConfigError, match=words) as caught:
        planned(tmp_path, method="kmeans", protocols=naming(**names))
    assert len(str(caught.value).splitlines()) == 1
    assert "grid.yaml" in str(caught.value)


def test_a_view_states_no_network_of_names_itself(tmp_path):
    with pytest.raises(ConfigError, match=r"clusters are named by a scoring; expected scoring: {names: FILE}"):
        planned(tmp_path, method="kmeans", protocols=f"[{{name: n, view: {{names: {{name: {NAME}}}}}}}]")
