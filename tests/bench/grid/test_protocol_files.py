from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spectral_bench.bench.grid.protocol import FOLDER, Definition, find, load, names
from spectral_bench.common.documents.document import Place, standing_at
from spectral_bench.common.errors import ConfigError


def inline(value: Any, folder: Path = FOLDER) -> Definition:
    return load(standing_at(Place("g.yaml:3", "protocols[0]"), value), folder)


def test_the_protocols_that_ship() -> None:
    assert names() == ("centre320", "hungarian", "sliding", "stego", "whole")
    for name in names():
        definition = find(name, FOLDER)
        assert definition.name == name
        assert definition.note


def test_hungarian_looks_as_centre320_does_and_wants_k_classes() -> None:
    hungarian, centre = find("hungarian", FOLDER), find("centre320", FOLDER)
    assert hungarian.part("view", "camvid").value == centre.part("view", "camvid").value
    assert hungarian.part("scoring", "cityscapes").value == {"matching": "hungarian", "classes": "27"}
    assert (hungarian.clusters, centre.clusters) == ("classes", "any")


def test_stego_is_hungarian_with_a_mirrored_image_and_a_crf() -> None:
    stego, hungarian = find("stego", FOLDER), find("hungarian", FOLDER)
    view = {**hungarian.part("view", "camvid").value, "flip": "features", "crf": {}}
    assert stego.part("view", "camvid").value == view
    assert stego.part("scoring", "cityscapes").value == hungarian.part("scoring", "cityscapes").value
    assert stego.part("scoring", "coco_stuff").value == {"matching": "hungarian", "classes": "27"}
    assert stego.clusters == "classes"


def test_values_of_a_data_set_replace_the_common_ones_key_by_key() -> None:
    definition = inline(
        {
            "name": "p",
            "view": {"window": 480, "stride": 320, "crf": {"iterations": 3, "gaussian_weight": 2.0}},
            "datasets": {"camvid": {"view": {"stride": 64, "crf": {"iterations": 5}}}},
        }
    )
    assert definition.part("view", "camvid").value == {
        "window": 480,
        "stride": 64,
        "crf": {"iterations": 5, "gaussian_weight": 2.0},
    }
    assert definition.part("view", "other").value["stride"] == 320


def test_an_extension_states_only_what_differs() -> None:
    definition = inline({"name": "sliding_crf", "extends": "sliding", "view": {"crf": {}}})
    assert definition.part("view", "x").value == {**find("sliding", FOLDER).part("view", "x").value, "crf": {}}
    assert definition.note == find("sliding", FOLDER).note
    assert inline({"name": "h", "extends": "hungarian"}).clusters == "classes"
    assert inline({"name": "h", "extends": "hungarian", "clusters": "any"}).clusters == "any"


def test_a_file_is_found_beside_the_grid_and_extends_beside_itself(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "mine.yaml").write_text("{name: mine, extends: base.yaml, view: {stride: 8}}")
    (tmp_path / "p" / "base.yaml").write_text("{name: base, view: {window: 64, stride: 32}}")
    definition = inline("p/mine.yaml", tmp_path)
    assert definition.name == "mine"
    assert definition.part("view", "x").value == {"window": 64, "stride": 8}


def test_protocols_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("{name: a, extends: b.yaml}")
    (tmp_path / "b.yaml").write_text("{name: b, extends: a.yaml}")
    with pytest.raises(ConfigError, match=r"protocol a\.yaml extends itself: a\.yaml -> b\.yaml -> a\.yaml"):
        inline("a.yaml", tmp_path)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("hole", 'g.yaml:3: protocols[0]: unknown protocol "hole"; did you mean "whole"? valid: centre320, hungarian'),
        ("gone.yaml", "gone.yaml: no such file"),
        (3, "g.yaml:3: protocols[0]: expected the name of a protocol, a path or a mapping, got 3"),
        ({}, 'g.yaml:3: protocols[0]: the key "name" is missing'),
        ({"name": "a b"}, "protocols[0].name: expected letters"),
        ({"name": "a", "veiw": {}}, 'protocols[0].veiw: unknown key "veiw"; did you mean "view"?'),
        ({"name": "a", "view": 3}, "protocols[0].view: expected a mapping, got 3"),
        ({"name": "a", "clusters": "class"}, 'unknown value "class"; did you mean "classes"?'),
        ({"name": "a", "extends": "sldng"}, 'protocols[0].extends: unknown protocol "sldng"; did you mean "sliding"?'),
        ({"name": "a", "extends": 3}, "protocols[0].extends: expected a text, got 3"),
        ({"name": "a", "datasets": {"camvid": {"vew": {}}}}, 'camvid.vew: expected "view" or "scoring"'),
        ({"name": "a", "datasets": {"camvid": 3}}, "protocols[0].datasets.camvid: expected a mapping, got 3"),
    ],
)
def test_a_bad_protocol_is_refused_where_it_stands(tmp_path: Path, value: Any, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        inline(value, tmp_path)
    assert says in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
