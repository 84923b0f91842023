from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from spectral_bench.common.errors import DataError
from spectral_bench.datasets.folder import voc_colour
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.datasets.registry import REGISTRY, data_info, open_data
from spectral_bench.datasets.sound import require_sound

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
    require_sound(data, "val")


def test_a_split_may_be_without_labels(description: Path) -> None:
    data = open_data(f"folder:{description}", DataRoots())
    require_sound(data, "train")
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
    require_sound(open_data(f"folder:{description}", DataRoots()), "all")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clases": []}, "clases: Extra inputs"),
        ({"splits": {}}, "splits: Dictionary should have at least 1"),
        ({"splits": {"val": {"image": "x"}}}, "splits.val.images: Field required"),
        ({"ignore": [-1]}, "ignore.0: Input should be greater"),
        ({"classes": [{"name": "leaf", "ids": []}]}, "classes.0.ids: Tuple should have at least 1"),
        (
            {"classes": [{"name": "leaf", "ids": [1], "colour": [0, 0, 256]}]},
            "classes.0.colour.2: Input should be less",
        ),
        ({"ignore": [2]}, "label value 2 is given twice"),
    ],
)
def test_a_wrong_description_names_file_and_key(description: Path, change: dict[str, Any], message: str) -> None:
    description.write_text(yaml.safe_dump({**LEAVES, **change}))
    with pytest.raises(DataError) as caught:
        data_info(f"folder:{description}")
    assert str(description) in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["splits: [", "\x00", "- a list"])
def test_other_content_is_refused_in_one_line(description: Path, text: str) -> None:
    description.write_text(text)
    with pytest.raises(DataError) as caught:
        open_data(f"folder:{description}", DataRoots())
    assert str(caught.value).startswith(f"{description}: ")
    assert "\n" not in str(caught.value)


def test_a_missing_description_and_a_missing_path_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.yaml: cannot be read \(No such file"):
        data_info(f"folder:{tmp_path / 'none.yaml'}")
    with pytest.raises(DataError, match="describe your images in a YAML file and name it: folder:PATH"):
        open_data("folder", DataRoots())


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
