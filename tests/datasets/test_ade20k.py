from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spectral_bench.common.errors import DataError
from spectral_bench.datasets.ade20k import ADE20K
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.datasets.registry import data_info

NAMES = """
wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person, earth, door,
table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug, field, armchair,
seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion, base, box, column, signboard, chest of drawers,
counter, sand, sink, skyscraper, fireplace, refrigerator, grandstand, path, stairs, runway, case, pool table,
pillow, screen door, stairway, river, bridge, bookcase, blind, coffee table, toilet, flower, book, hill, bench,
countertop, stove, palm, kitchen island, computer, swivel chair, boat, bar, arcade machine, hovel, bus, towel,
light, truck, tower, chandelier, awning, streetlight, booth, television receiver, airplane, dirt track, apparel,
pole, land, bannister, escalator, ottoman, bottle, buffet, poster, stage, van, ship, fountain, conveyer belt,
canopy, washer, plaything, swimming pool, stool, barrel, basket, waterfall, tent, bag, minibike, cradle, oven, ball,
food, step, tank, trade name, microwave, pot, animal, bicycle, lake, dishwasher, screen, blanket, sculpture, hood,
sconce, vase, traffic light, tray, ashcan, fan, pier, crt screen, plate, monitor, bulletin board, shower, radiator,
glass, clock, flag
"""


@pytest.fixture(params=["ADEChallengeData2016", "ade20k/ADEChallengeData2016", "ade20k"])
def root(request: pytest.FixtureRequest, tmp_path: Path, photo: Callable[..., Path], label_png: Callable) -> Path:
    """Two images a split, one of them grey-scale, in each of the places where the data is kept."""
    for split, short in (("training", "train"), ("validation", "val")):
        for number in (1, 2):
            stem = f"ADE_{short}_0000000{number}"
            folder = tmp_path / request.param
            photo(folder / "images" / split / f"{stem}.jpg", 9, 7, mode="RGB" if number == 1 else "L", seed=number)
            ids = np.random.default_rng(number).integers(0, 151, (9, 7)).astype(np.uint8)
            label_png(folder / "annotations" / split / f"{stem}.png", ids)
    return tmp_path


def test_the_150_classes_value_by_value() -> None:
    info = data_info("ade20k")
    names = [name.strip() for name in NAMES.replace("\n", " ").split(",")]
    assert len(names) == 150
    assert info.n_raw_labels == 151
    assert info.raw_names == ("other", *names)
    classes = info.class_sets["150"]
    assert classes.classes == tuple(names)
    assert classes.raw_ids == tuple((i,) for i in range(1, 151))


def test_the_palette_is_the_owners() -> None:
    palette = data_info("ade20k").class_sets["150"].palette
    assert palette[:4] == ((120, 120, 120), (180, 120, 120), (6, 230, 230), (80, 50, 50))
    assert palette[74] == (0, 255, 173)
    assert len(set(palette)) >= 149  # road and skyscraper share a grey
    assert palette[-2:] == ((102, 255, 0), (92, 0, 255))
    digest = hashlib.sha256(bytes(value for colour in palette for value in colour)).hexdigest()
    assert digest[:16] == "ce475c9151035eff"


def test_the_facts_of_the_paper_and_the_owners() -> None:
    info = data_info("ade20k")
    assert (info.short_side, info.window, info.stride) == (512, 512, 512)
    assert info.splits == {"train": 20210, "val": 2000}


def test_images_and_annotations_are_paired(root: Path) -> None:
    data = ADE20K(DataRoots((root,)))
    assert data.problems("train") == data.problems("val") == []
    assert data.images("train").ids == data.labels("train").ids == ("ADE_train_00000001", "ADE_train_00000002")
    assert data.images("val").ids == ("ADE_val_00000001", "ADE_val_00000002")
    expected = np.random.default_rng(2).integers(0, 151, (9, 7))
    np.testing.assert_array_equal(data.labels("val").label("ADE_val_00000002"), expected)


def test_a_grey_scale_jpeg_becomes_rgb(root: Path) -> None:
    image = ADE20K(DataRoots((root,))).images("train").image("ADE_train_00000002")
    assert image.shape == (9, 7, 3)
    assert (image == image[..., :1]).all()


def test_a_cmyk_image_is_a_problem_before_anything_runs(root: Path) -> None:
    data = ADE20K(DataRoots((root,)))
    path = data.images("val").path("ADE_val_00000001")
    Image.open(path).convert("CMYK").save(path)
    assert [line for line in data.problems("val") if str(path) in line and "CMYK" in line]
    with pytest.raises(DataError, match=rf"{path}: pixels of mode CMYK"):
        data.images("val").image("ADE_val_00000001")


def test_a_truncated_jpeg_is_a_problem_before_anything_runs(root: Path) -> None:
    data = ADE20K(DataRoots((root,)))
    path = data.images("train").path("ADE_train_00000001")
    path.write_bytes(path.read_bytes()[:-30])
    problems = data.problems("train")
    assert len(problems) == 1
    assert problems[0].startswith(f"{path}: cannot be read as an image")


def test_bytes_after_the_end_of_a_jpeg_are_no_problem(root: Path) -> None:
    data = ADE20K(DataRoots((root,)))
    path = data.images("train").path("ADE_train_00000001")
    path.write_bytes(path.read_bytes() + b"\x00\x00\x00")
    assert data.problems("train") == []


def test_the_value_151_is_refused(root: Path, label_png: Callable[..., Path]) -> None:
    data = ADE20K(DataRoots((root,)))
    label_png(data.labels("val").path("ADE_val_00000001"), np.full((9, 7), 151, np.uint8))
    with pytest.raises(DataError, match="label value 151 at row 0, column 0; expected 0 to 150"):
        data.labels("val").label("ADE_val_00000001")
