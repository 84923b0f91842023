"""From images to patch features: frozen backbones, the feature cache, training sources and features of views.

``planned_bytes`` and ``bench.features.backbones`` import no torch; the other names do, when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from spectral_bench.bench.features.cache.meta import planned_bytes

if TYPE_CHECKING:
    from spectral_bench.bench.features.pipeline import extract
    from spectral_bench.bench.features.source import open_training_source
    from spectral_bench.bench.features.views import ViewFeatures, ViewItem, open_view_features

_LAZY = {
    "extract": "spectral_bench.bench.features.pipeline",
    "open_training_source": "spectral_bench.bench.features.source",
    "open_view_features": "spectral_bench.bench.features.views",
    "ViewFeatures": "spectral_bench.bench.features.views",
    "ViewItem": "spectral_bench.bench.features.views",
}

__all__ = ["ViewFeatures", "ViewItem", "extract", "open_training_source", "open_view_features", "planned_bytes"]


def __getattr__(name: str) -> Any:
    """Import what needs torch only when it is asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
