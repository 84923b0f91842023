"""Conversion of a data set's files into a form that is quicker to read."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from spectral_bench.common.errors import DataError
from spectral_bench.common.files import write_bytes
from spectral_bench.datasets.interface import DataSet
from spectral_bench.datasets.listing import stems
from spectral_bench.datasets.pascal_context import CONVERTED, ORIGINAL, PascalContext

Progress = Callable[[int, int], None]


def prepare(data: DataSet, *, jobs: int = 4, progress: Progress | None = None) -> int:
    """Convert the labels of Pascal Context from .mat to ``SegmentationClassContext/<id>.png`` (8 bits, 0 to 59).

    Each PNG appears whole or not at all, and those that exist are left alone, so that the same call goes on where an
    interrupted one stopped.

    Args:
        data: the data set; only ``pascal_context`` needs preparation.
        jobs: threads that convert.
        progress: called with (files done, files to do).

    Returns:
        The number of files converted.

    Raises:
        DataError: the data set needs no preparation, there is no .mat file, or one cannot be read.
        StoreError: a PNG cannot be written.
    """
    if not isinstance(data, PascalContext):
        raise DataError(f"{data.info.name} is read as its owners ship it; only pascal_context is prepared")
    original, folder = data.original_files(), data.folder / CONVERTED
    if not original:
        raise DataError(f"{data.folder / ORIGINAL}: holds no .mat file to convert. {data.info.licence}")
    converted = stems(folder, (".png",))
    todo = {stem: path for stem, path in sorted(original.items()) if stem not in converted}

    def convert(stem: str) -> None:
        write_bytes(folder / f"{stem}.png", _png(data, todo[stem]))

    with ThreadPoolExecutor(max_workers=jobs) as pool:
        try:
            for done, _ in enumerate(pool.map(convert, todo), start=1):
                if progress is not None:
                    progress(done, len(todo))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return len(todo)


def _png(data: PascalContext, path: Path) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(data.read_label(path).astype(np.uint8)).save(stream, format="PNG")
    return stream.getvalue()
