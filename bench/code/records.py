"""The code of a record: which modules it depends on, and which past changes of code changed no result.

* Which: ``fit_code`` and ``evaluation_code`` name the roots, ``fingerprint`` follows their imports. Of a method of the
  user's own, ``method_check`` adds what check-method has found.
* Changed without consequence: a release that only moves, renames or speeds up code changes hashes and no result.
  ``equivalent.json`` holds such steps, oldest first, each with the hashes of all modules before and after, and where
  each module went. It is a promise: who adds a step has shown that results have the same bits.

``python -m spectral_bench.bench.code.records CHECKOUT --moved OLD=NEW ...`` adds the step from the code of another
checkout to that of this one.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from spectral_bench.bench.code.fingerprint import fingerprint, is_own_file, module_hashes
from spectral_bench.bench.features.backbones.registry import module_of as module_of_backbone
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.files import write_bytes
from spectral_bench.common.loaded import PACKAGE, ROOT
from spectral_bench.datasets.registry import REGISTRY as DATA_SETS
from spectral_bench.methods.imports import is_own, own_files, require_imports
from spectral_bench.methods.registry import ANY, load_method, method_facts, starts
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
        following = None if following == ANY else following  # which ships: see methods.registry.starts
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
        require_imports(method)  # before `own_methods`, which imports it
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

_NAMING = "spectral_bench.bench.run.naming"

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
    any_start = starts(facts.uses_labels) if facts.fit_from == ANY else ()
    return fingerprint(
        [
            METHODS.module(method),
            *(METHODS.module(name) for name in any_start),
            DATA_SETS.module(dataset),
            module_of_backbone(backbone),
            _NETWORK,
            _SOURCES,
            *labels,
        ],
        loaded=loaded,
    )


def evaluation_code(
    method: str, dataset: str, backbone: str, names: str = "", *, loaded: bool = False
) -> dict[str, str]:
    """Module -> fingerprint of what an evaluation depends on besides its fit: prediction, resampling, counting.

    Args:
        method: as for ``fit_code``, and so are ``dataset``, ``backbone`` and ``loaded``.
        dataset: that is looked at.
        backbone: of the fit.
        names: the network in the space of texts, of a view that names clusters; empty: of one that counts them.
        loaded: of the code that this process has loaded.
    """
    naming = [_NAMING, module_of_backbone(names)] if names else []
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
            *naming,
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
    # Once more: what was just imported is hashed as it was loaded, should it have changed on disk in between.
    return _loaded_code(method, trained_on, datasets, backbone)


def _loaded_code(method: str, trained_on: str, datasets: tuple[str, ...], backbone: str) -> RunCode:
    evaluations = {dataset: evaluation_code(method, dataset, backbone, loaded=True) for dataset in datasets}
    return fit_code(method, trained_on, backbone, loaded=True), evaluations


# Past changes of code that changed no result.


FILE = Path(__file__).with_name("equivalent.json")


@dataclass(frozen=True)
class Step:
    """One change of code that changed no result.

    Attributes:
        before: module -> hash, of all modules that a record can name.
        after: likewise; modules that did not change are among them.
        moved: module -> the modules that hold its code afterwards, where these are not itself alone.
    """

    before: Mapping[str, str]
    after: Mapping[str, str]
    moved: Mapping[str, tuple[str, ...]]


@functools.cache
def steps() -> tuple[Step, ...]:
    """All steps, oldest first."""
    return tuple(
        Step(one["before"], one["after"], {name: tuple(homes) for name, homes in one["moved"].items()})
        for one in json.loads(FILE.read_text(encoding="utf-8"))
    )


def in_todays_words(
    recorded: Mapping[str, str], today: Collection[str], known: tuple[Step, ...] | None = None
) -> dict[str, str]:
    """A recorded fingerprint as today's code would give it, had nothing but the known steps happened since.

    A module whose hash is that of a step's start has that of its end; one with another hash keeps it, under the name
    that it has today, so that it is seen to differ. Modules that today's code depends on besides, because files were
    joined, count as they were at the end of the step.

    Args:
        recorded: module -> hash; files of a user's own are passed through.
        today: the modules that today's code depends on; none where a part of the run is not here.
        known: the steps; None: those that are kept with this code.
    """
    if not today:  # a part of the run is not here, so all that the record names has gone
        return dict(recorded)
    own = {name: hashed for name, hashed in recorded.items() if is_own_file(name)}
    found = {name: hashed for name, hashed in recorded.items() if name not in own}
    edited = set(found)
    for step in steps() if known is None else known:
        # By what the step changed: any record holds modules that it left alone.
        if any(hashed == step.before.get(name) != step.after.get(name) for name, hashed in found.items()):
            found, edited = _after(step, found)
    return {name: hashed for name, hashed in found.items() if name in edited or name in today} | own


def _after(step: Step, found: Mapping[str, str]) -> tuple[dict[str, str], set[str]]:
    """All modules as they were at the end of a step, and those of ``found`` that the step does not explain."""
    other = {name: hashed for name, hashed in found.items() if step.before.get(name) != hashed}
    # What went nowhere in the step's version keeps its name in any other: a record that has it does differ.
    homes = {home: hashed for name, hashed in other.items() for home in step.moved.get(name) or (name,)}
    return {**step.after, **homes}, {name for name, hashed in homes.items() if step.after.get(name) != hashed}


def new_step(before: Path, after: Path, moved: Mapping[str, tuple[str, ...]]) -> Step:
    """The step from the code of one checkout to that of another.

    Raises:
        ValueError: a module is gone and ``moved`` does not say where to, or says so of one that never was, or names a
            module that is not there.
    """
    old, new = module_hashes(before), module_hashes(after)
    lost = sorted(set(old) - set(new) - set(moved))
    wrong = sorted((set(moved) - set(old)) | ({home for homes in moved.values() for home in homes} - set(new)))
    if lost:
        raise ValueError(f"no longer there, and not said to have moved: {', '.join(lost)}")
    if wrong:
        raise ValueError(f"said to have moved, and not there: {', '.join(wrong)}")
    return Step(old, new, moved)


def main(arguments: list[str] | None = None) -> None:
    """Add a step to the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="a folder with the code as it was")
    parser.add_argument(
        "--moved",
        nargs="*",
        default=[],
        metavar="OLD=NEW[,NEW]",
        help="short names, as bench.run.fit; OLD= where no record can name it",
    )
    asked = parser.parse_args(arguments)
    moved = {old: tuple(filter(None, new.split(","))) for old, _, new in (one.partition("=") for one in asked.moved)}
    step = new_step(asked.checkout, ROOT, moved)
    listed = [
        *json.loads(FILE.read_text(encoding="utf-8")),
        {"before": step.before, "after": step.after, "moved": moved},
    ]
    write_bytes(FILE, (json.dumps(listed, indent=1, sort_keys=True) + "\n").encode())


if __name__ == "__main__":
    main()
