"""How large a feature cache will be, and whether it may be. Imports no torch."""

from __future__ import annotations

import shutil
from pathlib import Path

from spectral_bench.bench.features.backbones.info import BackboneInfo
from spectral_bench.common.errors import StoreError

ITEM_BYTES = {"float16": 2, "float32": 4}


def planned_bytes(n_images: int, views: int, height: int, width: int, info: BackboneInfo, dtype: str) -> int:
    """Bytes of the arrays of a cache: all levels and the pixels of every patch.

    Args:
        n_images: images.
        views: shots an image: augmented views, or windows.
        height, width: of a shot in pixels.
        info: the backbone.
        dtype: ``float16`` or ``float32``.
    """
    rows, columns = info.grid(height, width)
    return n_images * views * rows * columns * (sum(info.channels) + 3) * ITEM_BYTES[dtype]


def require_room(folder: Path, planned: int, limit: int) -> None:
    """Refuse a cache before anything is written.

    Raises:
        StoreError: ``planned`` bytes are more than the limit or than what is free on the disk of ``folder``.
    """
    if planned > limit:
        raise StoreError(
            f"{folder}: the feature cache would take {gigabytes(planned)}, more than the limit of {gigabytes(limit)}; "
            "raise --cache-limit, or set features.mode: online"
        )
    free = shutil.disk_usage(folder).free
    if planned > free:
        raise StoreError(
            f"{folder}: the feature cache would take {gigabytes(planned)} and {gigabytes(free)} are free on its disk; "
            "free some, choose another --out, or set features.mode: online"
        )


def gigabytes(count: int) -> str:
    """A number of bytes in words, to three digits: ``1.23 GB``, ``45.6 MB``."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"
