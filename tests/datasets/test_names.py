"""Names of files: whatever the system holds works, or is refused by name."""

from __future__ import annotations

import codecs
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spectral_bench.common.errors import DataError
from spectral_bench.datasets.camvid import CamVid
from spectral_bench.datasets.cityscapes import CITIES, Cityscapes
from spectral_bench.datasets.imagenet import ImageNet
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.datasets.listing import from_list, list_folder, listed_ids, read_text, stems
from spectral_bench.datasets.pascal_context import PascalContext
from spectral_bench.datasets.prepare import prepare

COMPOSED, APART = "stra\u00dfe_\u00e9", "stra\u00dfe_e\u0301"


@pytest.fixture
def voc(tmp_path: Path, photo: Callable[..., Path], label_png: Callable[..., Path]) -> Path:
    """VOC2010 with one image a split; returns its folder."""
    folder = tmp_path / "VOCdevkit" / "VOC2010"
    for split, stem in (("train", "a1"), ("val", COMPOSED)):
        photo(folder / "JPEGImages" / f"{stem}.jpg")
        label_png(folder / "SegmentationClassContext" / f"{stem}.png", np.full((12, 16), 3, np.uint8))
        listed = folder / "ImageSets" / "SegmentationContext" / f"{split}.txt"
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_text(f"{stem}\n", encoding="utf-8")
    return folder


def _open(voc: Path) -> PascalContext:
    return PascalContext(DataRoots((voc.parents[1],)))


@pytest.mark.parametrize(("folder", "suffix"), [("JPEGImages", ".JPG"), ("SegmentationClassContext", ".Png")])
def test_listed_files_may_have_suffixes_in_capitals(voc: Path, folder: str, suffix: str) -> None:
    for path in (voc / folder).iterdir():
        path.rename(path.with_suffix(suffix))
    data = _open(voc)
    assert data.problems("train") == data.problems("val") == []
    assert data.images("train").path("a1").suffix == (suffix if folder == "JPEGImages" else ".jpg")
    assert data.labels("train").label("a1")[0, 0] == 3


def test_what_is_converted_already_is_left_alone_whatever_the_case_of_its_suffix(voc: Path) -> None:
    (voc / "trainval").mkdir()
    (voc / "trainval" / "a1.MAT").write_bytes(b"never read")
    (voc / "SegmentationClassContext" / "a1.png").rename(voc / "SegmentationClassContext" / "a1.PNG")
    assert prepare(_open(voc)) == 0


def test_the_suffix_in_lower_case_counts_where_both_are_there(tmp_path: Path) -> None:
    for name in ("a.JPG", "a.jpg", "b.JPG"):
        (tmp_path / name).touch()
    assert stems(tmp_path, (".jpg",)) == {"a": tmp_path / "a.jpg", "b": tmp_path / "b.JPG"}


@pytest.mark.parametrize("folder", ["JPEGImages", "SegmentationClassContext"])
def test_names_composed_in_another_way_are_the_same_names(voc: Path, folder: str) -> None:
    (path,) = (voc / folder).glob(f"{COMPOSED}.*")
    path.rename(path.with_name(f"{APART}{path.suffix}"))
    data = _open(voc)
    assert data.problems("val") == []
    assert data.images("val").ids == data.labels("val").ids == (COMPOSED,)
    assert data.labels("val").label(COMPOSED)[0, 0] == 3


def test_images_and_labels_of_a_folder_are_paired_however_their_names_are_composed(
    camvid_root: Path, photo: Callable[..., Path], label_png: Callable[..., Path]
) -> None:
    photo(camvid_root / "camvid" / "val" / f"{APART}.png")
    label_png(camvid_root / "camvid" / "valannot" / f"{COMPOSED}.png", np.full((12, 16), 5, np.uint8))
    data = CamVid(DataRoots((camvid_root,)))
    assert data.problems("val") == []
    assert data.images("val").ids == data.labels("val").ids == ("d", "e", APART)
    assert data.labels("val").label(APART)[0, 0] == 5
    _, labels = data.loaders("val")
    assert labels is not None
    assert labels.ids == ("d", "e", APART)


def test_two_names_that_differ_by_composition_only_stay_two(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        for stem in (APART, COMPOSED):
            (tmp_path / folder / f"{stem}.png").touch()
    one, two = (list_folder(tmp_path / folder, (".png",)) for folder in ("one", "two"))
    assert two.named_like(one).files == two.files


def test_byte_order_marks_are_no_part_of_an_id(tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_bytes(codecs.BOM_UTF8 + b"a\r\n" + codecs.BOM_UTF8 + b"b\r\n")
    (tmp_path / "a.jpg").touch()
    (tmp_path / "b.jpg").touch()
    found = from_list(listed, tmp_path, ".jpg")
    assert (list(found.files), found.problems) == (["a", "b"], ())


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_list_in_utf_16_is_named_as_such(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "list.txt").write_bytes("\ufeffa\n".encode(encoding))
    with pytest.raises(DataError, match=r"list\.txt: is no UTF-8 text but UTF-16.*save it as UTF-8"):
        read_text(tmp_path / "list.txt")


def test_names_with_blanks_can_be_listed(tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("my leaf 1\nb c\nd\n")
    assert listed_ids(listed, ["my leaf 1", "b", "c", "d"]) == ["my leaf 1", "b", "c", "d"]


def test_a_missing_file_of_a_list_is_told_with_what_lies_there(voc: Path) -> None:
    listed = voc / "ImageSets" / "SegmentationContext" / "train.txt"
    listed.write_text("A1\nb2.jpg\nc3\nd4\n")
    folder = voc / "JPEGImages"
    (folder / "b2.jpg").touch()
    (folder / "c3.png").touch()
    assert _open(voc).problems("train", labels=False)[:4] == [
        f"{folder / 'A1.jpg'}: no such file, but {listed} names A1; there is a1.jpg",
        f"{folder / 'b2.jpg.jpg'}: no such file, but {listed} names b2.jpg; there is b2.jpg",
        f"{folder / 'c3.jpg'}: no such file, but {listed} names c3; there is c3.png",
        f"{folder / 'd4.jpg'}: no such file, but {listed} names d4",
    ]


def test_links_that_lead_nowhere_are_told_before_anything_is_read(tmp_path: Path, photo: Callable[..., Path]) -> None:
    good = photo(tmp_path / "imagenet" / "train" / "n1" / "n1_1.JPEG")
    lost = good.with_name("n1_2.JPEG")
    lost.symlink_to(tmp_path / "elsewhere" / "n1_2.JPEG")
    good.with_name("notes.txt").symlink_to("nothing")
    data = ImageNet(DataRoots((tmp_path,)))
    line = f"{lost}: no such file: it is a link to {tmp_path}/elsewhere/n1_2.JPEG, which is not there"
    assert data.problems("train") == [line]
    with pytest.raises(DataError) as caught:
        data.images("train")
    assert str(caught.value) == line
    lost.unlink()
    (tmp_path / "imagenet" / "train" / "n2").symlink_to("gone")
    assert "n2: no such folder: it is a link to gone" in data.problems("train")[0]


def test_a_file_that_vanishes_is_a_data_error(tmp_path: Path, photo: Callable[..., Path]) -> None:
    path = photo(tmp_path / "imagenet" / "val" / "v_1.JPEG")
    images = ImageNet(DataRoots((tmp_path,))).images("val")
    path.unlink()
    for look in (images.digest, lambda: images.image("v_1")):
        with pytest.raises(DataError, match=r"v_1\.JPEG: no such file"):
            look()


@pytest.mark.parametrize(
    ("name", "line"),
    [(b"a\xffb.png", "a\\udcffb.png: this name is no UTF-8"), (b"a\nb.png", "a\\nb.png: this name holds a control")],
)
def test_names_that_no_record_can_hold_are_refused(tmp_path: Path, name: bytes, line: str) -> None:
    (tmp_path / "ok.png").touch()
    try:
        with open(os.path.join(os.fsencode(tmp_path), name), "wb"):  # noqa: PTH118, PTH123 - a path of bytes
            pass
    except OSError:
        pytest.skip("the file system takes no such name")
    found = list_folder(tmp_path, (".png",))
    assert list(found.files) == ["ok"]
    assert [problem.removeprefix(f"{tmp_path}/")[: len(line)] for problem in found.problems] == [line]


@pytest.fixture
def streets(tmp_path: Path, photo: Callable[..., Path], label_png: Callable[..., Path]) -> Path:
    """The validation cities of Cityscapes with labels of the two other kinds only; returns ``gtFine/val``."""
    masks = tmp_path / "cityscapes" / "gtFine" / "val"
    for city in CITIES["val"]:
        stem = f"{city}_000000_000001"
        photo(tmp_path / "cityscapes" / "leftImg8bit" / "val" / city / f"{stem}_leftImg8bit.png", 8, 16)
        photo(masks / city / f"{stem}_gtFine_color.png", 8, 16)
        label_png(masks / city / f"{stem}_gtFine_labelTrainIds.png", np.zeros((8, 16), np.uint8))
    return masks


def test_labels_of_another_kind_are_named_with_the_kind_that_is_wanted(streets: Path) -> None:
    data = Cityscapes(DataRoots((streets.parents[2],)))
    line = (
        f"{streets}: holds no file of this data set; looked for *_gtFine_labelIds.png, "
        "there: 3 *_color.png, 3 *_labelTrainIds.png"
    )
    assert line in data.problems("val")
    with pytest.raises(DataError, match=r"looked for \*_gtFine_labelIds\.png, there: 3 \*_color\.png"):
        data.labels("val")


def test_a_single_label_of_another_kind_is_named_with_its_image(streets: Path) -> None:
    for city in ("lindau", "munster"):
        (path,) = (streets / city).glob("*_labelTrainIds.png")
        shutil.copy(path, str(path).replace("labelTrainIds", "labelIds"))
    data = Cityscapes(DataRoots((streets.parents[2],)))
    (problem,) = data.problems("val")
    there = "frankfurt_000000_000001_gtFine_color.png, frankfurt_000000_000001_gtFine_labelTrainIds.png"
    hint = f"; looked for frankfurt_000000_000001_gtFine_labelIds.png, there: {there}"
    assert problem.endswith(f"has no label in {streets}{hint}")
    with pytest.raises(DataError, match="there: frankfurt_000000_000001_gtFine_color"):
        data.labels("val").label("frankfurt_000000_000001")


def test_the_root_is_told_with_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "CamVid").mkdir()
    with pytest.raises(DataError, match=rf'no such folder: {tmp_path}/camvid; did you mean "CamVid"\?'):
        CamVid(DataRoots((tmp_path,)))
    with pytest.raises(DataError, match=r"camvid; .*nowhere: no such folder"):
        CamVid(DataRoots((tmp_path / "nowhere",)))
