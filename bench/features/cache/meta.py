"""What a cache says of itself in its ``meta.json``, which appears last, and how large it may be. Imports no torch."""

from __future__ import annotations

import shutil
import zlib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from spectral_bench.bench.features.backbones.interface import BackboneInfo
from spectral_bench.common.errors import StoreError
from spectral_bench.common.geometry import Crop

FORMAT_VERSION: Literal[1] = 1
META_FILE = "meta.json"

# Files up to this size are checked whole; of larger ones as many bytes are sampled in evenly spread blocks.
FULL_CHECK = 256 * 2**20
BLOCK = 2**20


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FileCheck(_Part):
    """Size in bytes and CRC-32 of a file (``file_check``)."""

    size: int
    crc32: int


class CachedImage(_Part):
    """The shots of one image.

    Attributes:
        id: its name.
        size: its (height, width) in pixels before resizing.
        grid: patches down and across, the same for all shots.
        crops: for each shot resized height and width, top, left, height, width in pixels, and 1 if mirrored.
    """

    id: str
    size: tuple[int, int]
    grid: tuple[int, int]
    crops: tuple[tuple[int, int, int, int, int, int, int], ...]

    @property
    def n_patches(self) -> int:
        """Patches of all shots."""
        return len(self.crops) * self.grid[0] * self.grid[1]

    def crop(self, shot: int) -> Crop:
        """What a shot shows."""
        rows, columns, top, left, height, width, flip = self.crops[shot]
        return Crop((rows, columns), top, left, height, width, flip == 1)


class Costs(_Part):
    """What the extraction cost: seconds on the wall clock, CPU seconds of the process."""

    wall_s: float
    cpu_s: float


class CacheMeta(_Part):
    """All about a complete cache but its arrays.

    Attributes:
        format_version: of files and of this description.
        material: what the cache's key is the digest of.
        data_digest: digest of the images' split when it was written.
        dtype: of all arrays.
        channels: of the levels.
        images: in the order of the rows.
        files: name -> check.
        costs: of the extraction.
    """

    format_version: Literal[1]
    material: dict[str, Any]
    data_digest: str
    dtype: Literal["float16", "float32"]
    channels: tuple[int, ...]
    images: tuple[CachedImage, ...]
    files: dict[str, FileCheck]
    costs: Costs = Field(description="of the extraction")

    @property
    def n_patches(self) -> int:
        """Rows of each array."""
        return sum(image.n_patches for image in self.images)


def packed(crop: Crop) -> tuple[int, int, int, int, int, int, int]:
    """A crop as ``CachedImage`` holds it."""
    return (*crop.resized, crop.top, crop.left, crop.height, crop.width, int(crop.flip))


def array_files(channels: tuple[int, ...]) -> dict[str, int]:
    """The array files of a cache and the columns of each: one a level, then the pixels."""
    return {f"level{number}.bin": width for number, width in enumerate(channels)} | {"pixels.bin": 3}


def file_check(path: Path) -> FileCheck:
    """Size and CRC-32 of a file. Above ``FULL_CHECK`` bytes only evenly spread blocks, first and last included, count.

    A missing, shortened or overwritten file is told from the right one; a few bytes changed between two blocks of a
    very large file are not.

    Raises:
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    blocks = -(-size // BLOCK)
    most = FULL_CHECK // BLOCK
    chosen = range(blocks) if blocks <= most else (number * (blocks - 1) // (most - 1) for number in range(most))
    checksum = 0
    with path.open("rb") as stream:
        for number in chosen:
            stream.seek(number * BLOCK)
            checksum = zlib.crc32(stream.read(BLOCK), checksum)
    return FileCheck(size=size, crc32=checksum)


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
