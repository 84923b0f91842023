"""Labels whose files hold other numbers than were drawn."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spectral_bench.common.errors import DataError
from spectral_bench.datasets.reading import label_header, read_image, read_label

GREY, RGB, PALETTE = 0, 2, 3


def _write_png(path: Path, rows: np.ndarray, depth: int, colour: int, palette: Sequence[int] = ()) -> Path:
    """A PNG of any depth, packed by hand, as Pillow writes few of them."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    def packed(row: np.ndarray) -> bytes:
        bits = "".join(format(int(value), f"0{depth}b") for value in row.ravel())
        bits += "0" * (-len(bits) % 8)
        return b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")

    height, width = rows.shape[:2]
    content = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    content += chunk(b"PLTE", bytes(palette)) if palette else b""
    content += chunk(b"IDAT", zlib.compress(b"".join(map(packed, rows)))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path


def _greys(levels: Sequence[int]) -> list[int]:
    return [level for level in levels for _ in range(3)]


@pytest.mark.parametrize("colour", [GREY, PALETTE])
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_numbers_of_few_bits_are_read_as_they_are_stored(tmp_path: Path, depth: int, colour: int) -> None:
    rows = np.arange(2 ** min(depth, 5)).reshape(2, -1)
    vivid = [10, 200, 30] * 2**depth if colour == PALETTE else ()
    path = _write_png(tmp_path / "a.png", rows, depth, colour, vivid)
    np.testing.assert_array_equal(read_label(path), rows)
    assert label_header(path) == rows.shape


def test_a_stretched_number_that_is_no_label_value_says_how_it_shows(tmp_path: Path) -> None:
    path = _write_png(tmp_path / "a.png", np.array([[0, 3]]), 4, GREY)
    with pytest.raises(
        DataError, match=r"a\.png: its number 3 shows as grey 51 in a PNG of fewer than 8 bits, and 3 is"
    ):
        read_label(path, {0, 51})


@pytest.mark.parametrize("depth", [2, 8])
def test_a_palette_of_greys_that_may_be_meant_is_refused(tmp_path: Path, depth: int) -> None:
    path = _write_png(tmp_path / "a.png", np.array([[0, 1], [2, 2]]), depth, PALETTE, _greys([0, 40, 90]))
    for valid in (None, {0, 1, 2, 90}, {0, 2, 90}):
        with pytest.raises(DataError, match=r"a\.png: its number [12] shows as grey (40|90) by a palette of greys"):
            read_label(path, valid)
    np.testing.assert_array_equal(read_label(path, {0, 1, 2}), [[0, 1], [2, 2]])


def test_a_palette_is_judged_by_the_numbers_in_use_and_by_all_of_its_colours(tmp_path: Path) -> None:
    same = _write_png(tmp_path / "same.png", np.array([[0, 1]]), 8, PALETTE, _greys([0, 1, 9]))
    np.testing.assert_array_equal(read_label(same), [[0, 1]])
    vivid = _write_png(tmp_path / "vivid.png", np.array([[0, 1]]), 8, PALETTE, [*_greys([5, 6]), 1, 2, 3])
    np.testing.assert_array_equal(read_label(vivid), [[0, 1]])


@pytest.mark.parametrize("format_", ["JPEG", "WEBP", "JPEG2000"])
@pytest.mark.parametrize("read", [read_label, label_header])
def test_what_compresses_with_losses_is_refused_whatever_its_name(tmp_path: Path, format_: str, read: object) -> None:
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(tmp_path / "a.png", format_)
    with pytest.raises(DataError, match=rf"a\.png: is a {format_} image by its content.*save the label as"):
        read(tmp_path / "a.png")  # type: ignore[operator]


def test_tiffs_that_turn_or_spoil_numbers_are_refused(tmp_path: Path) -> None:
    image = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    image.save(tmp_path / "plain.tif", compression="tiff_lzw")
    np.testing.assert_array_equal(read_label(tmp_path / "plain.tif"), np.asarray(image))
    image.save(tmp_path / "lossy.tif", compression="jpeg")
    image.save(tmp_path / "turned.tif", tiffinfo={262: 0})
    for name in ("lossy", "turned"):
        with pytest.raises(DataError, match=rf"{name}\.tif: is a TIFF of 8 bits .* read as others"):
            read_label(tmp_path / f"{name}.tif")


def test_channels_of_16_bits_are_never_cut_to_8(tmp_path: Path) -> None:
    path = _write_png(tmp_path / "a.png", np.array([[[300, 700, 65535]]]), 16, RGB)
    with pytest.raises(DataError, match=r"a\.png: pixels of mode RGB with 16 bits a channel; expected one channel"):
        read_label(path)
    with pytest.raises(DataError, match=r"a\.png: 16 bits a channel, of which 8 would be cut off"):
        read_image(path)
