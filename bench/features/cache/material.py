"""What the key of a feature cache is made of. Imports no torch."""

from __future__ import annotations

import re
from typing import Any

from spectral_bench.bench.features.backbones.options import complete_options
from spectral_bench.bench.features.recipes import Recipe
from spectral_bench.results.identity import digest
from spectral_bench.results.specification import BackboneSpec, TrainingData, View


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


def images_of(source: TrainingData | View) -> dict[str, Any]:
    """Which images: ``dataset``, ``split`` and ``subset``; a data set of a user's own by its content, not its path.

    What it is known as may tell its labels too, after a plus sign; they are no part of the features.
    """
    name = re.sub(r"(:[0-9a-f]{12})\+[0-9a-f]{12}", r"\1", source.known_as)
    return {"dataset": name or source.dataset, "split": source.split, "subset": source.subset}


def cache_key(material: dict[str, Any]) -> str:
    """The name of the folder of a cache."""
    return digest(material, 16)
