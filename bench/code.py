"""Which code a record depends on, as fingerprints of its modules."""

from __future__ import annotations

from spectral_bench.bench.fingerprint import fingerprint
from spectral_bench.datasets.registry import REGISTRY as DATA_SETS
from spectral_bench.methods.registry import REGISTRY as METHODS
from spectral_bench.methods.registry import method_facts

_BACKBONES = "spectral_bench.bench.features.backbones.load"
_LABELS = "spectral_bench.bench.features.labels"
_SOURCES = "spectral_bench.bench.features.sources.opening"


def fit_code(method: str, dataset: str) -> dict[str, str]:
    """Module -> fingerprint of what a fit depends on: method, data set, transforms, backbones, feature sources.

    The labels of patches are among them for a method that uses them.
    """
    labels = [_LABELS] if method_facts(method).uses_labels else []
    return fingerprint([METHODS.module(method), DATA_SETS.module(dataset), _BACKBONES, _SOURCES, *labels])


def evaluation_code(method: str, dataset: str) -> dict[str, str]:
    """Module -> fingerprint of what an evaluation depends on besides its fit: prediction, resampling, counting."""
    labels = [_LABELS] if method_facts(method).labels_at_prediction else []
    return fingerprint(
        [
            METHODS.module(method),
            DATA_SETS.module(dataset),
            _BACKBONES,
            "spectral_bench.bench.features.views",
            "spectral_bench.bench.run.looking",
            *labels,
        ]
    )
