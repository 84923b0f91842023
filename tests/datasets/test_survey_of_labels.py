"""Descriptions that are made of folders: what values of labels and sizes of images become, and what is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from survey_lab import COLOURS, SIZE, Make, numbers, photo

from spectral_bench.datasets.description import read_description
from spectral_bench.datasets.survey.proposal import propose


def test_the_values_of_labels_become_classes_and_255_void(make: Make, tmp_path: Path) -> None:
    photo(tmp_path / "own/photos/a.jpg")
    numbers(tmp_path / "own/masks/a.png", (3, 7, 255))
    made = make(2)
    assert [(entry.name, entry.ids) for entry in made.content.classes] == [("class_3", (3,)), ("class_7", (7,))]
    assert made.content.ignore == (255,)
    assert "labels: values 3, 7, 255" in made.proposal.found
    assert "label value 255 was taken to be void, as is usual: see ignore" in made.proposal.undecided
    assert "33 % of the pixels, in 1 of 1 labels" in made.proposal.text


def test_masks_of_black_and_white_are_two_classes(make: Make, tmp_path: Path) -> None:
    photo(tmp_path / "own/photos/a.jpg")
    numbers(tmp_path / "own/masks/a.png", (0, 255))
    made = make(2)
    assert [entry.ids for entry in made.content.classes] == [(0,), (255,)]
    assert made.content.ignore == ()


def test_a_mask_of_one_bit_is_read_as_stored(make: Make, tmp_path: Path) -> None:
    photo(tmp_path / "own/photos/a.jpg")
    (tmp_path / "own/masks").mkdir()
    Image.fromarray(np.resize(np.array([False, True]), SIZE)).save(tmp_path / "own/masks/a.png")
    assert [entry.ids for entry in make(2).content.classes] == [(0,), (1,)]


def test_a_palette_gives_classes_their_colours(make: Make, tmp_path: Path) -> None:
    photo(tmp_path / "own/photos/a.jpg")
    numbers(tmp_path / "own/masks/a.png", kind="palette")
    made = make(2)
    assert [(entry.ids, entry.colour) for entry in made.content.classes] == [
        ((number,), colour) for number, colour in enumerate(COLOURS)
    ]
    assert "labels: values 0 to 2, a palette of colours" in made.proposal.found


def test_labels_of_sixteen_bits(make: Make, tmp_path: Path) -> None:
    photo(tmp_path / "own/photos/a.jpg")
    numbers(tmp_path / "own/masks/a.png", (0, 1000, 65535))
    made = make(2)
    assert [entry.ids for entry in made.content.classes] == [(0,), (1000,)]
    assert made.content.ignore == (65535,)


def test_colour_coded_labels_are_left_out_or_written_as_numbers(make: Make, tmp_path: Path) -> None:
    for stem in ("x/a", "y/a"):
        photo(tmp_path / f"own/photos/{stem}.jpg")
        numbers(tmp_path / f"own/masks/{stem}.png", kind="colours")
    made = make(2)
    assert made.splits == {"train": ("own/photos/*/*.jpg", None, None)}
    (line,) = (line for line in made.proposal.undecided if "colour" in line)
    assert "colour-coded (3 colours), and labels are read as numbers of one channel" in line
    assert "--numbers-to FOLDER" in line
    (tmp_path / "own.yaml").unlink()
    made = make(4, numbers_to=tmp_path / "numbers")
    assert made.splits["val"][1] == "numbers/**/*.png"
    assert [entry.colour for entry in made.content.classes] == sorted(COLOURS)
    written, colours = (np.array(Image.open(tmp_path / name / "y/a.png")) for name in ("numbers", "own/masks"))
    np.testing.assert_array_equal(np.array(sorted(COLOURS), np.uint8)[written], colours)


def test_black_and_white_stored_as_colours_keeps_its_greys(make: Make, tmp_path: Path) -> None:
    photo(tmp_path / "own/photos/a.jpg")
    (tmp_path / "own/masks").mkdir()
    Image.fromarray(np.resize(np.array([0, 255], np.uint8), SIZE)).convert("RGB").save(tmp_path / "own/masks/a.png")
    made = make(2, numbers_to=tmp_path / "numbers")
    assert [entry.ids for entry in made.content.classes] == [(0,), (255,)]
    assert made.splits["val"][1] == "numbers"


@pytest.mark.parametrize("kind", ["photographs", "lossy", "instances", "mixed"])
def test_labels_that_are_none_are_left_out_with_the_reason(make: Make, tmp_path: Path, kind: str) -> None:
    for stem in "ab":
        photo(tmp_path / f"own/photos/{stem}.jpg")
        if kind == "photographs":
            photo(tmp_path / f"own/masks/{stem}.png", (80, 80))
        elif kind == "lossy":
            photo(tmp_path / f"own/masks/{stem}.jpg")
            (tmp_path / f"own/masks/{stem}.jpg").rename(tmp_path / f"own/masks/{stem}.png")
        elif kind == "instances":
            numbers(tmp_path / f"own/masks/{stem}.png", tuple(range(300)))
        else:
            numbers(tmp_path / f"own/masks/{stem}.png", kind="colours" if stem == "a" else "grey")
    proposal = propose(tmp_path / "own", tmp_path / "own.yaml")
    proposal.write()
    assert read_description(tmp_path / "own.yaml").content.classes == ()
    (line,) = (line for line in proposal.undecided if line.startswith("labels are left out"))
    reasons = {
        "photographs": "colour-coded (",
        "lossy": "of a format that does not keep numbers",
        "instances": "of 300 values, as those of instances are",
        "mixed": "of several kinds: 1 colours, 1 numbers",
    }
    assert reasons[kind] in line


def test_images_of_several_sizes_get_one_to_be_evaluated_at(make: Make, tmp_path: Path) -> None:
    for name, size in (("a", (960, 1280)), ("b", (960, 1280)), ("c", (1280, 960))):
        photo(tmp_path / f"own/{name}.jpg", size)
    made = make(3)
    assert made.content.evaluation_size == (480, 640)
    assert "images: 960 x 1280 to 1280 x 960 pixels (height x width)" in made.proposal.found


def test_what_is_wrong_with_files_is_told(tmp_path: Path) -> None:
    for stem in "abc":
        photo(tmp_path / f"own/photos/{stem}.jpg")
        numbers(tmp_path / f"own/masks/{stem}.png", size=(4, 4) if stem == "b" else SIZE)
    (tmp_path / "own/photos/a.jpg").write_bytes(b"no image")
    proposal = propose(tmp_path / "own", tmp_path / "own.yaml")
    assert ["a.jpg" in proposal.problems[0], "label of 4 x 4" in proposal.problems[1]] == [True, True]
