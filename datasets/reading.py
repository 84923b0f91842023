"""Image and label files. Every error is a ``DataError`` that names the file."""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import TiffImageFile

from spectral_bench.common.errors import DataError
from spectral_bench.common.missing import no_such
from spectral_bench.datasets.drawn import as_stored, png_depth, require_as_drawn, require_lossless

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
IMAGE_MODES = ("RGB", "L", "P", "RGBA", "LA", "1")
_END_MARKS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
LABEL_MODES = ("L", "P", "I;16", "I;16B", "I", "1")
_TIFF_WIDTH, _TIFF_LENGTH, _ORIENTATION = 256, 257, 274  # tags of TIFF 6.0; EXIF has the last one too
_BACK = {  # orientation tag -> what undoes its turn
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def read_image(path: Path, modes: tuple[str, ...] = IMAGE_MODES, *, upright: bool = False) -> NDArray[np.uint8]:
    """Read an image as (H, W, 3) uint8 RGB.

    Grey-scale and palette images are converted, an alpha channel is dropped, and the orientation tag of a camera is not
    applied, since labels are drawn on the stored pixels.

    Args:
        path: the file.
        modes: PIL's pixel modes that are accepted.
        upright: apply the orientation tag, so that the image is as people see it.

    Raises:
        DataError: the file is missing or corrupt, or its colours (CMYK, 16 bits) have no one meaning as RGB.
    """
    with _opened(path) as image:
        _require_image(path, image, modes)
        turned = ImageOps.exif_transpose(image) if upright else _unturned(image)
        return np.array(turned.convert("RGB"), dtype=np.uint8)


def read_label(path: Path, valid: Container[int] | None = None) -> NDArray[np.uint16]:
    """Read a label map as (H, W) uint16: grey values of up to 16 bits as they are stored, or palette indices.

    As in images, an orientation tag is not applied.

    Args:
        path: the file.
        valid: the label values of the data set, which tell numbers from the greys that they show as
            (``datasets.drawn.require_as_drawn``); None: any. Other values are not refused for that alone.

    Raises:
        DataError: the file is missing or corrupt, has colour channels, is of a format that changes numbers, holds a
            value outside of 0 to 65535, or shows its numbers as other greys that may be meant.
    """
    with _opened(path) as image:
        _require_label(path, image)
        values = as_stored(path, _unturned(image))
        require_as_drawn(path, image, values, valid)
    if values.dtype.kind == "i" and values.size and (values.min() < 0 or values.max() > np.iinfo(np.uint16).max):
        raise DataError(f"{path}: label value {values.min()} to {values.max()}; expected 0 to 65535")
    return values.astype(np.uint16)


def image_header(path: Path) -> tuple[int, int]:
    """(height, width) of an image from its header, which is checked as far as ``read_image`` would check it.

    A file without the mark at which its format ends is decoded, to find out whether it is truncated.

    Raises:
        DataError: the file is missing, is no image, or has colours that cannot be read as RGB.
    """
    with _opened(path) as image:
        _require_image(path, image, IMAGE_MODES)
        _require_whole(path, image)
        return _stored_size(image)


def label_header(path: Path) -> tuple[int, int]:
    """(height, width) of a label map from its header, which is checked as far as ``read_label`` would check it.

    A file without the mark at which its format ends is decoded, to find out whether it is truncated.

    Raises:
        DataError: the file is missing, is no image, or has colour channels.
    """
    with _opened(path) as image:
        _require_label(path, image)
        _require_whole(path, image)
        return _stored_size(image)


def require_range(
    label: NDArray[np.uint16], n_raw_labels: int, source: object, void: int | None = None
) -> NDArray[np.uint16]:
    """``label`` itself if its values lie in 0 to ``n_raw_labels - 1``, or are ``void``.

    Args:
        label: (H, W) raw label ids.
        n_raw_labels: number of raw ids of the data set.
        source: the file, for the error.
        void: one more value, which stands for no class; None: there is none.

    Raises:
        DataError: a value lies outside; the first such value and its place are named.
    """
    if not label.size or int(label.max()) < n_raw_labels:
        return label
    outside = label >= n_raw_labels if void is None else (label >= n_raw_labels) & (label != void)
    if outside.any():
        row, column = (int(i) for i in np.argwhere(outside)[0])
        expected = f"0 to {n_raw_labels - 1}" + ("" if void is None else f", or {void}")
        raise DataError(
            f"{source}: label value {int(label[row, column])} at row {row}, column {column}; expected {expected}"
        )
    return label


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            if isinstance(image, TiffImageFile):
                # A file that Pillow (11.0 to 13.0) maps into memory, as uncompressed ones of one channel, comes out
                # scrambled where its tag swaps the sides; without a name it is read.
                image.filename = ""
            yield image
    except FileNotFoundError as error:
        raise DataError(no_such(path)) from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be read as an image ({error})") from error


def _unturned(image: Image.Image) -> Image.Image:
    """The pixels in the rows and columns of the file.

    Pillow (10.3 to 13.0) turns a TIFF by its orientation tag whenever it loads one, and drops the tag; no other format.
    """
    if not isinstance(image, TiffImageFile):
        return image
    tag = image.getexif().get(_ORIENTATION, 1)
    image.load()
    return image if image.getexif().get(_ORIENTATION, 1) == tag else image.transpose(_BACK[tag])


def _stored_size(image: Image.Image) -> tuple[int, int]:
    """(height, width) in the file. Pillow gives those of a TIFF that will be turned as turned, since 11.0."""
    if isinstance(image, TiffImageFile):
        return image.tag_v2[_TIFF_LENGTH], image.tag_v2[_TIFF_WIDTH]
    return image.height, image.width


def _require_image(path: Path, image: Image.Image, modes: tuple[str, ...]) -> None:
    if image.mode not in modes:
        raise DataError(f"{path}: pixels of mode {image.mode}; expected RGB, grey-scale or palette of 8 bits")
    if _bits(path, image) > 8:
        raise DataError(f"{path}: {_bits(path, image)} bits a channel, of which 8 would be cut off; save it with 8")


def _bits(path: Path, image: Image.Image) -> int:
    """Bits a channel as stored. Pillow gives RGB of 16 bits as RGB of 8 and says nothing (version 13.0)."""
    if image.format == "PNG":
        return png_depth(path)[0]
    return max(image.tag_v2.get(258, (8,))) if isinstance(image, TiffImageFile) else 8


def _require_label(path: Path, image: Image.Image) -> None:
    require_lossless(path, image)
    if image.mode not in LABEL_MODES:
        channels = f"pixels of mode {image.mode} with {_bits(path, image)} bits a channel"
        raise DataError(f"{path}: {channels}; expected one channel of label ids (grey of up to 16 bits, or palette)")


def _require_whole(path: Path, image: Image.Image) -> None:
    mark = _END_MARKS.get(image.format or "")
    if mark is None:
        return
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - len(mark)))
        whole = stream.read() == mark
    if not whole:
        image.load()
