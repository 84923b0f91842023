"""Label files whose stored numbers are not the numbers that were drawn."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from spectral_bench.common.errors import DataError

_SAVE = "save the label as a grey-scale PNG of 8 or 16 bits"
_LOSSLESS = ("PNG", "TIFF", "BMP", "GIF")
_BITS_PER_SAMPLE, _COMPRESSION, _PHOTOMETRIC = 258, 259, 262  # tags of TIFF 6.0
_TIFF_COMPRESSIONS = (1, 5, 8, 32773, 32946)  # none, LZW, deflate, PackBits, deflate as first registered
_BLACK_IS_ZERO, _PALETTE = 1, 3


def png_depth(path: Path) -> tuple[int, int]:
    """Bits a sample and colour type of a PNG, from its header (PNG specification, 11.2.2)."""
    with path.open("rb") as stream:
        head = stream.read(26)
    return head[24], head[25]


def require_lossless(path: Path, image: Image.Image) -> None:
    """Refuse a label whose content, whatever its name, is of a kind that changes numbers when it stores or shows them.

    Raises:
        DataError: names the file and its format.
    """
    kind = image.format or "unknown"
    if kind not in _LOSSLESS:
        raise DataError(
            f"{path}: is a {kind} image by its content, which does not keep numbers as they were drawn; {_SAVE}"
        )
    if not isinstance(image, TiffImageFile):
        return
    tags = image.tag_v2
    bits = max(tags.get(_BITS_PER_SAMPLE, (1,)))
    kept = tags.get(_COMPRESSION, 1) in _TIFF_COMPRESSIONS and tags.get(_PHOTOMETRIC) in (_BLACK_IS_ZERO, _PALETTE)
    if bits < 8 or not kept:
        raise DataError(
            f"{path}: is a TIFF of {bits} bits (compression {tags.get(_COMPRESSION)}, photometric interpretation "
            f"{tags.get(_PHOTOMETRIC)}), whose numbers are read as others; {_SAVE}"
        )


def as_stored(path: Path, image: Image.Image) -> NDArray[Any]:
    """(H, W) numbers as the file stores them.

    Pillow stretches grey values of 2 and 4 bits in a PNG to 8, by 85 and 17 (version 13.0); this is undone.
    """
    values = np.array(image)
    if values.dtype == bool:
        return values.astype(np.uint8)
    depth, colour = png_depth(path) if image.format == "PNG" else (8, 0)
    return values // np.uint8(_stretch(depth)) if colour == 0 and depth in (2, 4) else values


def require_as_drawn(path: Path, image: Image.Image, values: NDArray[Any], valid: Container[int] | None = None) -> None:
    """Refuse a label whose palette shows its numbers as other greys, unless only the numbers can be meant.

    Tools that make files smaller rewrite grey values as indices of a palette of these very greys. Then the number that
    is stored is another than was drawn, and nothing in the file tells it from an index that was meant. A palette with
    a colour in it is no such case, nor is a grey that is no label value. Values of 1, 2 and 4 bits are taken as stored,
    but where one is no label value, the message says how it shows.

    Args:
        path: the label.
        image: the open image.
        values: (H, W) numbers as stored.
        valid: the label values of the data set; None: any.

    Raises:
        DataError: names the file, a number, and the grey that it shows as.
    """
    shown = _shown_greys(path, image)
    if shown is None:
        return
    for value in np.unique(values[values < len(shown)]).tolist():
        grey = int(shown[value])
        number_is, grey_is = valid is None or value in valid, valid is None or grey in valid
        if grey == value or (number_is and (not grey_is or image.mode != "P")):
            continue
        which = "both are label values" if number_is else f"{value} is no label value"
        by = "by a palette of greys" if image.mode == "P" else "in a PNG of fewer than 8 bits"
        raise DataError(
            f"{path}: its number {value} shows as grey {grey} {by}, and {which} of this data set; "
            f"{_SAVE}, without a palette"
        )


def _shown_greys(path: Path, image: Image.Image) -> NDArray[np.uint8] | None:
    """The grey that each number shows as; None where numbers show as they are, or a palette has colours."""
    if image.mode == "P":
        palette = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
        return palette[:, 0] if bool((palette == palette[:, :1]).all()) else None
    depth = png_depth(path)[0] if image.format == "PNG" else 8
    return np.arange(2**depth, dtype=np.uint8) * np.uint8(_stretch(depth)) if depth < 8 else None


def _stretch(depth: int) -> int:
    return 255 // ((1 << depth) - 1)
