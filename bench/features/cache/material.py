"""What the key of a feature cache is made of. Imports no torch."""

from __future__ import annotations

from typing import Any

from spectral_bench.bench.features.backbones.options import complete_options
from spectral_bench.bench.features.recipes import Recipe
from spectral_bench.results.identity import digest
from spectral_bench.results.specification import BackboneSpec


def cache_material(
    source: dict[str, Any], recipe: Recipe, backbone: BackboneSpec, weights: str, dtype: str
) -> dict[str, Any]:
    """All that changes the features, as JSON values.

    A cache of whole images is one and the same for training and for evaluation, whatever asked for it first.

    Args:
        source: which images: ``dataset``, ``split`` and ``subset``.
        recipe: the shots of each image.
        backbone: name and options; defaults are filled in.
        weights: digest of the weights.
        dtype: of the arrays.
    """
    return {
        "source": source,
        "backbone": backbone.name,
        "options": complete_options(backbone.name, backbone.options),
        "weights": weights,
        "recipe": recipe.material(),
        "dtype": dtype,
    }


def cache_key(material: dict[str, Any]) -> str:
    """The name of the folder of a cache."""
    return digest(material, 16)
