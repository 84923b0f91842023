from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from spectral_bench.common.documents.problems import InvalidDocument
from spectral_bench.common.errors import DataError
from spectral_bench.datasets.folder import voc_colour
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.datasets.registry import REGISTRY, data_info, open_data
from spectral_bench.datasets.sound import require_no_problems
from spectral_bench.datasets.verify import unreadable_labels

LEAVES: dict[str, Any] = {
    "title": "Leaves",
    "splits": {
        "train": {"images": "photos/train"},
        "val": {"images": "photos/val", "labels": "masks/val"},
    },
    "classes": [
        {"name": "leaf", "ids": [1, 4], "colour": [0, 200, 0]},
        {"name": "stem", "ids": [2]},
    ],
    "ignore": [0, 255],
    "evaluation_size": [32, 48],
}


@pytest.fixture
def description(tmp_path: Path, photo: Callable[..., Path], label_png: Callable[..., Path]) -> Path:
    for split in ("train", "val"):
        for seed, stem in enumerate(("a", "b")):
            photo(tmp_path / "photos" / split / f"{stem}.jpg", seed=seed)
    for seed, stem in enumerate(("a", "b")):
        values = np.random.default_rng(seed).choice([0, 1, 2, 4, 255], (12, 16)).astype(np.uint8)
        label_png(tmp_path / "masks" / "val" / f"{stem}.png", values)
    path = tmp_path / "leaves.yaml"
    path.write_text(yaml.safe_dump(LEAVES))
    return path


def test_the_description_becomes_facts(description: Path) -> None:
    info = data_info(f"folder:{description}")
    assert info.name == f"folder:{description}"
    assert info.title == "Leaves"
    assert info.splits == {"train": None, "val": None}
    assert info.n_raw_labels == 256
    assert info.evaluation_size == (32, 48)
    assert not info.needs_root
    assert info.unlabelled == ("train",)
    classes = info.class_sets[info.default_classes]
    assert classes.name == "2"
    assert classes.classes == ("leaf", "stem")
    assert classes.raw_ids == ((1, 4), (2,))
    assert classes.palette == ((0, 200, 0), voc_colour(2))


def test_images_and_labels_are_read(description: Path) -> None:
    data = open_data(f"folder:{description}", DataRoots())
    assert data.images("train").ids == ("a", "b")
    label = data.labels("val").label("b")
    np.testing.assert_array_equal(label, np.random.default_rng(1).choice([0, 1, 2, 4, 255], (12, 16)))
    require_no_problems(data, "val")


def test_a_split_may_be_without_labels(description: Path) -> None:
    data = open_data(f"folder:{description}", DataRoots())
    require_no_problems(data, "train")
    with pytest.raises(DataError, match="split train is described without labels"):
        data.labels("train")


def test_a_value_between_the_known_ones_is_refused(description: Path, label_png: Callable[..., Path]) -> None:
    path = label_png(description.parent / "masks" / "val" / "a.png", np.full((12, 16), 3, np.uint8))
    data = open_data(f"folder:{description}", DataRoots())
    with pytest.raises(DataError, match=rf"{path}: label value 3; expected one of 0, 1, 2, 4, 255"):
        data.labels("val").label("a")


def test_an_image_without_a_label_is_named(description: Path, photo: Callable[..., Path]) -> None:
    path = photo(description.parent / "photos" / "val" / "c.png")
    data = open_data(f"folder:{description}", DataRoots())
    assert data.problems("val") == [f"{path}: has no label in {description.parent / 'masks' / 'val'}"]


def test_without_classes_there_is_nothing_to_score(description: Path) -> None:
    description.write_text(yaml.safe_dump({"title": "T", "splits": {"all": {"images": "photos/train"}}}))
    info = data_info(f"folder:{description}")
    assert info.class_sets == {}
    assert info.default_classes == ""
    assert info.unlabelled == ()
    require_no_problems(open_data(f"folder:{description}", DataRoots()), "all")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clases": []}, 'clases: unknown key "clases"; did you mean "classes"? valid: '),
        ({"splits": {}}, "splits: expected at least one value"),
        ({"splits": {"val": {"image": "x"}}}, 'splits.val: the key "images" is missing'),
        ({"ignore": [-1]}, "ignore[0]: expected greater than or equal to 0, got -1"),
        ({"ignore": [1.5]}, "ignore[0]: expected a whole number, got 1.5"),
        ({"classes": [{"name": "leaf", "ids": []}]}, "classes[0].ids: expected at least one value"),
        ({"classes": [{"name": True, "ids": [1]}]}, "classes[0].name: expected a text, got true"),
        (
            {"classes": [{"name": "leaf", "ids": [1], "colour": [0, 0, 256]}]},
            "classes[0].colour[2]: expected less than or equal to 255, got 256",
        ),
        ({"ignore": [2]}, "ignore[0]: label value 2 is given twice, first as classes[1].ids[0] on "),
    ],
)
def test_a_wrong_description_names_file_line_and_key(description: Path, change: dict[str, Any], message: str) -> None:
    description.write_text(yaml.safe_dump({**LEAVES, **change}))
    with pytest.raises(DataError) as caught:
        data_info(f"folder:{description}")
    assert re.search(rf"{description}:\d+: ", str(caught.value))
    assert message in str(caught.value)


def test_all_problems_of_a_description_are_told_at_once_in_the_order_of_the_file(description: Path) -> None:
    description.write_text(
        "title: 7\nsplits: {val: {images: photos/val, lables: masks/val}}\n"
        "classes:\n- {name: leaf, ids: [1, 0x10]}\n- {name: stem, ids: [2, 1]}\nignore: [x, 2]\n"
    )
    with pytest.raises(InvalidDocument) as caught:
        data_info(f"folder:{description}")
    places = [line.removeprefix(f"{description}:").split(": ")[:2] for line in caught.value.problems]
    assert places == [
        ["1", "title"],
        ["2", "splits.val.lables"],
        ["4", "classes[0].ids[1]"],
        ["5", "classes[1].ids[1]"],
        ["6", "ignore[0]"],
        ["6", "ignore[1]"],
    ]
    assert isinstance(caught.value, DataError)


def test_numbers_are_decimal_and_words_are_names(description: Path) -> None:
    description.write_text(
        "title: on\nsplits: {2024: {images: photos/val, labels: masks/val}}\n"
        "classes:\n- {name: yes, ids: [008, 010]}\n- {name: No, ids: [1_0]}\n- {name: 12:30, ids: [011]}\n"
    )
    with pytest.raises(DataError, match=r"label value 10 is given twice, first as classes\[0\]\.ids\[1\] on .*:4"):
        data_info(f"folder:{description}")
    description.write_text(description.read_text().replace("1_0", "7"))
    info = data_info(f"folder:{description}")
    classes = info.class_sets[info.default_classes]
    assert (info.title, tuple(info.splits)) == ("on", ("2024",))
    assert (classes.classes, classes.raw_ids) == (("yes", "No", "12:30"), ((8, 10), (7,), (11,)))


def test_a_key_stands_once_and_the_line_of_the_second_is_named(description: Path) -> None:
    text = description.read_text()
    description.write_text(text + "title: again\n")
    with pytest.raises(DataError, match=rf"{description}:{text.count(chr(10)) + 1}: title: the key stands here twice"):
        data_info(f"folder:{description}")


def test_a_byte_order_mark_is_no_part_of_a_description(description: Path) -> None:
    description.write_text(description.read_text(), encoding="utf-8-sig")
    assert data_info(f"folder:{description}").title == "Leaves"


@pytest.mark.parametrize("text", ["splits: [", "\x00", "- a list"])
def test_other_content_is_refused_in_one_line(description: Path, text: str) -> None:
    description.write_text(text)
    with pytest.raises(DataError) as caught:
        open_data(f"folder:{description}", DataRoots())
    assert str(caught.value).startswith(f"{description}:")
    assert "\n" not in str(caught.value)


def test_a_missing_description_and_a_missing_path_are_told(description: Path) -> None:
    with pytest.raises(DataError, match=r'leafs\.yaml: no such file; did you mean "leaves.yaml"\?'):
        data_info(f"folder:{description.parent / 'leafs.yaml'}")
    with pytest.raises(DataError, match="describe your images in a YAML file and name it: folder:PATH"):
        open_data("folder", DataRoots())


def test_a_palette_of_greys_is_read_by_its_indices_where_the_greys_are_no_label_values(description: Path) -> None:
    image = Image.new("P", (16, 12), 1)
    image.putpalette([0, 0, 0, 90, 90, 90])
    image.save(description.parent / "masks" / "val" / "a.png")
    data = open_data(f"folder:{description}", DataRoots())
    assert np.all(data.labels("val").label("a") == 1)
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(description.parent / "masks" / "val" / "a.png")
    with pytest.raises(DataError, match=r"a\.png: its number 1 shows as grey 255 .* both are label values"):
        data.labels("val").label("a")
    assert [line.partition(": ")[0] for line in unreadable_labels(data, "val")] == [
        str(description.parent / "masks" / "val" / "a.png")
    ]


def test_its_code_is_found_whatever_the_path() -> None:
    assert REGISTRY.module("folder:some/where/leaves.yaml") == "spectral_bench.datasets.folder"
    assert REGISTRY.module("camvid") == "spectral_bench.datasets.camvid"


def test_the_voc_colour_map() -> None:
    assert [voc_colour(i) for i in (0, 1, 2, 3, 4, 15, 20)] == [
        (0, 0, 0),
        (128, 0, 0),
        (0, 128, 0),
        (128, 128, 0),
        (0, 0, 128),
        (192, 128, 128),
        (0, 64, 128),
    ]
    assert len({voc_colour(i) for i in range(256)}) == 256
