"""What is written of masks: indices and palettes, overlays, contours, the legend and the contact sheet."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from spectral_bench.bench.predict import pictures
from spectral_bench.bench.predict.pictures import (
    NO_CLASS,
    Drawn,
    Key,
    cluster_key,
    draw,
    legend,
    on_sheet,
    overlay,
    palette,
    write_legend,
    write_sheet,
)

HALVES = np.repeat([[0, 1]], 8, 0).repeat(10, 1)
GREY = np.full((8, 20, 3), 100, np.uint8)


def classes(*of_clusters: int, names: int = 2) -> Key:
    return Key(
        palette(names), tuple(f"c{index}" for index in range(names)), np.array(of_clusters), "told", "by a protocol"
    )


def drawn(folder: Path, key: Key, clusters: NDArray[np.int64] = HALVES, name: str = "a", **options: bool) -> Drawn:
    return draw(name, clusters, lambda: GREY, key, [folder / f"{name}.png", folder / f"{name}_overlay.jpg"], **options)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_mask_of_clusters_holds_them_and_shows_their_colours(tmp_path: Path) -> None:
    found = drawn(tmp_path, cluster_key(3))
    assert [path.name for path in found.files] == ["a.png", "a_overlay.jpg"]
    assert found.counts == {0: 80, 1: 80}
    with Image.open(found.files[0]) as mask:
        np.testing.assert_array_equal(np.array(mask), HALVES)
        assert tuple(np.array(mask.convert("RGB"))[0, -1]) == tuple(palette(3)[1])


def test_a_mask_of_classes_holds_the_class_of_each_cluster_and_the_largest_value_for_none(tmp_path: Path) -> None:
    found = drawn(tmp_path, classes(1, NO_CLASS))
    with Image.open(found.files[0]) as mask:
        assert np.unique(np.array(mask)).tolist() == [1, 255]
        seen = np.array(mask.convert("RGB"))
    assert tuple(seen[0, 0]) == tuple(palette(2)[1])
    assert tuple(seen[0, -1]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("key", "mode", "largest"),
    [
        (cluster_key(256), "P", 255),
        (cluster_key(257), "I;16", 256),
        (classes(254, NO_CLASS, names=255), "P", 255),
        (classes(255, NO_CLASS, names=256), "I;16", 65535),
    ],
)
def test_masks_have_room_for_all_values(key: Key, mode: str, largest: int, tmp_path: Path) -> None:
    clusters = HALVES if key.class_of is not None else HALVES * (len(key.colours) - 1)
    found = drawn(tmp_path, key, clusters, tile=True)
    with Image.open(found.files[0]) as mask:
        assert mask.mode == mode
        values = np.array(mask)
    np.testing.assert_array_equal(values, key.values(clusters))
    assert int(values.max()) == largest
    assert sum(row.share for row in legend([found], key)) == pytest.approx(1)


def test_contours_are_white_on_the_borders_and_nowhere_else() -> None:
    key = cluster_key(2)
    values = key.values(HALVES)
    plain = np.array(overlay(Image.fromarray(GREY), values, key, contours=False))
    lined = np.array(overlay(Image.fromarray(GREY), values, key, contours=True))
    white = (lined == 255).all(-1)
    assert white[:, 10].all()
    assert white.sum() == 8
    assert len(np.unique(plain.reshape(-1, 3), axis=0)) == 2


def test_an_image_is_asked_for_only_where_it_is_drawn(tmp_path: Path) -> None:
    def gone() -> NDArray[np.uint8]:
        raise AssertionError("asked for")

    assert draw("a", HALVES, gone, cluster_key(2), [tmp_path / "a.png"]).tile is None
    with pytest.raises(AssertionError, match="asked for"):
        draw("a", HALVES, gone, cluster_key(2), [tmp_path / "a.png"], tile=True)


def test_the_legend_of_clusters_shares_all_pixels_among_them(tmp_path: Path) -> None:
    both = [drawn(tmp_path, cluster_key(3)), drawn(tmp_path, cluster_key(3), np.ones((8, 20), np.int64), "b")]
    found = rows(write_legend(tmp_path, both, cluster_key(3)))
    assert [(row["cluster"], float(row["share"]), row["images"]) for row in found] == [
        ("0", 0.25, "1"),
        ("1", 0.75, "2"),
        ("2", 0.0, "0"),
    ]
    assert found[0]["colour"] == "#{:02x}{:02x}{:02x}".format(*palette(3)[0])


def test_the_legend_of_classes_names_them_their_clusters_and_whose_labels_matched(tmp_path: Path) -> None:
    key = classes(1, NO_CLASS, 1)
    found = rows(write_legend(tmp_path, [drawn(tmp_path, key)], key))
    assert [(row["class"], row["name"], row["clusters"], float(row["share"])) for row in found] == [
        ("0", "c0", "", 0.0),
        ("1", "c1", "0 2", 0.5),
        ("255", "no class", "1", 0.5),
    ]
    assert {row["matched_by"] for row in found} == {"by a protocol"}


def test_a_contact_sheet_shows_each_image_beside_its_overlay(tmp_path: Path) -> None:
    key = cluster_key(2)
    found = [drawn(tmp_path, key, name=f"é{index}" * 40, tile=True) for index in range(4)]
    with Image.open(write_sheet(tmp_path, found, key)) as sheet:
        seen = np.array(sheet).astype(int)
    # The grey image in the middle of its box, and right of it the colours of the mask over it.
    assert np.abs(seen[83, 108] - 100).max() < 12
    for column, colour in ((250, palette(2)[0]), (370, palette(2)[1])):
        assert np.abs(seen[83, column] - (100 * 0.45 + colour * 0.55)).max() < 16, column
    assert seen.shape[0] > 2 * 150
    assert (seen[-40:] < 80).all(-1).any()  # the legend's letters


def test_a_contact_sheet_of_many_images_shows_sixty_of_all_parts() -> None:
    names = [str(index) for index in range(1000)]
    assert len(on_sheet(names)) == 60
    assert max(map(int, on_sheet(names))) > 950
    assert on_sheet(names[:60]) == frozenset(names[:60])


def test_a_sheet_of_many_clusters_lists_the_largest(tmp_path: Path) -> None:
    key = cluster_key(300)
    clusters = np.repeat(np.arange(300), 8).reshape(300, 8).T.copy()
    one = draw("a", clusters, lambda: np.zeros((8, 300, 3), np.uint8), key, [tmp_path / "a.png"], tile=True)
    with Image.open(write_sheet(tmp_path, [one], key)) as sheet:
        assert sheet.height < 1000


def test_the_legend_of_a_sheet_has_columns_that_line_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of clusters from 100 on are longer than those of the lines above."""
    lines: dict[int, list[int]] = {}

    def rectangle(_: ImageDraw.ImageDraw, box: tuple[int, int, int, int], **look: str) -> None:
        lines.setdefault(box[1], []).append(box[0])

    monkeypatch.setattr(ImageDraw.ImageDraw, "rectangle", rectangle)
    key = cluster_key(120)
    clusters = np.repeat(np.arange(80, 120), 8).reshape(40, 8).T.copy()
    one = draw("a", clusters, lambda: np.zeros((8, 40, 3), np.uint8), key, [tmp_path / "a.png"], tile=True)
    write_sheet(tmp_path, [one], key)
    first, *others = lines.values()
    assert len(first) > 1
    assert all(line == first[: len(line)] for line in others)
    assert sum(map(len, lines.values())) == 40


def test_what_the_font_lacks_is_shown_by_its_code_point() -> None:
    assert pictures._printable("été Ω 天空") == "été Ω [U+5929][U+7A7A]"
    cut = pictures._fitting("天空" * 9, 200)
    assert cut == "[U+5929][U+7A7A]..."
    assert pictures._font().getlength(cut) <= 200
