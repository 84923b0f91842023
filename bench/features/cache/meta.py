"""What makes one feature cache different from another, what it says of itself, how large it gets. Imports no torch."""

from __future__ import annotations

import re
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from spectral_bench.bench.features.backbones import backbone_info, weights_digest
from spectral_bench.bench.features.backbones.interface import BackboneInfo
from spectral_bench.bench.features.backbones.registry import complete_options, content_name
from spectral_bench.bench.features.recipes import Recipe
from spectral_bench.common.errors import DataError, StoreError
from spectral_bench.common.geometry import Crop
from spectral_bench.results.identity import digest
from spectral_bench.results.specification import BackboneSpec, Features, TrainingData, View, placeless

if TYPE_CHECKING:
    from spectral_bench.bench.features.pipeline import Extraction


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


def cache_material(
    source: dict[str, Any], recipe: Recipe, backbone: BackboneSpec, weights: str, dtype: str, *, loaded: bool = False
) -> dict[str, Any]:
    """All that changes the features, as JSON values.

    A cache of whole images is one and the same for training and for evaluation, whatever asked for it first.

    Args:
        source: which images: ``dataset``, ``split`` and ``subset``.
        recipe: the shots of each image.
        backbone: name and options; defaults are filled in.
        weights: digest of the weights.
        dtype: of the arrays.
        loaded: tell a backbone of one's own by the code that this process has loaded, not by what lies on disk today.
    """
    return {
        "source": source,
        "backbone": content_name(backbone.name, loaded=loaded),
        "options": placeless(complete_options(backbone.name, backbone.options)),
        "weights": weights,
        "recipe": recipe.material(),
        "dtype": dtype,
    }


def images_of(source: TrainingData | View) -> dict[str, Any]:
    """Which images: ``dataset``, ``split`` and ``subset``; a data set of a user's own by its content, not its path.

    What it is known as may tell its labels too, after a plus sign; they are no part of the features.
    """
    name = re.sub(r"(:[0-9a-f]{12})\+[0-9a-f]{12}", r"\1", source.known_as)
    return {"dataset": name or source.dataset, "split": source.split, "subset": source.subset}


def cache_key(material: dict[str, Any]) -> str:
    """The name of the folder of a cache."""
    return digest(material, 16)


@dataclass(frozen=True)
class CacheRequest:
    """What a cache has to hold.

    Attributes:
        material: JSON values that the key is the digest of.
        data_digest: digest of the images' split as it is now.
        ids: the images, in order.
        channels: of the levels.
        dtype: ``float16`` or ``float32``.
        limit: bytes that it may take.
    """

    material: dict[str, Any]
    data_digest: str
    ids: tuple[str, ...]
    channels: tuple[int, ...]
    dtype: Literal["float16", "float32"]
    limit: int

    @property
    def key(self) -> str:
        """The name of the cache's folder."""
        return cache_key(self.material)


def cache_request(
    extraction: Extraction,
    recipe: Recipe,
    backbone: BackboneSpec,
    features: Features,
    *,
    source: dict[str, Any],
    limit: int,
) -> CacheRequest:
    """The cache that holds the shots of ``recipe``.

    Args:
        extraction: images and backbone.
        recipe: the shots of each image.
        backbone: name, options, weights.
        features: the dtype.
        source: ``dataset``, ``split`` and ``subset`` of the images.
        limit: bytes that the cache may take.
    """
    material = cache_material(source, recipe, backbone, used_weights(backbone, extraction), features.dtype, loaded=True)
    channels = backbone_info(backbone.name, backbone.options).channels
    return CacheRequest(material, extraction.images.digest(), extraction.ids, channels, features.dtype, limit)


def require_unchanged(extraction: Extraction, digest: str) -> None:
    """Refuse features of images of which some were replaced while they were read.

    Raises:
        DataError: the images' digest is no more ``digest``, that from before.
    """
    if extraction.images.digest() != digest:
        raise DataError(
            "images changed while features were extracted, which are thrown away; issue the same command again"
        )


def used_weights(backbone: BackboneSpec, extraction: Extraction) -> str:
    """The digest of the weights that features are computed with; fetches the weights where nothing else tells it.

    Raises:
        DataError: the weights on this machine are not those that the run was planned with, or have no file.
    """
    here = weights_digest(backbone.name, backbone.options)
    if here is None and not backbone.weights:
        _ = extraction.backbone
        here = weights_digest(backbone.name, backbone.options)
    if here is not None and backbone.weights and here != backbone.weights:
        raise DataError(
            f"backbone {backbone.name}: the run was planned with weights {backbone.weights}; this machine has {here}. "
            "Bring the same file here, or plan the grid again"
        )
    if not (backbone.weights or here):
        raise DataError(f"backbone {backbone.name}: its weights were loaded, but their file cannot be found")
    return backbone.weights or str(here)


def planned_by_first(extraction: Extraction, recipe: Recipe, backbone: BackboneSpec, dtype: str) -> int:
    """Bytes of a cache, were all images like the first one."""
    height, width = extraction.images.image(extraction.ids[0]).shape[:2]
    shots = recipe.shots(0, height, width)
    crop = shots[0].crop
    info = backbone_info(backbone.name, backbone.options)
    return planned_bytes(len(extraction.ids), len(shots), crop.height, crop.width, info, dtype)
