"""Which code a record depends on, as fingerprints of its modules."""

from __future__ import annotations

from bench.fingerprint import fingerprint
from datasets.registry import REGISTRY as DATA_SETS
from methods.registry import REGISTRY as METHODS
from methods.registry import method_facts
from results.specification import FitSpec, View

_BACKBONES = "bench.features.backbones.load"
_LABELS = "bench.features.labels"


def fit_code(spec: FitSpec) -> dict[str, str]:
    """Module -> fingerprint of what a fit depends on: method, data set, transforms, backbones, feature sources.

    The labels of patches are among them for a method that uses them.
    """
    method, data = METHODS.module(spec.method), DATA_SETS.module(spec.data.dataset)
    labels = [_LABELS] if method_facts(spec.method).uses_labels else []
    return fingerprint([method, data, _BACKBONES, "bench.features.sources.opening", *labels])


def evaluation_code(spec: FitSpec, view: View) -> dict[str, str]:
    """Module -> fingerprint of what an evaluation depends on besides its fit: prediction, resampling, counting."""
    method, data = METHODS.module(spec.method), DATA_SETS.module(view.dataset)
    labels = [_LABELS] if method_facts(spec.method).labels_at_prediction else []
    return fingerprint([method, data, _BACKBONES, "bench.features.views", "bench.run.looking", *labels])
