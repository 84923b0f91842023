"""Which code a record depends on, and what check-method has found of methods of the user's own."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterable
from pathlib import Path

from spectral_bench.bench.code.fingerprint import fingerprint, is_own_file
from spectral_bench.bench.features.backbones.registry import module_of as module_of_backbone
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.loaded import PACKAGE
from spectral_bench.datasets.registry import REGISTRY as DATA_SETS
from spectral_bench.methods.imports import is_own, own_files, require_imports
from spectral_bench.methods.registry import ANY, load_method, method_facts
from spectral_bench.methods.registry import REGISTRY as METHODS
from spectral_bench.results.checks import check_state
from spectral_bench.results.identity import digest
from spectral_bench.results.record import MethodCheck


def own_methods(method: str) -> list[str]:
    """The methods of the user's own among a method and those whose fits it starts from; imports them.

    Raises:
        ConfigError: one is unknown or no method.
    """
    names: list[str] = []
    following: str | None = method
    while following is not None:
        names.append(following)
        following = method_facts(following).fit_from
        following = None if following == ANY else following  # which is no path: its parameters refuse one
    return [name for name in names if is_own(name)]


def own_code(method: str) -> str:
    """The digest of a method's own code: which class, its file, and the modules of its own that it imports, by content.

    Names of files and folders do not count, nor do comments and formatting. Methods of the user's own that it starts
    from count too.

    Returns:
        A short digest; empty for a method that ships with the harness.

    Raises:
        ConfigError: the method is unknown, or a file of it is not valid Python.
    """
    own = own_methods(method)
    if not own:
        return ""
    files = dict.fromkeys(str(path) for name in own for path in own_files(name))
    code = fingerprint(files)
    hashes = sorted(value for name, value in code.items() if is_own_file(name))
    return digest([[load_method(name).__qualname__ for name in own], hashes], 16)


def method_check(store: Path, method: str) -> MethodCheck | None:
    """What a store knows of the code of a method as it is now; None for a method that ships with the harness.

    Errors: as ``own_code``; ``StoreError`` where a newer release has checked it.
    """
    code = own_code(method)
    return MethodCheck(code=code, verdict=check_state(store, code)) if code else None


def require_own_imports(method: str) -> None:
    """Refuse a method of the user's own whose code, or that of one it starts from, imports what no method may.

    The code is read before it is executed.

    Raises:
        ConfigError: it does; the message names files, lines and modules.
    """
    if is_own(method):
        require_imports(method)
    for name in own_methods(method):
        require_imports(name)


def unproven(store: Path, methods: list[str]) -> list[str]:
    """A line for each method of the user's own whose code has not passed ``check-method`` in a store."""
    lines = []
    for method in dict.fromkeys(methods):
        try:
            check = method_check(store, method)
        except ConfigError:
            continue  # whoever runs it is told
        if check is not None and check.verdict != "passed":
            how = "broke a promise of" if check.verdict == "failed" else "has not passed"
            lines.append(
                f"{method} {how} check-method at its present code, and tables say so: "
                f"bench check-method {method} --out {store}"
            )
    return lines


RunCode = tuple[dict[str, str], dict[str, dict[str, str]]]
"""The fingerprints of a fit, and those of its evaluations by data set."""

_NETWORK = "spectral_bench.bench.features.backbones.network"
_LABELS = "spectral_bench.bench.features.patch_labels"
_SOURCES = "spectral_bench.bench.features.source"


def fit_code(method: str, dataset: str, backbone: str, *, loaded: bool = False) -> dict[str, str]:
    """Module -> fingerprint of what a fit depends on: method, data set, transforms, backbone, feature sources.

    The labels of patches are among them for a method that uses them.

    Args:
        method: a name, or the path of a file with its class.
        dataset: likewise.
        backbone: likewise.
        loaded: of the code that this process has loaded, where it has; else of what lies on disk today.
    """
    facts = method_facts(method)
    labels = [_LABELS] if facts.uses_labels else []
    # What it starts from is a parameter, which code does not depend on: any of those that may be.
    starts = [name for name in METHODS.names() if not method_facts(name).uses_labels] if facts.fit_from == ANY else []
    return fingerprint(
        [
            METHODS.module(method),
            *(METHODS.module(name) for name in starts),
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
