from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from spectral_bench.common.errors import DataError
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.datasets.potsdam3 import LISTS, Potsdam3
from spectral_bench.datasets.registry import data_info
from spectral_bench.datasets.verify import verify

IDS = {"train": ("12", "3"), "unlabelled_train": ("7",), "val": ("0", "8549")}


def _image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (200, 200, 4), dtype=np.uint8)


def _label(seed: int) -> np.ndarray:
    return np.random.default_rng(seed + 100).integers(0, 6, (200, 200), dtype=np.int32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What potsdam_prepare.py writes: 200 x 200 x 4 images of 8 bits, int32 labels, three lists."""
    base = tmp_path / "potsdam"
    (base / "imgs").mkdir(parents=True)
    (base / "gt").mkdir()
    for split, ids in IDS.items():
        for one in ids:
            scipy.io.savemat(base / f"imgs/{one}.mat", {"img": _image(int(one))})
            if split != "unlabelled_train":
                scipy.io.savemat(base / f"gt/{one}.mat", {"gt": _label(int(one))})
        (base / LISTS[split]).write_text("".join(f"{one}\n" for one in ids))
    return base


def _open(folder: Path) -> Potsdam3:
    return Potsdam3(DataRoots((folder.parent,)))


def test_six_classes_merge_in_pairs() -> None:
    info = data_info("potsdam3")
    assert info.raw_names == ("roads", "buildings", "vegetation", "trees", "cars", "clutter")
    assert info.class_sets["6"].raw_ids == tuple((i,) for i in range(6))
    three = info.class_sets["3"]
    assert dict(zip(three.classes, three.raw_ids, strict=True)) == {
        "roads and cars": (0, 4),
        "buildings and clutter": (1, 5),
        "vegetation and trees": (2, 3),
    }
    assert info.default_classes == "3"
    # 38 tiles of 15 x 15, of which 24 have labels; a tenth of all is the test set
    assert info.splits == {"train": 24 * 225 - 855, "unlabelled_train": 14 * 225, "val": 38 * 225 // 10}


def test_images_and_labels_of_the_lists(folder: Path) -> None:
    data = _open(folder)
    for split, ids in IDS.items():
        assert data.problems(split) == []
        assert data.images(split).ids == ids
        for one in ids:
            image = data.images(split).image(one)
            assert (image.dtype, image.flags.c_contiguous) == (np.uint8, True)
            np.testing.assert_array_equal(image, _image(int(one))[..., :3])
    np.testing.assert_array_equal(data.labels("val").label("8549"), _label(8549))
    assert all(report.sound for report in verify(data, sample=None))


def test_what_has_no_labels_says_so(folder: Path) -> None:
    data = _open(folder)
    assert not data.has_labels("unlabelled_train")
    with pytest.raises(
        DataError, match=r'"unlabelled_train" of potsdam3 has no labels; splits with labels: train, val'
    ):
        data.labels("unlabelled_train")


def test_images_are_the_same_without_any_label(folder: Path) -> None:
    before = _open(folder).images("train").digest()
    shutil.rmtree(folder / "gt")
    assert _open(folder).images("train").digest() == before
    with pytest.raises(DataError, match=r"gt: no such folder.*Potsdam\.tar\.gz"):
        _open(folder).labels("train")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"img": _image(0)[..., :2]}, "img has 2 channels of uint8; expected 3 or more of uint8"),
        ({"img": _image(0).astype(float)}, "img has 4 channels of double; expected 3 or more of uint8"),
        ({"img": _image(0)[..., 0]}, "img has 2 dimensions; expected 3"),
        ({"image": _image(0)}, "holds no variable img; found: image"),
    ],
)
def test_an_image_of_another_form_is_a_problem(folder: Path, content: dict[str, np.ndarray], message: str) -> None:
    path = folder / "imgs/0.mat"
    scipy.io.savemat(path, content)
    assert _open(folder).problems("val") == [f"{path}: {message}"]
    with pytest.raises(DataError, match=message):
        _open(folder).images("val").image("0")


def test_each_fault_of_labels_is_told_before_anything_runs(folder: Path) -> None:
    small = folder / "gt/0.mat"
    scipy.io.savemat(small, {"gt": _label(0)[:100]})
    (folder / "gt/8549.mat").unlink()
    problems = _open(folder).problems("val")
    assert problems[0].startswith(f"{folder}/imgs/8549.mat: has no label in {folder}/gt")
    assert problems[1].startswith(f"{small}: label of 100 x 200 pixels (height x width), but its image")
    assert len(problems) == 2
    with pytest.raises(DataError, match="label of 100 x 200 pixels"):
        _open(folder).loaders("val")[1].label("0")


def test_a_value_beyond_the_classes_is_refused(folder: Path) -> None:
    path = folder / "gt/0.mat"
    scipy.io.savemat(path, {"gt": np.full((200, 200), 6, np.int32)})
    with pytest.raises(DataError, match=rf"{path}: label value 6 at row 0, column 0; expected 0 to 5"):
        _open(folder).labels("val").label("0")


def test_a_truncated_image_is_named(folder: Path) -> None:
    path = folder / "imgs/0.mat"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=rf"{path}: cannot be read as a MATLAB file"):
        _open(folder).images("val").image("0")


def test_missing_lists_are_named(folder: Path) -> None:
    (folder / "labelled_test.txt").unlink()
    with pytest.raises(DataError, match=r"labelled_test\.txt: no such file.*potsdam_prepare\.py"):
        _open(folder).images("val")
