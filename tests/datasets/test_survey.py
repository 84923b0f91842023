"""Descriptions that are made of folders: images, labels and splits are found wherever they usually lie."""

from __future__ import annotations

from pathlib import Path

import pytest
from survey_lab import Make, numbers, photo

from spectral_bench.common.errors import DataError
from spectral_bench.datasets.description import read_description
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.datasets.registry import open_data
from spectral_bench.datasets.survey.proposal import propose


@pytest.mark.parametrize(
    ("names", "images"),
    [
        (["a.jpg", "b.JPG", "c.png"], "own"),
        (["notes.txt", ".hidden.png", "a.jpg"], "own"),
        (["x/a.jpg", "y/a.jpg"], "own/*/*.jpg"),
        (["x/a.jpg", "y/deep/a.jpg"], "own/**/*.jpg"),
        (["x/a.jpg", "y/b.png"], "own/*/*"),
        (["deep/er/a.jpg", "deep/er/b.jpg"], "own/deep/er"),
        (["beach_noon.png", "beach_dusk.png", "lake_noon.png", "lake_dusk.png"], "own"),
    ],
)
def test_images_alone(make: Make, tmp_path: Path, names: list[str], images: str) -> None:
    for name in names:
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        photo(tmp_path / "own" / name) if not name.endswith("txt") else (tmp_path / "own" / name).write_text("x")
    made = make(sum("." in name and not name.endswith("txt") and name[0] != "." for name in names))
    assert made.splits == {"train": (images, None, None)}
    assert made.content.classes == ()
    assert made.proposal.undecided == [
        "without labels nothing can be scored: say protocols: [] in grids, which then fit only"
    ]


@pytest.mark.parametrize(
    ("image", "label", "splits"),
    [
        ("photos/{}.jpg", "masks/{}.png", ("own/photos", "own/masks")),
        ("{}.jpg", "{}.png", ("own/*.jpg", "own/*.png")),
        ("{}.jpg", "{}_mask.png", ("own/*.jpg", "own/*_mask.png")),
        ("{}.png", "gt/{}.png", ("own", "own/gt")),
        ("{}_rgb.png", "{}_labels.png", ("own/*_rgb.png", "own/*_labels.png")),
        ("img/img_{}.png", "ann/mask_{}.png", ("own/img/img_*.png", "own/ann/mask_*.png")),
        ("one/{}.jpg", "two/{}.png", ("own/one", "own/two")),
        ("face_masks/img/{}.jpg", "face_masks/lab/{}.png", ("own/face_masks/img", "own/face_masks/lab")),
        ("one/{}.jpg", "two/{}.tif", ("own/one", "own/two/*.tif")),
        ("i/bonn/{}_left.png", "gt/bonn/{}_ids.png", ("own/i/bonn/*_left.png", "own/gt/bonn/*_ids.png")),
    ],
)
def test_labels_are_found_by_stem(make: Make, tmp_path: Path, image: str, label: str, splits: tuple[str, str]) -> None:
    for stem in ("a", "b_1", "c"):
        photo(tmp_path / "own" / image.format(stem))
        numbers(tmp_path / "own" / label.format(stem))
    made = make(6)
    assert made.splits == {"train": (*splits, None), "val": (*splits, None)}
    assert [entry.ids for entry in made.content.classes] == [(0,), (1,), (2,)]
    assert "no splits found: train and val are both all images" in made.proposal.undecided[0]


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("{split}/{stem}.jpg", "{split}annot/{stem}.png"),
        ("{split}/images/{stem}.jpg", "{split}/labels/{stem}.png"),
        ("images/{split}/{stem}.jpg", "labels/{split}/{stem}.png"),
        ("{split}_images/{stem}.jpg", "{split}_masks/{stem}.png"),
        ("leftImg8bit/{split}/{stem}/{stem}_leftImg8bit.png", "gtFine/{split}/{stem}/{stem}_gtFine_labelIds.png"),
    ],
)
@pytest.mark.parametrize("words", [("train", "val"), ("training", "validation"), ("Train", "test")])
def test_folders_of_splits(make: Make, tmp_path: Path, image: str, label: str, words: tuple[str, str]) -> None:
    usual = {"training": "train", "Train": "train", "validation": "val"}
    for split in words:
        for stem in ("a", "b"):
            photo(tmp_path / "own" / image.format(split=split, stem=stem))
            numbers(tmp_path / "own" / label.format(split=split, stem=stem))
    made = make(4)
    assert [*made.splits] == [usual.get(word, word) for word in words]
    assert all(labels is not None and ids is None for _, labels, ids in made.splits.values())
    no_val = "grids look for train and val: say split: test there" in made.proposal.undecided
    assert no_val == ("test" in words)


def test_labels_of_one_split_only(make: Make, tmp_path: Path) -> None:
    photo(tmp_path / "own/train/a.jpg")
    photo(tmp_path / "own/val/b.jpg")
    numbers(tmp_path / "own/val_masks/b.png")
    assert make(2).splits == {
        "train": ("own/train", None, None),
        "val": ("own/val", "own/val_masks", None),
    }


def test_the_tree_of_cityscapes_has_three_kinds_of_labels(make: Make, tmp_path: Path) -> None:
    for city in ("bonn", "ulm"):
        for number in range(2):
            stem = f"{city}_00{number}"
            photo(tmp_path / f"own/leftImg8bit/val/{city}/{stem}_leftImg8bit.png")
            numbers(tmp_path / f"own/gtFine/val/{city}/{stem}_gtFine_labelIds.png")
            numbers(tmp_path / f"own/gtFine/val/{city}/{stem}_gtFine_instanceIds.png", (0, 24000))
            numbers(tmp_path / f"own/gtFine/val/{city}/{stem}_gtFine_color.png", kind="colours")
    made = make(4)
    assert "grids look for train and val: say train_split: val there" in made.proposal.undecided
    images, labels = "own/leftImg8bit/val/*/*_leftImg8bit.png", "own/gtFine/val/*/*_gtFine_labelIds.png"
    assert made.splits == {"val": (images, labels, None)}
    (line,) = (line for line in made.proposal.undecided if "more than once" in line)
    assert "instanceIds" in line
    assert "color" in line


def test_lists_of_ids_part_one_folder(make: Make, tmp_path: Path) -> None:
    for stem in "abcd":
        photo(tmp_path / f"own/JPEGImages/{stem}.jpg")
    for stem in "abc":
        numbers(tmp_path / f"own/SegmentationClass/{stem}.png")
    for folder, val in (("Main", "c\nd\n"), ("Segmentation", "c\n")):
        (tmp_path / "own/ImageSets" / folder).mkdir(parents=True)
        (tmp_path / "own/ImageSets" / folder / "train.txt").write_text("a\nb\n")
        (tmp_path / "own/ImageSets" / folder / "val.txt").write_text(val)
    (tmp_path / "own/test.txt").write_text("gone\n")
    made = make(3)
    files = ("own/JPEGImages", "own/SegmentationClass")
    assert made.splits["val"] == (*files, "own/ImageSets/Segmentation/val.txt")
    assert made.splits["train"][:2] == files
    (line,) = (line for line in made.proposal.undecided if "test.txt" in line)
    assert "no image gone" in line


def test_images_without_a_label_and_labels_without_an_image_are_named(make: Make, tmp_path: Path) -> None:
    for stem in ("a", "b", "extra"):
        photo(tmp_path / f"own/photos/{stem}.jpg")
    for stem in ("a", "b", "orphan"):
        numbers(tmp_path / f"own/masks/{stem}.png")
    made = make(5)
    assert made.splits == {
        "train": ("own/photos", None, None),
        "val": ("own/photos", "own/masks", "own_val.txt"),
    }
    assert (tmp_path / "own_val.txt").read_text() == "a\nb\n"
    assert "val: 1 image has no label: extra.jpg" in made.proposal.undecided
    assert "val: 1 label has no image: orphan.png" in made.proposal.undecided


def test_labels_of_all_splits_in_one_folder(make: Make, tmp_path: Path) -> None:
    for split, stem in (("train", "a"), ("val", "b")):
        photo(tmp_path / f"own/images/{split}/{stem}.jpg")
        numbers(tmp_path / f"own/labels/{stem}.png")
    made = make(2)
    assert made.splits == {
        "train": ("own/images/train", "own/labels", "own_train.txt"),
        "val": ("own/images/val", "own/labels", "own_val.txt"),
    }
    assert not [line for line in made.proposal.undecided if "has no image" in line]


def test_accents_composed_in_two_ways_are_one_name(make: Make, tmp_path: Path) -> None:
    photo(tmp_path / "own/photos/caf\u00e9.jpg")
    photo(tmp_path / "own/photos/z.jpg")
    numbers(tmp_path / "own/masks/cafe\u0301.png")
    assert make(3).splits["val"][2] == "own_val.txt"
    assert (tmp_path / "own_val.txt").read_text(encoding="utf-8") == "caf\u00e9\n"


def test_masks_alone_are_described_as_images_and_that_is_said(make: Make, tmp_path: Path) -> None:
    numbers(tmp_path / "own/masks/a.png")
    assert "nothing but what looks like labels was found" in make(1).proposal.undecided[0]


def test_a_folder_can_be_described_from_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo(tmp_path / "own/a, b/{x}/a.jpg")
    photo(tmp_path / "own/a, b/{x}/deep/a.jpg")
    monkeypatch.chdir(tmp_path / "own")
    propose(Path(), Path("own.yaml")).write()
    found = read_description(Path("own.yaml")).content
    assert (found.title, str(found.splits["train"].images)) == ("own", "a, b/{x}/**/*.jpg")
    assert open_data("folder:own.yaml", DataRoots()).images("train").ids == ("a", "deep/a")


def test_labels_that_fit_no_image_are_left_out_and_both_names_are_given(make: Make, tmp_path: Path) -> None:
    photo(tmp_path / "own/photos/a.jpg")
    photo(tmp_path / "own/photos/b.jpg")
    numbers(tmp_path / "own/masks/x.png")
    made = make(2)
    assert made.splits == {"train": ("own/photos", None, None)}
    assert "has the name of an image (image a.jpg, label x.png)" in made.proposal.undecided[0]


@pytest.mark.parametrize(
    ("name", "text"), [("2024", '"2024"'), ("yes", "yes"), ("null", '"null"'), ("a: b", '"a: b"'), ("ä #b", '"ä #b"')]
)
def test_any_name_of_a_folder_can_be_written(tmp_path: Path, name: str, text: str) -> None:
    photo(tmp_path / name / "a.jpg")
    proposal = propose(tmp_path / name, tmp_path / f"{name}.yaml")
    assert f"title: {text} " in proposal.text
    proposal.write()
    found = read_description(tmp_path / f"{name}.yaml").content
    assert (found.title, str(found.splits["train"].images)) == (name, name)


def test_a_folder_elsewhere_is_named_by_its_whole_path(tmp_path: Path) -> None:
    photo(tmp_path / "own/a.jpg")
    (tmp_path / "at/work").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "at/work", target_is_directory=True)
    for path in (tmp_path / "at/work/own.yaml", tmp_path / "link/other.yaml"):  # the link leads up to another folder
        propose(tmp_path / "own", path).write()
        assert read_description(path).content.splits["train"].images == tmp_path / "own"
    propose(tmp_path / "own", tmp_path / "own/here.yaml").write()
    assert str(read_description(tmp_path / "own/here.yaml").content.splits["train"].images) == "."


def test_a_description_beside_its_folder_moves_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo(tmp_path / "here/own/a.jpg")
    monkeypatch.chdir(tmp_path / "here")
    propose(Path("own"), Path("work/own.yaml")).write()
    assert str(read_description(Path("work/own.yaml")).content.splits["train"].images) == "../own"
    (tmp_path / "here").rename(tmp_path / "there")
    moved = tmp_path / "there/work/own.yaml"
    assert open_data(f"folder:{moved}", DataRoots()).images("train").ids == ("a",)


def test_nothing_is_written_over_and_bad_places_are_refused(tmp_path: Path) -> None:
    photo(tmp_path / "own/a.jpg")
    numbers(tmp_path / "own/masks/a.png")
    numbers(tmp_path / "own/masks/b.png")
    there = tmp_path / "own.yaml"
    there.write_text("mine")
    with pytest.raises(DataError, match="is there already and is not written over"):
        propose(tmp_path / "own", there)
    (tmp_path / "new_val.txt").write_text("mine")
    with pytest.raises(DataError, match=r"new_val\.txt: is there already"):
        propose(tmp_path / "own", tmp_path / "new.yaml")
    with pytest.raises(DataError, match="expected the name of a YAML file, such as "):
        propose(tmp_path / "own", tmp_path / "own")
    with pytest.raises(DataError, match="expected a folder that is new or empty"):
        propose(tmp_path / "own", tmp_path / "x.yaml", numbers_to=tmp_path / "own")
    with pytest.raises(DataError, match="there are no colour-coded labels"):
        propose(tmp_path / "own", tmp_path / "x.yaml", numbers_to=tmp_path / "numbers")
    assert not (tmp_path / "numbers").exists()
    assert (there.read_text(), (tmp_path / "new_val.txt").read_text()) == ("mine", "mine")


def test_a_folder_without_images_says_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    with pytest.raises(DataError, match=r"holds no image; looked for \.jpg, .*, there: nothing"):
        propose(tmp_path / "own", tmp_path / "own.yaml")
    (tmp_path / "own/a.npy").touch()
    with pytest.raises(DataError, match=r"there: 1 \.npy"):
        propose(tmp_path / "own", tmp_path / "own.yaml")
    with pytest.raises(DataError, match=r'ow: no such folder; did you mean "own"\?'):
        propose(tmp_path / "ow", tmp_path / "own.yaml")


def test_one_stem_under_two_suffixes_leaves_one_kind_out(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "a.bmp"):
        photo(tmp_path / "own" / name)
    proposal = propose(tmp_path / "own", tmp_path / "own.yaml")
    proposal.write()
    assert str(read_description(tmp_path / "own.yaml").content.splits["train"].images) == "own/*.jpg"
    assert "no one pattern names all images; left out: " in proposal.undecided[0]
