from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from spectral_bench.common.errors import DataError
from spectral_bench.datasets.reading import image_header, label_header, read_image, read_label, require_range


def _save(path: Path, values: np.ndarray, mode: str | None = None) -> Path:
    image = Image.fromarray(values)
    (image if mode is None else image.convert(mode)).save(path)
    return path


@pytest.fixture
def colours() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)


def test_an_rgb_image_comes_back_as_it_was(tmp_path: Path, colours: np.ndarray) -> None:
    read = read_image(_save(tmp_path / "a.png", colours))
    assert read.dtype == np.uint8
    assert read.flags.writeable
    np.testing.assert_array_equal(read, colours)


def test_grey_images_get_three_equal_channels(tmp_path: Path, colours: np.ndarray) -> None:
    read = read_image(_save(tmp_path / "a.png", colours[..., 0]))
    np.testing.assert_array_equal(read, np.repeat(colours[..., :1], 3, axis=2))


def test_palette_images_give_their_colours(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_image(tmp_path / "p.png"), [[[10, 20, 30], [200, 100, 50]]])
    np.testing.assert_array_equal(read_label(tmp_path / "p.png"), [[0, 1]])


def test_alpha_is_dropped(tmp_path: Path, colours: np.ndarray) -> None:
    alpha = np.full((7, 5, 1), 128, np.uint8)
    read = read_image(_save(tmp_path / "a.png", np.concatenate([colours, alpha], axis=2)))
    np.testing.assert_array_equal(read, colours)


@pytest.mark.parametrize("tag", range(1, 9))
@pytest.mark.parametrize(("suffix", "compression"), [("png", {}), ("tif", {}), ("tif", {"compression": "tiff_lzw"})])
def test_the_orientation_tag_is_not_applied(
    tmp_path: Path, colours: np.ndarray, suffix: str, compression: dict[str, str], tag: int
) -> None:
    """Neither to images nor to labels, of whatever format; labels are drawn on the stored pixels."""
    exif = Image.Exif()
    exif[0x0112] = tag
    image, label, indices = (tmp_path / f"{name}.{suffix}" for name in ("image", "label", "indices"))
    Image.fromarray(colours).save(image, exif=exif, **compression)
    Image.fromarray(colours[..., 0].astype(np.uint16) + 300).save(label, exif=exif, **compression)
    palette = Image.fromarray(colours[..., 1] % 16, "P")
    palette.putpalette(list(range(48)))
    palette.save(indices, exif=exif, **compression)
    np.testing.assert_array_equal(read_image(image), colours)
    np.testing.assert_array_equal(read_label(label), colours[..., 0].astype(np.uint16) + 300)
    np.testing.assert_array_equal(read_label(indices), colours[..., 1] % 16)
    assert image_header(image) == label_header(label) == label_header(indices) == (7, 5)


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_a_grey_tiff_whose_sides_change_places_can_be_turned_upright(
    tmp_path: Path, colours: np.ndarray, compression: str | None
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    grey = colours[..., 0]
    Image.fromarray(grey).save(tmp_path / "a.tif", exif=exif, compression=compression)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", upright=True)[..., 0], np.rot90(grey, -1))


@pytest.mark.parametrize("read", [read_image, image_header])
def test_cmyk_is_refused(tmp_path: Path, colours: np.ndarray, read: object) -> None:
    path = _save(tmp_path / "a.jpg", colours, "CMYK")
    with pytest.raises(DataError, match=rf"{path}.*CMYK.*expected RGB"):
        read(path)  # type: ignore[operator]


def test_a_16_bit_image_is_refused(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.png", np.zeros((2, 2), np.uint16))
    with pytest.raises(DataError, match=str(path)):
        read_image(path)


@pytest.mark.parametrize(
    ("values", "suffix"),
    [
        (np.array([[0, 255], [3, 7]], np.uint8), "png"),
        (np.array([[0, 65535], [256, 7]], np.uint16), "png"),
        (np.array([[0, 40000], [256, 7]], np.int32), "tif"),
        (np.array([[False, True]]), "png"),
    ],
)
def test_labels_of_every_pixel_type_keep_their_values(tmp_path: Path, values: np.ndarray, suffix: str) -> None:
    read = read_label(_save(tmp_path / f"a.{suffix}", values))
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize("value", [-1, 65536])
def test_labels_beyond_16_bits_are_refused(tmp_path: Path, value: int) -> None:
    path = _save(tmp_path / "a.tif", np.array([[0, value]], np.int32))
    with pytest.raises(DataError, match=rf"{path}.*{value}.*0 to 65535"):
        read_label(path)


@pytest.mark.parametrize("read", [read_label, label_header])
def test_a_colour_image_is_no_label(tmp_path: Path, colours: np.ndarray, read: object) -> None:
    path = _save(tmp_path / "a.png", colours)
    with pytest.raises(DataError, match=rf"{path}.*mode RGB.*one channel"):
        read(path)  # type: ignore[operator]


def test_headers_give_height_then_width(tmp_path: Path, colours: np.ndarray) -> None:
    assert image_header(_save(tmp_path / "a.png", colours)) == (7, 5)
    assert label_header(_save(tmp_path / "b.png", colours[..., 0])) == (7, 5)


@pytest.mark.parametrize("read", [read_image, read_label, image_header, label_header])
def test_a_missing_file_is_named(tmp_path: Path, read: object) -> None:
    with pytest.raises(DataError, match=r"none\.png: no such file"):
        read(tmp_path / "none.png")  # type: ignore[operator]


@pytest.mark.parametrize("format_", ["png", "jpg"])
def test_a_truncated_image_is_named(tmp_path: Path, format_: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = _save(tmp_path / f"cut.{format_}", noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"{path}: cannot be read as an image"):
        read_image(path)


def test_text_under_an_image_name_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(DataError, match=rf"{path}: cannot be read"):
        image_header(path)


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.sampled_from(["png", "jpg", "bmp", "webp", "tif"]),
    st.integers(0, 4000),
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=8),
)
def test_damaged_files_give_an_array_or_a_data_error(
    tmp_path: Path, format_: str, keep: int, flips: list[tuple[int, int]]
) -> None:
    path = _save(tmp_path / f"a.{format_}", np.random.default_rng(2).integers(0, 256, (24, 24, 3), dtype=np.uint8))
    data = bytearray(path.read_bytes())
    for position, value in flips:
        data[position % len(data)] = value
    path.write_bytes(bytes(data[: max(keep, 1)]))
    try:
        assert read_image(path).ndim == 3
    except DataError as error:
        assert str(path) in str(error)  # noqa: PT017


def test_the_range_check_names_the_first_bad_value_and_its_place() -> None:
    label = np.array([[0, 1, 2], [3, 12, 99]], np.uint16)
    with pytest.raises(DataError, match=r"x\.png: label value 12 at row 1, column 1; expected 0 to 11"):
        require_range(label, 12, "x.png")


def test_the_range_check_passes_the_highest_valid_id() -> None:
    label = np.array([[0, 11]], np.uint16)
    assert require_range(label, 12, "x.png") is label


def test_one_value_more_may_stand_for_no_class() -> None:
    label = np.array([[0, 11], [255, 255]], np.uint16)
    assert require_range(label, 12, "x.png", void=255) is label
    label[1, 0] = 254
    with pytest.raises(DataError, match=r"x\.png: label value 254 at row 1, column 0; expected 0 to 11, or 255"):
        require_range(label, 12, "x.png", void=255)
