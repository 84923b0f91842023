from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spectral_bench.common.errors import DataError
from spectral_bench.datasets.imagenet import ImageNet
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.datasets.registry import data_info


@pytest.fixture
def root(tmp_path: Path, photo: Callable[..., Path]) -> Path:
    """Training images in folders of synsets, validation images in one folder, as they are shipped."""
    for synset in ("n01440764", "n02105855"):
        for number in (2, 10):
            photo(tmp_path / "imagenet" / "train" / synset / f"{synset}_{number}.JPEG", seed=number)
    for number in (1, 2, 3):
        photo(tmp_path / "imagenet" / "val" / f"ILSVRC2012_val_0000000{number}.JPEG", seed=number)
    return tmp_path


def _open(root: Path) -> ImageNet:
    return ImageNet(DataRoots((root,)))


def test_images_are_found_in_folders_of_synsets_and_flat(root: Path) -> None:
    data = _open(root)
    stems = ("n01440764_10", "n01440764_2", "n02105855_10", "n02105855_2")
    assert data.images("train").ids == stems
    assert data.images("val").ids == tuple(f"ILSVRC2012_val_0000000{n}" for n in (1, 2, 3))
    assert data.images("train").image("n01440764_2").shape == (12, 16, 3)
    assert data.problems("train") == data.problems("val") == []


def test_validation_images_may_be_sorted_into_synsets(root: Path) -> None:
    folder = root / "imagenet" / "val" / "n01440764"
    folder.mkdir()
    for path in (root / "imagenet" / "val").glob("*.JPEG"):
        path.rename(folder / path.name)
    assert len(_open(root).images("val").ids) == 3


def test_there_are_no_labels_and_no_classes(root: Path) -> None:
    info = data_info("imagenet")
    assert info.class_sets == {}
    assert info.default_classes == ""
    assert info.splits == {"train": 1281167, "val": 50000}
    with pytest.raises(DataError, match="imagenet has no labels"):
        _open(root).labels("train")


def test_the_cmyk_and_png_images_of_the_official_data_are_read(root: Path) -> None:
    data = _open(root)
    path = data.images("train").path("n02105855_2")
    red = Image.new("RGB", (16, 12), (200, 10, 10))
    red.convert("CMYK").save(path, format="JPEG", quality=95)
    image = data.images("train").image("n02105855_2")
    assert np.abs(image.astype(int) - [200, 10, 10]).max() < 12
    red.save(path, format="PNG")
    np.testing.assert_array_equal(data.images("train").image("n02105855_2"), np.asarray(red))
    assert data.problems("train") == []


def test_the_other_place_of_the_data(root: Path) -> None:
    (root / "ILSVRC" / "Data").mkdir(parents=True)
    (root / "imagenet").rename(root / "ILSVRC" / "Data" / "CLS-LOC")
    assert len(_open(root).images("train").ids) == 4


def test_two_images_with_one_stem_in_two_folders_are_told(root: Path, photo: Callable[..., Path]) -> None:
    path = photo(root / "imagenet" / "train" / "n09999999" / "n01440764_2.JPEG")
    with pytest.raises(DataError, match=rf"{path}: has the same stem as .*n01440764/n01440764_2\.JPEG"):
        _open(root).images("train")
