from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spectral_bench.common.errors import DataError
from spectral_bench.datasets.cityscapes import CITIES, Cityscapes
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.datasets.registry import data_info
from spectral_bench.datasets.sound import require_no_problems

# (name, id, train id or 255), in the order of the owners' label definitions.
TABLE = """
unlabeled 0 255, ego vehicle 1 255, rectification border 2 255, out of roi 3 255, static 4 255, dynamic 5 255,
ground 6 255, road 7 0, sidewalk 8 1, parking 9 255, rail track 10 255, building 11 2, wall 12 3, fence 13 4,
guard rail 14 255, bridge 15 255, tunnel 16 255, pole 17 5, polegroup 18 255, traffic light 19 6, traffic sign 20 7,
vegetation 21 8, terrain 22 9, sky 23 10, person 24 11, rider 25 12, car 26 13, truck 27 14, bus 28 15, caravan 29 255,
trailer 30 255, train 31 16, motorcycle 32 17, bicycle 33 18
"""
ROWS = []
for entry in TABLE.replace("\n", " ").split(","):
    name, raw, train = entry.strip().rsplit(" ", 2)
    ROWS.append((name, int(raw), int(train)))
COLOURS_19 = [
    *[(128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153), (250, 170, 30)],
    *[(220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0), (0, 0, 142)],
    *[(0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32)],
]  # fmt: skip


@pytest.fixture
def root(tmp_path: Path, photo: Callable[..., Path], label_png: Callable[..., Path]) -> Path:
    """All 21 cities, one image each, with the other files that the owners ship beside the label ids."""
    for split, cities in CITIES.items():
        for seed, city in enumerate(cities):
            stem = f"{city}_000000_00{seed:04d}"
            photo(tmp_path / f"cityscapes/leftImg8bit/{split}/{city}/{stem}_leftImg8bit.png", 8, 16, seed=seed)
            labels = tmp_path / f"cityscapes/gtFine/{split}/{city}"
            ids = np.random.default_rng(seed).integers(0, 34, (8, 16)).astype(np.uint8)
            label_png(labels / f"{stem}_gtFine_labelIds.png", ids)
            label_png(labels / f"{stem}_gtFine_instanceIds.png", ids.astype(np.uint16) * 1000)
            photo(labels / f"{stem}_gtFine_color.png", 8, 16)
            (labels / f"{stem}_gtFine_polygons.json").write_text("{}")
    return tmp_path


def _open(root: Path) -> Cityscapes:
    return Cityscapes(DataRoots((root,)))


def test_every_raw_id_has_its_name() -> None:
    info = data_info("cityscapes")
    assert len(ROWS) == info.n_raw_labels == 34
    assert [row[1] for row in ROWS] == list(range(34))
    assert list(info.raw_names) == [row[0] for row in ROWS]


def test_the_19_classes_value_by_value() -> None:
    classes = data_info("cityscapes").class_sets["19"]
    evaluated = sorted((row for row in ROWS if row[2] != 255), key=lambda row: row[2])
    assert [row[2] for row in evaluated] == list(range(19))
    assert classes.classes == tuple(row[0] for row in evaluated)
    assert classes.raw_ids == tuple((row[1],) for row in evaluated)
    assert list(classes.palette) == COLOURS_19


def test_the_27_classes_are_the_ids_7_to_33() -> None:
    classes = data_info("cityscapes").class_sets["27"]
    assert classes.raw_ids == tuple((i,) for i in range(7, 34))
    assert classes.classes == tuple(row[0] for row in ROWS[7:])
    nineteen = data_info("cityscapes").class_sets["19"]
    for raw, colour in zip(nineteen.raw_ids, nineteen.palette, strict=True):
        assert classes.palette[raw[0] - 7] == colour


def test_the_27_classes_are_those_of_the_literature_which_ignores_licence_plates() -> None:
    """PiCIE's table (data/cityscapes_eval_dataset.py): ids 7 to 33 are 0 to 26, all others and -1 are ignored."""
    picie = {raw: raw - 7 if raw >= 7 else -1 for raw in range(-1, 34)}
    ours = data_info("cityscapes").class_sets["27"].raw_ids
    assert {raw: c for c, ids in enumerate(ours) for raw in ids} == {raw: c for raw, c in picie.items() if c >= 0}
    assert -1 not in {
        raw for classes in data_info("cityscapes").class_sets.values() for ids in classes.raw_ids for raw in ids
    }


def test_the_facts_of_the_paper_and_the_owners() -> None:
    info = data_info("cityscapes")
    assert (info.short_side, info.window, info.stride) == (1024, 768, 512)
    assert info.splits == {"train": 2975, "val": 500}
    assert {split: len(cities) for split, cities in CITIES.items()} == {"train": 18, "val": 3}


def test_images_and_label_ids_of_all_cities_are_paired(root: Path) -> None:
    data = _open(root)
    for split, cities in CITIES.items():
        assert data.problems(split) == []
        assert [image_id.split("_")[0] for image_id in data.images(split).ids] == sorted(cities)
        assert data.images(split).ids == data.labels(split).ids
    label = data.labels("val").label("lindau_000000_000001")
    np.testing.assert_array_equal(label, np.random.default_rng(1).integers(0, 34, (8, 16)))
    assert data.images("val").image("lindau_000000_000001").shape == (8, 16, 3)


@pytest.mark.parametrize("part", ["leftImg8bit", "gtFine"])
def test_a_missing_city_is_named(root: Path, part: str) -> None:
    city = root / "cityscapes" / part / "train" / "zurich"
    for path in city.iterdir():
        path.unlink()
    city.rmdir()
    data = _open(root)
    assert f"{city}: this city of split train is missing" in data.problems("train")
    with pytest.raises(DataError, match="zurich"):
        require_no_problems(data, "train")
    loader = data.images if part == "leftImg8bit" else data.labels
    with pytest.raises(DataError, match=r"zurich: this city of split train is missing"):
        loader("train")
    assert data.problems("val") == []


def test_a_tree_without_labels_can_be_trained_on(root: Path) -> None:
    before = _open(root).images("train").digest()
    (root / "cityscapes" / "gtFine").rename(root / "elsewhere")
    assert _open(root).images("train").digest() == before
    with pytest.raises(DataError, match=r"gtFine/train: no such folder.*cityscapes-dataset\.com"):
        _open(root).labels("train")


@pytest.mark.parametrize("value", [34, 255])
def test_a_value_beyond_the_table_is_refused(root: Path, label_png: Callable[..., Path], value: int) -> None:
    """No owner's file has one: licence plates (-1, 255 in 8 bits) are not drawn there."""
    path = root / "cityscapes/gtFine/val/munster/munster_000000_000002_gtFine_labelIds.png"
    label_png(path, np.full((8, 16), value, np.uint8))
    with pytest.raises(DataError, match=rf"{path}: label value {value} at row 0, column 0; expected 0 to 33"):
        _open(root).labels("val").label("munster_000000_000002")
