from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spectral_bench.common.errors import DataError
from spectral_bench.datasets.folder import voc_colour
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.datasets.pascal_voc import AUGMENTED, PascalVOC
from spectral_bench.datasets.registry import data_info

NAMES = """
background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant
sheep sofa train tvmonitor
"""
STEMS = {"train": ("2007_000032", "2007_000039"), "val": ("2007_000033", "2007_000042")}
EXTRA = "2008_000008"


def _ids(seed: int) -> np.ndarray:
    ids = np.random.default_rng(seed).integers(0, 21, (12, 16)).astype(np.uint8)
    ids[0] = 255
    return ids


def _palette_png(path: Path, ids: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    png = Image.fromarray(ids, mode="P")
    png.putpalette([value for index in range(256) for value in voc_colour(index)])
    png.save(path)
    return path


@pytest.fixture
def voc(tmp_path: Path, photo) -> Path:
    """VOC2012 with palette labels and lists, and the augmented training set; returns the VOC2012 folder."""
    folder = tmp_path / "VOCdevkit/VOC2012"
    lists = folder / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (folder / "SegmentationClassAug").mkdir()
    for split, stems in STEMS.items():
        for seed, stem in enumerate(stems):
            photo(folder / f"JPEGImages/{stem}.jpg", seed=seed)
            _palette_png(folder / f"SegmentationClass/{stem}.png", _ids(seed))
            _palette_png(folder / f"SegmentationObject/{stem}.png", _ids(seed + 9))
        (lists / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems))
    photo(folder / f"JPEGImages/{EXTRA}.jpg", seed=5)
    for seed, stem in enumerate((*STEMS["train"], EXTRA)):
        Image.fromarray(_ids(seed + 20)).save(folder / f"SegmentationClassAug/{stem}.png")
    (lists / "train_aug.txt").write_text("".join(f"{stem}\n" for stem in (*STEMS["train"], EXTRA)))
    return folder


def _open(voc: Path) -> PascalVOC:
    return PascalVOC(DataRoots((voc.parent.parent,)))


def test_the_21_classes_value_by_value() -> None:
    info = data_info("pascal_voc")
    classes = info.class_sets["21"]
    assert classes.classes == info.raw_names[:21] == tuple(NAMES.split())
    assert info.raw_names[255] == "void"
    assert classes.raw_ids == tuple((i,) for i in range(21))
    assert classes.palette == tuple(voc_colour(i) for i in range(21))
    assert info.splits == {"train": 1464, "val": 1449, "train_aug": 10_582}


def test_palette_labels_of_the_lists_are_read_as_indices(voc: Path) -> None:
    data = _open(voc)
    for split, stems in STEMS.items():
        assert data.problems(split) == []
        assert data.images(split).ids == data.labels(split).ids == stems
        for seed, stem in enumerate(stems):
            np.testing.assert_array_equal(data.labels(split).label(stem), _ids(seed))


@pytest.mark.parametrize("listed", AUGMENTED)
@pytest.mark.parametrize("pairs", [False, True])
def test_train_aug_has_labels_of_its_own(voc: Path, listed: str, pairs: bool) -> None:
    """Ids, or DeepLab's pairs of paths, in each of the places where the list is kept."""
    (voc / "ImageSets/Segmentation/train_aug.txt").unlink()
    line = "/JPEGImages/{0}.jpg /SegmentationClassAug/{0}.png\n" if pairs else "{0}\n"
    path = voc / "ImageSets" / listed
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(line.format(stem) for stem in (*STEMS["train"], EXTRA)))
    data = _open(voc)
    assert data.problems("train_aug") == []
    assert data.images("train_aug").ids == (*STEMS["train"], EXTRA)
    np.testing.assert_array_equal(data.labels("train_aug").label(STEMS["train"][0]), _ids(20))
    np.testing.assert_array_equal(data.labels("train").label(STEMS["train"][0]), _ids(0))


def test_without_the_augmented_labels_the_other_splits_are_sound(voc: Path) -> None:
    shutil.rmtree(voc / "SegmentationClassAug")
    data = _open(voc)
    assert data.problems("train") == data.problems("val") == []
    assert data.images("train_aug").ids[-1] == EXTRA  # images can be trained on
    with pytest.raises(DataError, match=r"SegmentationClassAug: no such folder.*SBD"):
        data.labels("train_aug")
    (voc / "ImageSets/Segmentation/train_aug.txt").unlink()
    with pytest.raises(DataError, match=r"ImageSets/Segmentation/train_aug\.txt: no such file.*SBD"):
        data.images("train_aug")


def test_images_are_the_same_without_any_label(voc: Path) -> None:
    before = _open(voc).images("train").digest()
    shutil.rmtree(voc / "SegmentationClass")
    assert _open(voc).images("train").digest() == before
    with pytest.raises(DataError, match=r"SegmentationClass: no such folder.*VOCtrainval_11-May-2012"):
        _open(voc).labels("train")


@pytest.mark.parametrize("value", [21, 254])
def test_a_value_of_no_class_is_refused(voc: Path, value: int) -> None:
    ids = _ids(0)
    ids[1, 2] = value
    path = _palette_png(voc / f"SegmentationClass/{STEMS['val'][0]}.png", ids)
    with pytest.raises(DataError, match=rf"{path}: label value {value} at row 1, column 2; expected 0 to 20, or 255"):
        _open(voc).labels("val").label(STEMS["val"][0])


def test_the_coloured_labels_of_others_are_refused(voc: Path) -> None:
    path = voc / f"SegmentationClass/{STEMS['val'][0]}.png"
    Image.open(path).convert("RGB").save(path)
    assert [line for line in _open(voc).problems("val") if str(path) in line and "one channel" in line]


def test_a_missing_label_is_told_with_its_image(voc: Path) -> None:
    (voc / f"SegmentationClass/{STEMS['val'][1]}.png").unlink()
    (line,) = _open(voc).problems("val")
    assert line.startswith(f"{voc}/JPEGImages/{STEMS['val'][1]}.jpg: has no label in {voc}/SegmentationClass")
