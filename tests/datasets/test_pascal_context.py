from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from spectral_bench.common.errors import DataError
from spectral_bench.datasets.folder import voc_colour
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.datasets.pascal_context import N_ORIGINAL, PascalContext
from spectral_bench.datasets.registry import data_info
from spectral_bench.datasets.sound import require_no_problems

# The 59 classes in the owners' order (59_labels.txt, with the names of labels.txt).
OWNERS_TEXT = """
aeroplane bicycle bird boat bottle bus car cat chair cow table dog horse motorbike person pottedplant sheep sofa
train tvmonitor bag bed bench book building cabinet ceiling cloth computer cup door fence floor flower food
grass ground keyboard light mountain mouse curtain platform sign plate road rock shelves sidewalk sky snow
bedclothes track tree truck wall water window wood
"""
OWNERS = tuple(OWNERS_TEXT.split())
# Their numbers among the 459 categories of labels.txt, in alphabetical order of the names.
ORIGINAL = [
    *(2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105, 113, 115, 144, 158, 159),
    *(
        162,
        187,
        189,
        207,
        220,
        232,
        258,
        259,
        260,
        284,
        295,
        296,
        308,
        324,
        326,
        347,
        349,
        354,
        355,
        360,
        366,
        368,
        397,
    ),
    *(415, 416, 420, 424, 427, 440, 445, 454, 458),
]
STEMS = {"train": ("2008_000008", "2008_000015"), "val": ("2008_000002", "2008_000003")}


def _labels_txt(names: dict[int, str] | None = None) -> str:
    """A file of the owners' form: 459 lines "ID: NAME"."""
    named = dict(zip(ORIGINAL, sorted(OWNERS), strict=True)) if names is None else names
    return "".join(f"{i}: {named.get(i, f'category {i}')}\n" for i in range(1, N_ORIGINAL + 1))


@pytest.fixture
def images(tmp_path: Path, photo: Callable[..., Path]) -> Path:
    """VOC2010 with images and its own split lists, without labels of any form; returns the VOC2010 folder."""
    voc = tmp_path / "VOCdevkit" / "VOC2010"
    for split, stems in STEMS.items():
        for seed, stem in enumerate(stems):
            photo(voc / "JPEGImages" / f"{stem}.jpg", 15, 20, seed=seed)
        (voc / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
        (voc / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems))
    photo(voc / "JPEGImages" / "2010_006086.jpg")  # of VOC2010's test split: in no list
    return voc


def _ids(seed: int, highest: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, highest + 1, (15, 20))


def _write_mat(path: Path, values: np.ndarray, variable: str = "LabelMap") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, {variable: values.astype(np.uint16)}, do_compression=True)
    return path


@pytest.fixture
def original(images: Path) -> Path:
    """With the original .mat label maps of 459 categories and labels.txt, unpacked beside VOC2010."""
    for stems in STEMS.values():
        for seed, stem in enumerate(stems):
            _write_mat(images.parent / "trainval" / f"{stem}.mat", _ids(seed, N_ORIGINAL))
    (images.parent / "labels.txt").write_text(_labels_txt())
    return images


@pytest.fixture
def converted(images: Path) -> Path:
    """With palette PNGs of 0 to 59 and the lists of the usual conversion."""
    (images / "SegmentationClassContext").mkdir()
    (images / "ImageSets" / "SegmentationContext").mkdir()
    for split, stems in STEMS.items():
        for seed, stem in enumerate(stems):
            png = Image.fromarray(_ids(seed, 59).astype(np.uint8), mode="P")
            png.putpalette([value for index in range(256) for value in voc_colour(index)])
            png.save(images / "SegmentationClassContext" / f"{stem}.png")
        (images / "ImageSets" / "SegmentationContext" / f"{split}.txt").write_text("\n".join(stems))
    return images


def _open(voc: Path) -> PascalContext:
    return PascalContext(DataRoots((voc.parent.parent,)))


def test_the_59_and_60_classes_value_by_value() -> None:
    info = data_info("pascal_context")
    names = tuple(sorted(OWNERS))
    assert len(names) == 59
    assert info.raw_names == ("background", *names)
    assert info.class_sets["59"].classes == names
    assert info.class_sets["59"].raw_ids == tuple((i,) for i in range(1, 60))
    assert info.class_sets["60"].classes == ("background", *names)
    assert info.class_sets["60"].raw_ids == tuple((i,) for i in range(60))
    assert info.class_sets["60"].palette == tuple(voc_colour(i) for i in range(60))
    assert info.class_sets["59"].palette == info.class_sets["60"].palette[1:]
    assert info.default_classes == "59"


def test_the_facts_of_the_paper_and_the_owners() -> None:
    info = data_info("pascal_context")
    assert (info.short_side, info.window, info.stride) == (520, 480, 320)
    assert info.splits == {"train": 4998, "val": 5105}


@pytest.mark.parametrize("with_list", [True, False])
def test_every_original_category_becomes_its_class_or_background(original: Path, with_list: bool) -> None:
    if not with_list:
        (original.parent / "labels.txt").unlink()
    expected = np.zeros(N_ORIGINAL + 1, int)
    for index, number in enumerate(ORIGINAL, start=1):
        expected[number] = index
    np.testing.assert_array_equal(_open(original).original_ids, expected)


def test_original_labels_are_read_through_the_table(original: Path) -> None:
    data = _open(original)
    assert data.problems("train") == data.problems("val") == []
    assert data.images("train").ids == data.labels("train").ids == STEMS["train"]
    for seed, stem in enumerate(STEMS["val"]):
        label = data.labels("val").label(stem)
        assert label.dtype == np.uint16
        np.testing.assert_array_equal(label, data.original_ids[_ids(seed, N_ORIGINAL)])


def test_labels_txt_decides_which_number_a_name_has(original: Path) -> None:
    swapped = dict(zip(ORIGINAL, sorted(OWNERS), strict=True))
    swapped[2], swapped[9] = "bag", " potted plant"
    swapped[308] = "aeroplane"
    (original.parent / "labels.txt").write_text(_labels_txt(swapped))
    table = _open(original).original_ids
    names = ("background", *sorted(OWNERS))
    assert [names[table[i]] for i in (2, 9, 308)] == ["bag", "pottedplant", "aeroplane"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1: accordion\n2: aeroplane\n", "lacks 58 of the 59 classes: bag, bed,"),
        ("1: accordion\ntwo: aeroplane\n", 'line 2: "two: aeroplane"; expected "ID: NAME"'),
        ("460: zoo\n", "line 1"),
    ],
)
def test_a_wrong_labels_txt_is_named(original: Path, text: str, message: str) -> None:
    path = original.parent / "labels.txt"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        _open(original).labels("val").label(STEMS["val"][0])
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_converted_labels_are_read_as_they_are(converted: Path) -> None:
    data = _open(converted)
    assert data.problems("train") == data.problems("val") == []
    np.testing.assert_array_equal(data.labels("val").label(STEMS["val"][1]), _ids(1, 59))


def test_the_owners_own_59_class_labels_are_reordered(images: Path, label_png: Callable[..., Path]) -> None:
    every = np.arange(60, dtype=np.uint8).reshape(6, 10)
    names = ("background", *OWNERS)
    for stem in STEMS["val"]:
        label_png(images / "59_context_labels" / f"{stem}.png", np.pad(every, ((0, 9), (0, 10))))
    label = _open(images).labels("val").label(STEMS["val"][0])[:6, :10]
    raw_names = data_info("pascal_context").raw_names
    assert [raw_names[i] for i in label.ravel()] == [names[i] for i in every.ravel()]


def test_a_converted_label_goes_before_an_original_one(original: Path, label_png: Callable[..., Path]) -> None:
    stem = STEMS["val"][0]
    label_png(original / "SegmentationClassContext" / f"{stem}.png", np.full((15, 20), 7, np.uint8))
    data = _open(original)
    assert (data.labels("val").label(stem) == 7).all()
    assert data.labels("val").path(STEMS["val"][1]).suffix == ".mat"
    assert data.problems("val") == []


@pytest.mark.parametrize("place", ["pascal_context/VOCdevkit", "pcontext/VOCdevkit", "pascal_context", "."])
def test_the_other_places_of_the_data(converted: Path, tmp_path: Path, place: str) -> None:
    root = tmp_path / "root"
    (root / place).mkdir(parents=True)
    converted.rename(root / place / "VOC2010")
    assert PascalContext(DataRoots((root,))).problems("val") == []


def test_without_any_label_images_can_still_be_trained_on(images: Path) -> None:
    data = _open(images)
    assert data.images("train").ids == STEMS["train"]
    with pytest.raises(DataError, match=r"holds no label of .*Main/train\.txt\. Get VOCtrainval"):
        data.labels("train")


def test_a_list_that_names_a_missing_image(converted: Path) -> None:
    listed = converted / "ImageSets" / "SegmentationContext" / "val.txt"
    listed.write_text(listed.read_text() + "\n2009_999999\n")
    missing = converted / "JPEGImages" / "2009_999999.jpg"
    data = _open(converted)
    assert data.problems("val") == [f"{missing}: no such file, but {listed} names 2009_999999"]
    with pytest.raises(DataError, match=str(missing)):
        data.images("val")
    with pytest.raises(DataError, match=str(missing)):
        require_no_problems(data, "val")


def test_a_list_that_names_an_image_twice(converted: Path) -> None:
    listed = converted / "ImageSets" / "SegmentationContext" / "val.txt"
    listed.write_text(f"{listed.read_text()}\n{STEMS['val'][0]}\n")
    assert _open(converted).problems("val") == [f"{listed}: names {STEMS['val'][0]} twice"]


def test_missing_lists_are_named(converted: Path) -> None:
    for folder in ("SegmentationContext", "Main"):
        (converted / "ImageSets" / folder / "val.txt").unlink()
    with pytest.raises(DataError, match=r"ImageSets/SegmentationContext/val\.txt: no such file"):
        _open(converted).images("val")


def test_an_image_without_a_label_is_named(original: Path) -> None:
    (original.parent / "trainval" / f"{STEMS['train'][1]}.mat").unlink()
    problems = _open(original).problems("train")
    assert len(problems) == 1
    assert problems[0].startswith(f"{original / 'JPEGImages' / STEMS['train'][1]}.jpg: has no label in")


def test_a_mat_file_without_its_variable_is_a_problem(original: Path) -> None:
    path = _write_mat(original.parent / "trainval" / f"{STEMS['val'][0]}.mat", _ids(0, 3), "Labels")
    line = f"{path}: holds no variable LabelMap; found: Labels"
    assert _open(original).problems("val") == [line]


def test_a_label_map_of_another_size_is_a_problem(original: Path) -> None:
    path = _write_mat(original.parent / "trainval" / f"{STEMS['val'][0]}.mat", np.zeros((20, 15)))
    problems = _open(original).problems("val")
    assert len(problems) == 1
    assert problems[0].startswith(f"{path}: label of 20 x 15 pixels")


@pytest.mark.parametrize("value", [460, 65535])
def test_a_category_beyond_459_is_refused(original: Path, value: int) -> None:
    path = _write_mat(original.parent / "trainval" / f"{STEMS['val'][0]}.mat", np.full((15, 20), value))
    with pytest.raises(DataError, match=rf"{path}: label value {value}; expected 0 to 459"):
        _open(original).labels("val").label(STEMS["val"][0])


def test_a_converted_value_beyond_59_is_refused(converted: Path, label_png: Callable[..., Path]) -> None:
    label_png(converted / "SegmentationClassContext" / f"{STEMS['val'][0]}.png", np.full((15, 20), 60, np.uint8))
    with pytest.raises(DataError, match=r"label value 60 at row 0, column 0; expected 0 to 59"):
        _open(converted).labels("val").label(STEMS["val"][0])
