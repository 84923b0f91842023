from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spectral_bench.common.errors import DataError
from spectral_bench.datasets.coco_stuff import CocoStuff
from spectral_bench.datasets.folder import voc_colour
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.datasets.registry import data_info
from spectral_bench.datasets.sound import require_no_problems
from spectral_bench.datasets.verify import verify

# The coarse class of each value 0 to 181, run by run (class x length), as STEGO's src/data.py lists them.
RUNS = """
9 11x8 8x6 7x10 6x8 10x10 5x8 2x10 3x10 0x6 1x6 4x8
17x2 22 20x2 22 15 25 16 13 12x2 17x2 23 15x2 17 15 21 15 25 13x5 22 26 14x2 15 22 21x2 24 20 22 15 17 16 15 22 24 21
17 25 16 21 17 22 16 21x2 25 21 26 21 24 20 17 14 21 26 15 23 20 21 24 15 24 22 25 15 20 17x2 22 14 18x7 26x2 19x2 24
"""
COARSE = [int(run.partition("x")[0]) for run in RUNS.split() for _ in range(int(run.partition("x")[2] or 1))]
NAMES = (
    *("electronic", "appliance", "food (things)", "furniture (things)", "indoor", "kitchen", "accessory", "animal"),
    *("outdoor", "person", "sports", "vehicle", "ceiling", "floor", "food (stuff)", "furniture (stuff)"),
    *("rawmaterial", "textile", "wall", "window", "building", "ground", "plant", "sky", "solid", "structural", "water"),
)
# What the owners' README lists as classes without a mask, with the values that labels.txt (less 1) gives them.
ABSENT_NAMES = "street sign, hat, shoe, eye glasses, plate, mirror, window, desk, door, blender, hair brush"
ABSENT = dict(zip((11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90), ABSENT_NAMES.split(", "), strict=True))
STEMS = {"train": ("000000000009", "000000000025", "000000000030"), "val": ("000000000139", "000000000285")}
CURATED = {"train": STEMS["train"][1:], "val": STEMS["val"][:1]}


def _ids(seed: int) -> np.ndarray:
    ids = np.random.default_rng(seed).integers(0, 182, (12, 16)).astype(np.uint8)
    ids[:2] = 255
    return ids


@pytest.fixture
def base(tmp_path: Path, photo: Callable[..., Path], label_png: Callable[..., Path]) -> Path:
    """The folder of the field: images, annotations, curated; one image is grey-scale. Returns the data set's folder."""
    folder = tmp_path / "cocostuff"
    for split, stems in STEMS.items():
        for seed, stem in enumerate(stems):
            photo(folder / f"images/{split}2017/{stem}.jpg", mode="L" if seed == 1 else "RGB", seed=seed)
            label_png(folder / f"annotations/{split}2017/{stem}.png", _ids(seed))
        lists = folder / f"curated/{split}2017"
        lists.mkdir(parents=True)
        (lists / "Coco164kFull_Stuff_Coarse.txt").write_text("".join(f"{stem}\n" for stem in stems))
        (lists / "Coco164kFull_Stuff_Coarse_7.txt").write_text("".join(f"{stem}\n" for stem in CURATED[split]))
    (folder / "annotations/instances_val2017.json").write_text("{}")  # the owners of COCO ship it there
    return folder


def _open(folder: Path) -> CocoStuff:
    return CocoStuff(DataRoots((folder.parent,)))


def test_the_27_classes_value_by_value() -> None:
    assert len(COARSE) == 182
    classes = data_info("coco_stuff").class_sets["27"]
    assert classes.classes == NAMES
    assert classes.raw_ids == tuple(tuple(i for i in range(182) if COARSE[i] == c) for c in range(27))
    assert classes.palette == tuple(voc_colour(c + 1) for c in range(27))
    assert data_info("coco_stuff").default_classes == "27"


def test_the_171_classes_are_all_of_which_there_are_masks() -> None:
    info = data_info("coco_stuff")
    names, classes = info.raw_names, info.class_sets["171"]
    assert {i: names[i] for i in ABSENT} == ABSENT
    assert names[181:] == ("wood", *[""] * 73, "void")
    assert classes.raw_ids == tuple((i,) for i in range(182) if i not in ABSENT)
    assert len(classes.classes) == len(set(classes.classes)) == 171
    assert (classes.classes[0], classes.classes[79], classes.classes[80], classes.classes[-1]) == (
        *("person", "toothbrush"),
        *("banner", "wood"),
    )


def test_the_facts_of_the_owners_and_of_the_lists() -> None:
    info = data_info("coco_stuff")
    assert (info.splits["train"], info.splits["val"]) == (118_287, 5000)
    assert (info.splits["train_curated_7"], info.splits["val_curated_7"]) == (49_629, 2175)
    assert info.n_raw_labels == 256


def test_all_images_or_those_of_a_list(base: Path) -> None:
    data = _open(base)
    for split, stems in STEMS.items():
        for name, expected in ((split, stems), (f"{split}_curated", stems), (f"{split}_curated_7", CURATED[split])):
            assert data.problems(name) == []
            assert data.images(name).ids == data.labels(name).ids == expected
    np.testing.assert_array_equal(data.labels("val_curated_7").label(STEMS["val"][0]), _ids(0))
    grey = data.images("train_curated_7").image(STEMS["train"][1])
    assert (grey == grey[..., :1]).all()


@pytest.mark.parametrize("labels", ["stuffthingmaps", "stuffthingmaps_trainval2017", "annotations"])
@pytest.mark.parametrize("images", ["images", "."])
@pytest.mark.parametrize("place", ["cocostuff", "coco_stuff", "coco_stuff164k", "coco"])
def test_the_other_places_of_the_data(base: Path, tmp_path: Path, place: str, images: str, labels: str) -> None:
    root = tmp_path / "root" / place
    (root / labels).mkdir(parents=True)
    for part in ("train2017", "val2017"):
        (base / "annotations" / part).rename(root / labels / part)
        (root / images).mkdir(exist_ok=True)
        (base / "images" / part).rename(root / images / part)
    (base / "curated").rename(root / "curated")
    assert all(_open(root).problems(split) == [] for split in data_info("coco_stuff").splits)


def test_what_mmsegmentation_writes_beside_labels_is_passed_over(base: Path, label_png: Callable[..., Path]) -> None:
    for stem in STEMS["val"]:
        label_png(base / f"annotations/val2017/{stem}_labelTrainIds.png", np.full((12, 16), 170, np.uint8))
    data = _open(base)
    assert data.problems("val") == data.problems("val_curated_7") == []
    np.testing.assert_array_equal(data.labels("val").label(STEMS["val"][1]), _ids(1))


@pytest.mark.parametrize("split", ["train", "train_curated_7"])
def test_images_are_the_same_whatever_labels_hold_and_without_any(base: Path, split: str) -> None:
    before = _open(base).images(split).digest()
    shutil.rmtree(base / "annotations")
    data = _open(base)
    assert data.images(split).digest() == before
    assert data.problems(split, labels=False) == []
    with pytest.raises(DataError, match=r"stuffthingmaps/train2017: no such folder.*nightrome/cocostuff"):
        data.labels(split)


@pytest.mark.parametrize("value", [182, 254])
def test_a_value_of_no_class_is_refused(base: Path, label_png: Callable[..., Path], value: int) -> None:
    ids = _ids(0)
    ids[3, 4] = value
    path = label_png(base / f"annotations/val2017/{STEMS['val'][0]}.png", ids)
    with pytest.raises(DataError, match=rf"{path}: label value {value} at row 3, column 4; expected 0 to 181, or 255"):
        _open(base).labels("val").label(STEMS["val"][0])


def test_without_the_lists_the_owners_data_is_sound_and_the_lists_are_named(base: Path) -> None:
    shutil.rmtree(base / "curated")
    data = _open(base)
    reports = {report.split: report for report in verify(data, sample=None)}
    assert [split for split, report in reports.items() if report.sound] == ["train", "val"]
    (line, *_) = reports["val_curated_7"].problems
    assert line.startswith(f"{base}/curated/val2017/Coco164kFull_Stuff_Coarse_7.txt: no such file")
    with pytest.raises(DataError, match=r"Coarse_7\.txt: no such file.*xu-ji/IIC"):
        data.images("val_curated_7")


def test_each_fault_of_a_list_is_told_once(base: Path) -> None:
    listed = base / "curated/val2017/Coco164kFull_Stuff_Coarse_7.txt"
    listed.write_text("".join(f"{stem}\n" for stem in (*STEMS["val"], "000000581929")))
    (base / f"annotations/val2017/{STEMS['val'][1]}.png").unlink()
    missing = base / "images/val2017/000000581929.jpg"
    lonely = base / f"images/val2017/{STEMS['val'][1]}.jpg"
    problems = _open(base).problems("val_curated_7")
    assert problems[0] == f"{missing}: no such file, but {listed} names 000000581929"
    assert problems[1].startswith(f"{lonely}: has no label in {base}/annotations/val2017")
    assert len(problems) == 2
    with pytest.raises(DataError, match="000000581929"):
        require_no_problems(_open(base), "val_curated_7")
