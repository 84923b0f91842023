from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spectral_bench.common.errors import DataError
from spectral_bench.datasets.files import FileDataSet, FileImages, FileLabels
from spectral_bench.datasets.interface import ClassSet, DataInfo, DataRoots
from spectral_bench.datasets.listing import Listing, list_folder
from spectral_bench.datasets.reading import IMAGE_SUFFIXES


class Toy(FileDataSet):
    """Images and labels side by side, told apart by the ends of their names."""

    info = DataInfo(
        name="toy",
        title="Toy",
        splits={"all": None, "bare": None},
        n_raw_labels=3,
        class_sets={"2": ClassSet("2", ("a", "b"), ((0,), (1,)), ((0, 0, 0), (1, 1, 1)))},
        default_classes="2",
        folder="toy",
        licence="Draw it yourself.",
    )
    also = ("old/toy",)

    def image_files(self, split: str) -> Listing:
        return list_folder(self.folder / split, IMAGE_SUFFIXES, ending="_image")

    def label_files(self, split: str) -> Listing:
        return list_folder(self.folder / split, (".png",), ending="_label")

    def has_labels(self, split: str) -> bool:
        return split != "bare"


class Inverted(Toy):
    """The same with its own way of reading both."""

    def read_image(self, path: Path) -> NDArray[np.uint8]:
        return np.asarray(255 - super().read_image(path), np.uint8)

    def read_label(self, path: Path) -> NDArray[np.uint16]:
        return np.asarray(2 - super().read_label(path), np.uint16)


@pytest.fixture
def root(tmp_path: Path, photo: Callable[..., Path], label_png: Callable[..., Path]) -> Path:
    for seed, stem in enumerate(("p", "q")):
        photo(tmp_path / "toy" / "all" / f"{stem}_image.png", 4, 6, seed=seed)
        photo(tmp_path / "toy" / "bare" / f"{stem}_image.png", 4, 6, seed=seed)
        label_png(tmp_path / "toy" / "all" / f"{stem}_label.png", np.full((4, 6), seed, np.uint8))
    return tmp_path


def _open(root: Path, kind: type[FileDataSet] = Toy) -> FileDataSet:
    return kind(DataRoots((root,)))


def test_a_subclass_says_only_where_its_files_are(root: Path) -> None:
    data = _open(root)
    assert data.images("all").ids == data.labels("all").ids == ("p", "q")
    assert data.problems("all") == data.problems("bare") == []
    assert (data.labels("all").label("q") == 1).all()


def test_a_subclass_may_read_its_files_in_its_own_way(root: Path) -> None:
    plain, inverted = _open(root), _open(root, Inverted)
    np.testing.assert_array_equal(inverted.images("all").image("p"), 255 - plain.images("all").image("p"))
    assert (inverted.labels("all").label("p") == 2).all()


def test_the_range_is_checked_after_reading(root: Path, label_png: Callable[..., Path]) -> None:
    label_png(root / "toy" / "all" / "p_label.png", np.full((4, 6), 3, np.uint8))
    with pytest.raises(DataError, match="label value 3 at row 0, column 0; expected 0 to 2"):
        _open(root).labels("all").label("p")


def test_another_place_below_a_root_is_found_and_the_first_is_preferred(root: Path) -> None:
    (root / "old").mkdir()
    (root / "toy").rename(root / "old" / "toy")
    assert _open(root).folder == root / "old" / "toy"
    (root / "toy").mkdir()
    assert _open(root).folder == root / "toy"


def test_the_base_class_cannot_be_used_alone(root: Path) -> None:
    with pytest.raises(TypeError, match="abstract"):
        FileDataSet(DataRoots((root,)))  # type: ignore[abstract]


def test_which_splits_are_held(root: Path) -> None:
    data = _open(root)
    assert data.holds("all")
    for path in (root / "toy" / "bare").iterdir():
        path.unlink()
    assert not data.holds("bare")
    with pytest.raises(DataError, match=r"toy, split bare: .*holds no file of this data set\. Draw it yourself\."):
        data.images("bare")


def test_both_loaders_can_be_had_whatever_is_wrong_with_the_lists(root: Path, photo: Callable[..., Path]) -> None:
    photo(root / "toy" / "all" / "p_image.jpg", 4, 6)
    data = _open(root)
    with pytest.raises(DataError, match="same stem"):
        data.images("all")
    images, labels = data.loaders("all")
    assert images.ids == ("p", "q")
    assert labels is not None
    assert data.loaders("bare")[1] is None


def test_loaders_name_their_files_and_refuse_unknown_ids(root: Path) -> None:
    images, labels = _open(root).images("all"), _open(root).labels("all")
    assert images.path("p") == root / "toy" / "all" / "p_image.png"
    assert labels.path("p") == root / "toy" / "all" / "p_label.png"
    with pytest.raises(DataError, match="toy: no image z in"):
        images.image("z")
    with pytest.raises(DataError, match="toy: z has no label in"):
        labels.label("z")


def test_image_loaders_have_no_way_to_a_label(root: Path) -> None:
    images = _open(root).images("all")
    assert isinstance(images, FileImages)
    assert not any("label" in name for name in dir(images))
    reachable = [value for value in vars(images).values() if isinstance(value, (Listing, FileLabels))]
    assert all("label" not in str(path) for listing in reachable for path in listing.files.values())


def test_digests_follow_the_files_of_their_own_kind(root: Path, label_png: Callable[..., Path]) -> None:
    data = _open(root)
    images, labels = data.images("all").digest(), data.labels("all").digest()
    label_png(root / "toy" / "all" / "p_label.png", np.arange(24, dtype=np.uint8).reshape(4, 6) % 3)
    assert data.images("all").digest() == images
    assert data.labels("all").digest() != labels
