"""Placements: what is refused, and which part of an image its label covers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spectral_bench.bench.evaluation.layout import WindowLayout, window_layout
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.geometry import Crop
from spectral_bench.datasets.transforms import centre_crop, window_crops
from spectral_bench.results.specification import Resize, View

WINDOWS = window_crops(40, 100, 40, 30)
SLIDING = WindowLayout(WINDOWS, (5, 5), (40, 40), Crop.whole(40, 100), (35, 90))


def view(**settings: object) -> View:
    return View(dataset="d", split="val", **settings)  # type: ignore[arg-type]


def test_windows_become_strips() -> None:
    assert [strip.start for strip in SLIDING.columns.strips] == [0, 30, 60]
    assert [strip.start for strip in SLIDING.rows.strips] == [0]
    assert (SLIDING.rows.target, SLIDING.columns.target) == (35, 90)
    assert (SLIDING.rows.length, SLIDING.columns.length) == (40, 100)


def test_the_order_of_windows_is_their_place_row_by_row() -> None:
    windows = window_crops(80, 100, 40, 40)
    shuffled = tuple(windows[index] for index in (4, 0, 3, 2, 5, 1))
    layout = WindowLayout(shuffled, (5, 5), (40, 40), Crop.whole(80, 100), (80, 100))
    assert tuple(shuffled[index] for index in layout.order) == windows


def test_windows_that_form_no_product_grid_are_refused() -> None:
    grid = window_crops(80, 100, 40, 40)
    for windows in (grid[:-1], (*grid, grid[0]), (*grid[:-1], replace(grid[-1], top=39))):
        with pytest.raises(ValueError, match="no product grid"):
            WindowLayout(windows, (5, 5), (40, 40), Crop.whole(80, 100), (80, 100))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"crops": ()}, "one resized image"),
        ({"frame": Crop.whole(41, 100)}, "one resized image"),
        ({"cover": (39, 40)}, "larger than"),
        ({"cover": (40, 32)}, "larger than"),
        ({"grid": (0, 5)}, "not a placement"),
        ({"target": (35, 0)}, "not a placement"),
        ({"frame": Crop((40, 100), 0, 0, 40, 100, flip=True)}, "not a placement"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        replace(SLIDING, **change)  # type: ignore[arg-type]


def test_a_whole_image_keeps_its_label_in_full_resolution() -> None:
    crops = (Crop.whole(352, 480),)
    layout = window_layout(view(resize=Resize(mode="exact", size=(352, 480))), (360, 480), crops, (22, 30), (352, 480))
    assert layout.frame == Crop.whole(352, 480)
    assert layout.target == (360, 480)


def test_sliding_windows_keep_the_label_in_full_resolution() -> None:
    crops = window_crops(520, 780, 480, 320)
    wanted = view(resize=Resize(mode="short_side", short_side=520), window=480, stride=320)
    layout = window_layout(wanted, (333, 500), crops, (30, 30), (480, 480))
    assert layout.target == (333, 500)
    assert layout.frame == Crop.whole(520, 780)


def test_a_centre_crop_of_image_and_label() -> None:
    wanted = view(resize=Resize(mode="short_side", short_side=320), centre_crop=320, label_resize=True)
    crop = centre_crop(320, 481, 320)
    layout = window_layout(wanted, (333, 500), (crop,), (20, 20), (320, 320))
    assert layout.frame == crop
    assert layout.target == (320, 320)


def test_the_padding_of_a_small_image_is_not_part_of_the_frame() -> None:
    wanted = view(centre_crop=320)
    layout = window_layout(wanted, (300, 401), (centre_crop(300, 401, 320),), (20, 20), (320, 320))
    assert layout.frame == Crop((300, 401), 0, 40, 300, 320)
    assert layout.target == (300, 320)


def test_labels_may_be_resized_without_a_crop() -> None:
    wanted = view(resize=Resize(mode="exact", size=(64, 64)), label_resize=True)
    assert window_layout(wanted, (100, 90), (Crop.whole(64, 64),), (4, 4), (64, 64)).target == (64, 64)


def test_a_crop_of_a_resized_image_needs_a_resized_label() -> None:
    wanted = view(resize=Resize(mode="short_side", short_side=320), centre_crop=320)
    with pytest.raises(ConfigError, match="label_resize: true"):
        window_layout(wanted, (333, 500), (centre_crop(320, 480, 320),), (20, 20), (320, 320))
