"""Which code a record depends on, as fingerprints of its modules."""

from __future__ import annotations

from bench.fingerprint import fingerprint
from datasets.registry import REGISTRY as DATA_SETS
from methods.registry import REGISTRY as METHODS
from results.specification import FitSpec, View


def fit_code(spec: FitSpec) -> dict[str, str]:
    """Module -> fingerprint of what a fit depends on: method, data set, transforms, backbone, feature sources."""
    backbone = "efficientnet" if spec.backbone.name == "efficientnet_lite0" else "vit"
    return fingerprint(
        [
            METHODS.module(spec.method),
            DATA_SETS.module(spec.data.dataset),
            f"bench.features.backbones.{backbone}",
            "bench.features.sources.opening",
        ]
    )


def evaluation_code(spec: FitSpec, view: View) -> dict[str, str]:
    """Module -> fingerprint of all that an evaluation depends on besides its fit: prediction, resampling, counting."""
    backbone = "efficientnet" if spec.backbone.name == "efficientnet_lite0" else "vit"
    return fingerprint(
        [
            METHODS.module(spec.method),
            DATA_SETS.module(view.dataset),
            f"bench.features.backbones.{backbone}",
            "bench.features.views",
            "bench.run.looking",
        ]
    )
