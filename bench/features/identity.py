"""What makes one feature cache different from another."""

from __future__ import annotations

from typing import Any

from spectral_bench.bench.features.backbones import backbone_info, weights_digest
from spectral_bench.bench.features.cache.material import cache_material
from spectral_bench.bench.features.cache.opening import CacheRequest
from spectral_bench.bench.features.cache.size import planned_bytes
from spectral_bench.bench.features.pipeline import Extraction
from spectral_bench.bench.features.recipes import Recipe
from spectral_bench.common.errors import DataError
from spectral_bench.results.specification import BackboneSpec, Features


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
    material = cache_material(source, recipe, backbone, used_weights(backbone, extraction), features.dtype)
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
