"""What makes one feature cache different from another. Imports no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from spectral_bench.bench.features.backbones import backbone_info, weights_digest
from spectral_bench.bench.features.backbones.registry import complete_options, content_name
from spectral_bench.bench.features.cache.meta import planned_bytes
from spectral_bench.bench.features.recipes import Recipe
from spectral_bench.common.errors import DataError
from spectral_bench.results.identity import digest
from spectral_bench.results.specification import BackboneSpec, Features, TrainingData, View

if TYPE_CHECKING:
    from spectral_bench.bench.features.pipeline import Extraction


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
        "options": complete_options(backbone.name, backbone.options),
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
