"""Image and label files. Every error is a ``DataError`` that names the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from spectral_bench.common.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
IMAGE_MODES = ("RGB", "L", "P", "RGBA", "LA", "1")
_END_MARKS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
LABEL_MODES = ("L", "P", "I;16", "I;16B", "I", "1")


def read_image(path: Path, modes: tuple[str, ...] = IMAGE_MODES, *, upright: bool = False) -> NDArray[np.uint8]:
    """Read an image as (H, W, 3) uint8 RGB.

    Grey-scale and palette images are converted, an alpha channel is dropped, and the orientation tag of a camera is not
    applied, since labels are drawn on the stored pixels; only that of a TIFF always is, by Pillow itself.

    Args:
        path: the file.
        modes: PIL's pixel modes that are accepted.
        upright: apply the orientation tag, so that the image is as people see it.

    Raises:
        DataError: the file is missing or corrupt, or its colours (CMYK, 16 bits) have no one meaning as RGB.
    """
    with _opened(path) as image:
        _require_image(path, image, modes)
        turned = ImageOps.exif_transpose(image) if upright else image
        return np.array(turned.convert("RGB"), dtype=np.uint8)


def read_label(path: Path) -> NDArray[np.uint16]:
    """Read a label map as (H, W) uint16: grey values of 8 or 16 bits, or the indices of a palette image.

    Raises:
        DataError: the file is missing or corrupt, has colour channels, or holds a value outside of 0 to 65535.
    """
    with _opened(path) as image:
        _require_label(path, image)
        values = np.array(image)
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
        return image.height, image.width


def label_header(path: Path) -> tuple[int, int]:
    """(height, width) of a label map from its header, which is checked as far as ``read_label`` would check it.

    A file without the mark at which its format ends is decoded, to find out whether it is truncated.

    Raises:
        DataError: the file is missing, is no image, or has colour channels.
    """
    with _opened(path) as image:
        _require_label(path, image)
        _require_whole(path, image)
        return image.height, image.width


def require_range(label: NDArray[np.uint16], n_raw_labels: int, source: object) -> NDArray[np.uint16]:
    """``label`` itself if its values lie in 0 to ``n_raw_labels - 1``.

    Args:
        label: (H, W) raw label ids.
        n_raw_labels: number of raw ids of the data set.
        source: the file, for the error.

    Raises:
        DataError: a value lies outside; the first such value and its place are named.
    """
    if label.size and int(label.max()) >= n_raw_labels:
        row, column = (int(i) for i in np.argwhere(label >= n_raw_labels)[0])
        value = int(label[row, column])
        raise DataError(
            f"{source}: label value {value} at row {row}, column {column}; expected 0 to {n_raw_labels - 1}"
        )
    return label


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be read as an image ({error})") from error


def _require_image(path: Path, image: Image.Image, modes: tuple[str, ...]) -> None:
    if image.mode not in modes:
        raise DataError(f"{path}: pixels of mode {image.mode}; expected RGB, grey-scale or palette of 8 bits")


def _require_label(path: Path, image: Image.Image) -> None:
    if image.mode not in LABEL_MODES:
        raise DataError(
            f"{path}: pixels of mode {image.mode}; expected one channel of label ids (8 or 16 bits, or palette)"
        )


def _require_whole(path: Path, image: Image.Image) -> None:
    mark = _END_MARKS.get(image.format or "")
    if mark is None:
        return
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - len(mark)))
        whole = stream.read() == mark
    if not whole:
        image.load()
