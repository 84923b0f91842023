"""Labels at patch resolution, against a literal walk over pixels, under every resizing, crop and flip."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from spectral_bench.bench.features.backbones.interface import BackboneInfo
from spectral_bench.bench.features.patch_labels import PatchLabels
from spectral_bench.bench.features.recipes import DrawnRecipe, Shot
from spectral_bench.common.errors import ConfigError, DataError, RunInterrupted
from spectral_bench.common.geometry import Crop
from spectral_bench.datasets.interface import ClassSet, DataInfo
from spectral_bench.datasets.transforms import crop_label
from spectral_bench.methods.interface import LabelSource
from spectral_bench.results.specification import Resize, Transform

PADDED = BackboneInfo("padded", 4, (1, 1, 1), "vit")
NATIVE = BackboneInfo("native", 4, (1, 1, 1), "clip", native=(20, 24))
# Raw ids 0 to 5: class 0 is {0, 3}, class 1 is {1}, class 2 is {5}; 2 and 4 are void.
CLASSES = ClassSet("3", ("a", "b", "c"), ((0, 3), (1,), (5,)), ())
INFO = DataInfo("three", "Three", {"train": 2}, 6, {"3": CLASSES}, "3")
CLASS_OF = {0: 0, 3: 0, 1: 1, 5: 2, 2: None, 4: None, 6: None}


class Labels:
    def __init__(self, seed: int = 0, size: tuple[int, int] = (30, 44)) -> None:
        self.raw = np.random.default_rng(seed).integers(0, 6, size).astype(np.uint16)
        self.reads: list[str] = []
        self.missing: set[str] = set()

    @property
    def ids(self) -> tuple[str, ...]:
        return ("x", "y")

    def label(self, image_id: str) -> NDArray[np.uint16]:
        self.reads.append(image_id)
        if image_id in self.missing:
            raise DataError(f"three: {image_id}.png has no label")
        return self.raw


def walked(raw: NDArray[np.uint16], crop: Crop, backbone: BackboneInfo) -> list[list[Counter[int | None]]]:
    """The classes of the pixels of each patch, one pixel after the other."""
    shown = crop_label(raw, crop, 6)
    (down, across), span = backbone.grid(crop.height, crop.width), backbone.cover(crop.height, crop.width)
    found: list[list[Counter[int | None]]] = [[Counter() for _ in range(across)] for _ in range(down)]
    for row in range(span[0]):
        for column in range(span[1]):
            inside = row < crop.height and column < crop.width
            raw_id = int(shown[row, column]) if inside else 6
            patch = found[int((row + 0.5) * down / span[0])][int((column + 0.5) * across / span[1])]
            patch[CLASS_OF[raw_id]] += 1
    return found


@pytest.mark.parametrize("backbone", [PADDED, NATIVE], ids=["padded", "native"])
@given(
    seed=st.integers(0, 99),
    resized=st.tuples(st.integers(20, 50), st.integers(24, 50)),
    place=st.tuples(st.integers(-6, 20), st.integers(-6, 20)),
    size=st.tuples(st.integers(20, 40), st.integers(24, 40)),
    flip=st.booleans(),
)
def test_counts_are_those_of_a_walk_over_the_pixels(
    backbone: BackboneInfo,
    seed: int,
    resized: tuple[int, int],
    place: tuple[int, int],
    size: tuple[int, int],
    flip: bool,
) -> None:
    labels, crop = Labels(seed), Crop(resized, *place, *size, flip=flip)
    source: LabelSource = PatchLabels(labels, INFO, backbone)
    grid = backbone.grid(*size)
    classes, shares = source.labels("x", crop, grid), source.shares("x", crop, grid)
    assert (tuple(classes.shape), tuple(shares.shape)) == (grid, (3, *grid))
    order = [0, 1, 2, None]
    for row, patches in enumerate(walked(labels.raw, crop, backbone)):
        for column, pixels in enumerate(patches):
            best = max(order, key=lambda index: (pixels[index], -order.index(index)))
            assert classes[row, column] == (-1 if best is None else best)
            expected = [pixels[index] / pixels.total() for index in range(3)]
            assert shares[:, row, column].tolist() == pytest.approx(expected, abs=1e-6)


def test_labels_are_cut_as_the_image_is() -> None:
    """An image painted with its own labels shows, in each shot, what the source says of the same crop."""
    labels = Labels(3)
    labels.raw = np.kron(labels.raw[:6, :8], np.ones((8, 8), np.uint16))  # blocks, which resizing leaves visible
    image = np.repeat(labels.raw[..., None] * 40, 3, -1).astype(np.uint8)
    transform = Transform(resize=Resize(mode="short_side", short_side=96), scale=(0.8, 1.5), crop=64, flip=True)
    recipe = DrawnRecipe(transform, 0, tuple(range(12)))
    backbone = BackboneInfo("coarse", 8, (1, 1, 1), "vit")
    source = PatchLabels(labels, INFO, backbone)
    shots = recipe.shots(0, *labels.raw.shape)
    assert len({shot.crop.flip for shot in shots}) == 2
    compared = 0
    for shot in shots:
        shares = source.shares("x", shot.crop, (8, 8)).sum(0)
        classes = source.labels("x", shot.crop, (8, 8))
        for (row, column), grey in np.ndenumerate(middles(shot, image)):
            pure = grey % 40 == 0 and shares[row, column] in (0.0, 1.0)
            if pure and source.shares("x", shot.crop, (8, 8))[:, row, column].max() in (0.0, 1.0):
                expected = CLASS_OF[int(grey) // 40]
                assert classes[row, column] == (-1 if expected is None else expected)
                compared += 1
    assert compared > 100


def middles(shot: Shot, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The grey levels of the patches' middle pixels; the fill is no grey level of a label."""
    return shot.take(image, (7, 7, 7))[4::8, 4::8, 0]


def test_a_patch_beyond_the_image_is_void_and_has_no_shares() -> None:
    source = PatchLabels(Labels(), INFO, PADDED)
    crop = Crop((30, 44), 20, 0, 20, 44)
    assert (source.labels("x", crop, (5, 11))[3:] == -1).all()
    assert (source.shares("x", crop, (5, 11))[:, 3:] == 0).all()


def test_a_native_patch_between_two_pixels_is_void() -> None:
    crop = Crop((30, 44), 0, 0, 2, 2)
    source = PatchLabels(Labels(), INFO, NATIVE)
    assert (source.labels("x", crop, (5, 6)) == -1).sum() >= 26


def test_labels_that_were_asked_for_are_remembered() -> None:
    labels = Labels()
    source = PatchLabels(labels, INFO, PADDED)
    crop = Crop.whole(30, 44)
    first = source.labels("x", crop, (8, 11))
    first += 1  # what a method does to its copy is its own affair
    assert (source.labels("x", crop, (8, 11)) == first - 1).all()
    assert labels.reads == ["x"]


def test_a_foreign_grid_is_a_mistake() -> None:
    with pytest.raises(ValueError, match=r"grid of \(3, 3\)"):
        PatchLabels(Labels(), INFO, PADDED).labels("x", Crop.whole(30, 44), (3, 3))


def test_data_without_classes_is_refused() -> None:
    bare = DataInfo("bare", "Bare", {"train": 2}, 0, {}, "")
    with pytest.raises(ConfigError, match="data set bare has no labels"):
        PatchLabels(Labels(), bare, PADDED)


@pytest.mark.parametrize("workers", [0, 2])
def test_all_labels_are_read_before_a_fit(workers: int) -> None:
    labels = Labels()
    source = PatchLabels(labels, INFO, PADDED)
    source.require(labels.ids, workers=workers, should_stop=lambda: False)
    assert sorted(labels.reads) == ["x", "y"]
    with pytest.raises(RunInterrupted):
        source.require(("x",), workers=workers, should_stop=lambda: True)
    labels.missing.add("y")
    with pytest.raises(DataError, match=r"y\.png has no label"):
        source.require(labels.ids, workers=workers, should_stop=lambda: False)
    labels.raw = np.full_like(labels.raw, 4)
    with pytest.raises(DataError, match="labels of all 1 training images are void"):
        source.require(("x",), workers=workers, should_stop=lambda: False)
