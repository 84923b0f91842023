"""A benchmark and ablation harness for spectral methods in unsupervised semantic segmentation.

Example:
    >>> import numpy as np, spectral_bench as sb
    >>> features = np.random.default_rng(0).normal(size=(4, 6, 8, 16)).astype("float32")
    >>> fit = sb.fit("kmeans", features, k=3, seed=0)
    >>> fit.predict(features).shape
    (4, 6, 8)

What is named here is the public interface; all else is private to the project and may change.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spectral_bench._fits import Fit, fit, load
    from spectral_bench._grids import plan, run
    from spectral_bench._images import ClusteredImages, cluster_images
    from spectral_bench._lists import backbones, datasets, methods
    from spectral_bench._records import load_records, pack, replay

__all__ = [
    "ClusteredImages",
    "Fit",
    "backbones",
    "cluster_images",
    "datasets",
    "fit",
    "load",
    "load_records",
    "methods",
    "pack",
    "plan",
    "replay",
    "run",
]

_HOMES = {
    "ClusteredImages": "_images",
    "Fit": "_fits",
    "backbones": "_lists",
    "cluster_images": "_images",
    "fit": "_fits",
    "load": "_fits",
    "load_records": "_records",
    "pack": "_records",
    "plan": "_grids",
    "replay": "_records",
    "run": "_grids",
}


def __getattr__(name: str) -> Any:
    """Import torch, pandas and the rest only when they are asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _ListingPackage(ModuleType):
    """``methods`` and ``datasets`` are packages, and calling one lists what it holds.

    An import sets a package as an attribute of the package around it, which would replace a function of that name.
    """

    def __call__(self) -> Any:
        from spectral_bench import _lists

        return getattr(_lists, self.__name__.rpartition(".")[2])()


if not TYPE_CHECKING:
    for _name in ("datasets", "methods"):
        importlib.import_module(f"{__name__}.{_name}")
        sys.modules[f"{__name__}.{_name}"].__class__ = _ListingPackage
