"""Label maps in MATLAB files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spectral_bench.common.errors import DataError
from spectral_bench.common.missing import no_such

VARIABLE = "LabelMap"


def read_label_map(path: Path, variable: str = VARIABLE) -> NDArray[np.uint16]:
    """(H, W) uint16 values of a variable.

    Raises:
        DataError: the file is missing or no MATLAB file, or the variable is absent or no matrix of integers 0 to 65535.
    """
    label_map_size(path, variable)
    import scipy.io

    try:
        values = np.asarray(scipy.io.loadmat(path, variable_names=[variable])[variable])
    except Exception as error:  # SciPy has no common base of what a damaged file makes it raise
        raise _unreadable(path, error) from error
    whole = values.astype(np.uint16) if values.dtype.kind in "uif" else None
    if whole is None or not np.array_equal(whole, values):
        raise DataError(f"{path}: {variable} holds values other than integers of 0 to 65535")
    return whole


def label_map_size(path: Path, variable: str = VARIABLE) -> tuple[int, int]:
    """(height, width) of a variable, without reading its values.

    Raises:
        DataError: the file is missing or no MATLAB file, or the variable is absent or no matrix.
    """
    import scipy.io

    try:
        shapes = {name: shape for name, shape, _ in scipy.io.whosmat(path)}
    except Exception as error:  # as above
        raise _unreadable(path, error) from error
    if variable not in shapes:
        raise DataError(f"{path}: holds no variable {variable}; found: {', '.join(shapes) or 'none'}")
    if len(shapes[variable]) != 2:
        raise DataError(f"{path}: {variable} has {len(shapes[variable])} dimensions; expected 2")
    height, width = shapes[variable]
    return int(height), int(width)


def _unreadable(path: Path, error: Exception) -> DataError:
    if not path.exists():
        return DataError(no_such(path))
    return DataError(f"{path}: cannot be read as a MATLAB file ({error})")
