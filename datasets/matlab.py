"""Label maps and images in MATLAB files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectral_bench.common.errors import DataError
from spectral_bench.common.missing import no_such

VARIABLE = "LabelMap"
IMAGE = "img"
_RGB = 3


def read_label_map(path: Path, variable: str = VARIABLE) -> NDArray[np.uint16]:
    """(H, W) uint16 values of a variable.

    Raises:
        DataError: the file is missing or no MATLAB file, or the variable is absent or no matrix of integers 0 to 65535.
    """
    label_map_size(path, variable)
    values = _values(path, variable)
    whole = values.astype(np.uint16) if values.dtype.kind in "uif" else None
    if whole is None or not np.array_equal(whole, values):
        raise DataError(f"{path}: {variable} holds values other than integers of 0 to 65535")
    return whole


def label_map_size(path: Path, variable: str = VARIABLE) -> tuple[int, int]:
    """(height, width) of a variable, without reading its values.

    Raises:
        DataError: the file is missing or no MATLAB file, or the variable is absent or no matrix.
    """
    (height, width), _ = _header(path, variable, 2)
    return height, width


def read_image_array(path: Path, variable: str = IMAGE) -> NDArray[np.uint8]:
    """(H, W, 3) RGB, the first three channels of a variable; further ones (infra-red) are left out.

    Raises:
        DataError: as for ``image_array_size``, or the file is damaged.
    """
    image_array_size(path, variable)
    return np.ascontiguousarray(_values(path, variable)[..., :_RGB])


def image_array_size(path: Path, variable: str = IMAGE) -> tuple[int, int]:
    """(height, width) of a variable that is an image, without reading its values.

    Raises:
        DataError: the file is missing or no MATLAB file, or the variable is absent or no (H, W, C) array of 8 bits with
            three channels or more.
    """
    (height, width, channels), kind = _header(path, variable, 3)
    if channels < _RGB or kind != "uint8":
        raise DataError(f"{path}: {variable} has {channels} channels of {kind}; expected 3 or more of uint8")
    return height, width


def _values(path: Path, variable: str) -> NDArray[Any]:
    import scipy.io

    try:
        return np.asarray(scipy.io.loadmat(path, variable_names=[variable])[variable])
    except Exception as error:  # SciPy has no common base of what a damaged file makes it raise
        raise _unreadable(path, error) from error


def _header(path: Path, variable: str, dimensions: int) -> tuple[tuple[int, ...], str]:
    """The shape of a variable and the kind of its values, such as ``uint8``."""
    import scipy.io

    try:
        found = {name: (shape, kind) for name, shape, kind in scipy.io.whosmat(path)}
    except Exception as error:  # as above
        raise _unreadable(path, error) from error
    if variable not in found:
        raise DataError(f"{path}: holds no variable {variable}; found: {', '.join(found) or 'none'}")
    shape, kind = found[variable]
    if len(shape) != dimensions:
        raise DataError(f"{path}: {variable} has {len(shape)} dimensions; expected {dimensions}")
    return tuple(int(side) for side in shape), str(kind)


def _unreadable(path: Path, error: Exception) -> DataError:
    if not path.exists():
        return DataError(no_such(path))
    return DataError(f"{path}: cannot be read as a MATLAB file ({error})")
