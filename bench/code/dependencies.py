"""Which code a record depends on, as fingerprints of its modules."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterable

from spectral_bench.bench.code.fingerprint import fingerprint, is_own_file
from spectral_bench.bench.features.backbones.registry import module_of as module_of_backbone
from spectral_bench.common.loaded import PACKAGE
from spectral_bench.datasets.registry import REGISTRY as DATA_SETS
from spectral_bench.methods.registry import REGISTRY as METHODS
from spectral_bench.methods.registry import method_facts

RunCode = tuple[dict[str, str], dict[str, dict[str, str]]]
"""The fingerprints of a fit, and those of its evaluations by data set."""

_NETWORK = "spectral_bench.bench.features.backbones.network"
_LABELS = "spectral_bench.bench.features.patch_labels"
_SOURCES = "spectral_bench.bench.features.sources.opening"


def fit_code(method: str, dataset: str, backbone: str, *, loaded: bool = False) -> dict[str, str]:
    """Module -> fingerprint of what a fit depends on: method, data set, transforms, backbone, feature sources.

    The labels of patches are among them for a method that uses them.

    Args:
        method: a name, or the path of a file with its class.
        dataset: likewise.
        backbone: likewise.
        loaded: of the code that this process has loaded, where it has; else of what lies on disk today.
    """
    labels = [_LABELS] if method_facts(method).uses_labels else []
    return fingerprint(
        [
            METHODS.module(method),
            DATA_SETS.module(dataset),
            module_of_backbone(backbone),
            _NETWORK,
            _SOURCES,
            *labels,
        ],
        loaded=loaded,
    )


def evaluation_code(method: str, dataset: str, backbone: str, *, loaded: bool = False) -> dict[str, str]:
    """Module -> fingerprint of what an evaluation depends on besides its fit: prediction, resampling, counting.

    The arguments are those of ``fit_code``.
    """
    labels = [_LABELS] if method_facts(method).labels_at_prediction else []
    return fingerprint(
        [
            METHODS.module(method),
            DATA_SETS.module(dataset),
            module_of_backbone(backbone),
            _NETWORK,
            "spectral_bench.bench.features.views",
            "spectral_bench.bench.run.evaluate",
            *labels,
        ],
        loaded=loaded,
    )


def code_of_run(method: str, trained_on: str, evaluated_on: Iterable[str], backbone: str) -> RunCode:
    """What a run depends on, of the code that this process works with: for the time before the work begins.

    Modules of the project that are not loaded yet are imported now, so that an edit on disk changes nothing of the
    run; files of a user's own that are imported later run what was read here.
    """
    datasets = tuple(evaluated_on)
    fit, evaluations = _loaded_code(method, trained_on, datasets, backbone)
    for name in {name for code in (fit, *evaluations.values()) for name in code if not is_own_file(name)}:
        with contextlib.suppress(Exception):  # of a package that is not installed; who needs it says so
            importlib.import_module(f"{PACKAGE}.{name}")
    return _loaded_code(method, trained_on, datasets, backbone)


def _loaded_code(method: str, trained_on: str, datasets: tuple[str, ...], backbone: str) -> RunCode:
    evaluations = {dataset: evaluation_code(method, dataset, backbone, loaded=True) for dataset in datasets}
    return fit_code(method, trained_on, backbone, loaded=True), evaluations
