from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spectral_bench.common.errors import DataError
from spectral_bench.datasets.camvid import CamVid
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.datasets.registry import data_info, open_data
from spectral_bench.datasets.sound import count_warning, require_no_problems

NAMES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign symbol",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)


def _open(root: Path) -> CamVid:
    return CamVid(DataRoots((root,)))


def test_the_class_table_value_by_value() -> None:
    info = data_info("camvid")
    classes = info.class_sets["11"]
    assert classes.classes == NAMES
    assert classes.raw_ids == tuple((i,) for i in range(11))
    assert info.n_raw_labels == 12
    assert info.raw_names[11] == "void"
    assert classes.palette == (
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (60, 40, 222),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    )
    assert info.evaluation_size == (352, 480)
    assert info.splits == {"train": 367, "val": 101, "test": 233}


def test_images_and_labels_are_paired_by_stem(camvid_root: Path) -> None:
    data = _open(camvid_root)
    assert data.images("train").ids == data.labels("train").ids == ("a", "b", "c")
    assert data.images("val").ids == ("d", "e")
    assert data.problems("train") == data.problems("val") == []
    require_no_problems(data, "train")
    written = np.asarray(Image.open(camvid_root / "camvid" / "trainannot" / "b.png"))
    np.testing.assert_array_equal(data.labels("train").label("b"), written)
    np.testing.assert_array_equal(
        data.images("train").image("b"), np.asarray(Image.open(camvid_root / "camvid" / "train" / "b.jpg"))
    )


def test_training_images_need_no_labels(camvid_root: Path) -> None:
    before = _open(camvid_root).images("train")
    for path in (camvid_root / "camvid" / "trainannot").iterdir():
        path.unlink()
    (camvid_root / "camvid" / "trainannot").rmdir()
    after = _open(camvid_root).images("train")
    assert after.ids == before.ids
    assert after.digest() == before.digest()
    np.testing.assert_array_equal(after.image("a"), before.image("a"))
    with pytest.raises(DataError, match=r"trainannot: no such folder"):
        _open(camvid_root).labels("train")


def test_a_missing_root_says_where_to_get_the_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"camvid: no such folder: {tmp_path}/camvid; .*Get it from https://"):
        _open(tmp_path)


def test_a_split_that_is_not_on_disk_is_named(camvid_root: Path) -> None:
    for loader in ("images", "labels"):
        with pytest.raises(DataError, match=rf"camvid, split test: {camvid_root}/camvid/test(annot)?: no such folder"):
            getattr(_open(camvid_root), loader)("test")
    problems = _open(camvid_root).problems("test")
    assert len(problems) == 2
    assert all("no such folder" in line for line in problems)


@pytest.mark.parametrize("loader", ["images", "labels", "problems"])
def test_an_unknown_split_lists_the_valid_ones(camvid_root: Path, loader: str) -> None:
    with pytest.raises(DataError, match=r'unknown split of camvid "tran"; did you mean "train"'):
        getattr(_open(camvid_root), loader)("tran")


def test_labels_play_no_part_where_only_images_are_asked_about(camvid_root: Path) -> None:
    (camvid_root / "camvid" / "trainannot").rename(camvid_root / "elsewhere")
    data = _open(camvid_root)
    assert len(data.problems("train")) == 1
    assert data.problems("train", labels=False) == []
    require_no_problems(data, "train", labels=False)
    (camvid_root / "camvid" / "train" / "a.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a\.jpg: cannot be read"):
        require_no_problems(data, "train", labels=False)


def test_an_image_without_a_label(camvid_root: Path) -> None:
    (camvid_root / "camvid" / "trainannot" / "b.png").unlink()
    data, image = _open(camvid_root), camvid_root / "camvid" / "train" / "b.jpg"
    line = f"{image}: has no label in {camvid_root / 'camvid' / 'trainannot'}"
    assert data.problems("train") == [line]
    with pytest.raises(DataError, match=rf"{image}.*has no label"):
        require_no_problems(data, "train")
    with pytest.raises(DataError, match=rf"{image} has no label"):
        data.labels("train").label("b")


def test_a_label_without_an_image(camvid_root: Path) -> None:
    (camvid_root / "camvid" / "val" / "e.jpg").unlink()
    label = camvid_root / "camvid" / "valannot" / "e.png"
    assert _open(camvid_root).problems("val") == [f"{label}: has no image in {camvid_root / 'camvid' / 'val'}"]
    with pytest.raises(DataError, match="camvid: no image e in"):
        _open(camvid_root).images("val").image("e")


def test_a_label_of_another_size(camvid_root: Path, label_png: Callable[..., Path]) -> None:
    label = label_png(camvid_root / "camvid" / "valannot" / "d.png", np.zeros((16, 12), np.uint8))
    problems = _open(camvid_root).problems("val")
    assert len(problems) == 1
    assert problems[0].startswith(f"{label}: label of 16 x 12 pixels")
    assert "d.jpg has 12 x 16" in problems[0]
    with pytest.raises(DataError, match=r"label of 16 x 12.*d\.jpg has 12 x 16"):
        _open(camvid_root).labels("val").label("d")


def test_a_label_value_outside_of_the_table(camvid_root: Path, label_png: Callable[..., Path]) -> None:
    values = np.zeros((12, 16), np.uint8)
    values[2, 5] = 12
    label = label_png(camvid_root / "camvid" / "valannot" / "d.png", values)
    with pytest.raises(DataError, match=rf"{label}: label value 12 at row 2, column 5; expected 0 to 11"):
        _open(camvid_root).labels("val").label("d")


def test_two_files_with_one_stem_stop_the_images(camvid_root: Path, photo: Callable[..., Path]) -> None:
    photo(camvid_root / "camvid" / "train" / "a.png")
    data = _open(camvid_root)
    assert len(data.problems("train")) == 1
    with pytest.raises(DataError, match=r"a\.png: has the same stem as .*a\.jpg"):
        data.images("train")


def test_a_truncated_image_is_named_when_it_is_read(camvid_root: Path) -> None:
    path = camvid_root / "camvid" / "train" / "a.jpg"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=rf"{path}: cannot be read as an image"):
        _open(camvid_root).images("train").image("a")


def test_all_problems_are_listed_at_once(camvid_root: Path, photo: Callable[..., Path], label_png: Callable) -> None:
    base = camvid_root / "camvid"
    (base / "train" / "a.jpg").write_bytes(b"no image")
    (base / "trainannot" / "b.png").unlink()
    label_png(base / "trainannot" / "c.png", np.zeros((5, 5), np.uint8))
    photo(base / "trainannot" / "z.png")
    photo(base / "train" / "c.png")
    problems = _open(camvid_root).problems("train")
    expected = {"a.jpg: cannot", "b.jpg: has no label", "c.png: label of 5 x 5", "z.png: has no image"}
    expected |= {"z.png: pixels of mode RGB", "c.png: has the same stem"}
    assert len(problems) == len(expected)
    for part in expected:
        assert sum(part in line for line in problems) == 1, part
    with pytest.raises(DataError, match=r"\(and 5 more"):
        require_no_problems(_open(camvid_root), "train")


def test_another_number_of_images_than_published_is_told(camvid_root: Path) -> None:
    assert count_warning(_open(camvid_root), "val") == "camvid, split val: 2 images found, 101 published"
    assert count_warning(open_data("synthetic", DataRoots()), "val") is None


@pytest.mark.camvid
def test_the_real_images(camvid_data: DataRoots) -> None:
    data = open_data("camvid", camvid_data)
    for split in ("train", "val"):
        assert data.problems(split) == []
        assert count_warning(data, split) is None
    images, labels = data.images("val"), data.labels("val")
    image, label = images.image(images.ids[0]), labels.label(images.ids[0])
    assert image.shape == (360, 480, 3)
    assert label.shape == (360, 480)
    counts = sum(np.bincount(labels.label(i).ravel(), minlength=12) for i in labels.ids)
    assert np.argmax(counts) == 3  # road
    assert counts.min() > 0
    assert counts[11] / counts.sum() < 0.03
