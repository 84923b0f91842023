"""Named arrays of non-negative integers in one compressed npz file, always the same bytes for the same numbers."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectral_bench.common.errors import StoreError
from spectral_bench.common.files import write_bytes

# Torn and foreign files show themselves in many ways; a bare array among them: it opens, but not as an archive.
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error)


def write_integers(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays of non-negative integers atomically, each in the smallest unsigned type that holds it.

    The members of a file that numpy writes carry a fixed date, so the bytes depend on names, shapes and numbers only.

    Raises:
        StoreError: the disk is full or the folder cannot be written.
    """
    buffer = io.BytesIO()
    narrowed: dict[str, Any] = {name: _narrow(array) for name, array in arrays.items()}
    np.savez_compressed(buffer, **narrowed)
    write_bytes(path, buffer.getvalue())


def read_integers(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[np.int64]]:
    """Read the named arrays as int64.

    Raises:
        StoreError: the file is missing, torn, or lacks one of the names.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name].astype(np.int64) for name in names}
    except _UNREADABLE as error:
        raise StoreError(f"{path}: missing, torn or not written by this harness ({error})") from error


def _narrow(array: NDArray[Any]) -> NDArray[Any]:
    if array.size and int(array.min()) < 0:
        raise ValueError("a negative number")
    kind = np.min_scalar_type(int(array.max(initial=0)))
    return array.astype(kind.newbyteorder("<"))
