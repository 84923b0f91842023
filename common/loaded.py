"""The source code that this process runs, kept as it was when it was imported.

A file may be edited while its code runs. What a record tells of the code must be what was loaded, so each source is
read once, at its import, and kept for those who ask later. Code of the Python installation and of packages that were
installed does not count: nobody edits it, and versions tell it.
"""

from __future__ import annotations

import ast
import functools
import os
import sys
import sysconfig
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent

PACKAGE = "spectral_bench"
"""The project itself, which no file of a user's own hides."""

_sources: dict[str, bytes] = {}


def remember(path: Path | str, source: bytes) -> None:
    """Keep ``source`` as what was loaded from ``path``."""
    _sources[os.path.realpath(path)] = source


def loaded_source(path: Path | str) -> bytes | None:
    """What this process loaded from a file; None where it loaded nothing from it."""
    return _sources.get(os.path.realpath(path))


def kept_source(real: str) -> bytes | None:
    """As ``loaded_source``, of a path without links: who asks again and again resolves them once."""
    return _sources.get(real)


def installed(origin: str) -> bool:
    """Whether a file belongs to the Python installation or to a package that was installed."""
    return "site-packages" in origin or "dist-packages" in origin or origin.startswith(_standard_library())


def imported_from(node: ast.ImportFrom, package: str) -> str:
    """The absolute name of the module that ``from ... import`` names, in a file of ``package``; empty for none."""
    if node.level == 0:
        return node.module or ""
    parents = package.split(".")
    kept = parents[: len(parents) - node.level + 1]
    return ".".join([*kept, node.module] if node.module else kept)


@functools.cache
def _standard_library() -> tuple[str, ...]:
    return tuple({f"{Path(sysconfig.get_path(name)).resolve()}/" for name in ("stdlib", "platstdlib")})


class _Watcher(MetaPathFinder):
    """Finds what Python's own path finder finds, and reads the source of each module on the way."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The specification of a module that lies on ``path``; None where there is none."""
        found = PathFinder.find_spec(fullname, path, target)
        if found is not None and found.origin is not None:
            _read(fullname, found.origin)
        return found


def watch() -> None:
    """Keep the source of all that is imported from now on, and of what is imported already."""
    if any(isinstance(finder, _Watcher) for finder in sys.meta_path):
        return
    place = next((n for n, finder in enumerate(sys.meta_path) if finder is PathFinder), len(sys.meta_path))
    sys.meta_path.insert(place, _Watcher())
    for name, module in list(sys.modules.items()):
        origin = getattr(module, "__file__", None)
        if origin is not None:
            _read(name, origin)


def _read(name: str, origin: str) -> None:
    ours = name.partition(".")[0] == PACKAGE
    if origin.endswith(".py") and (ours or not installed(origin)):
        try:
            remember(origin, Path(origin).read_bytes())
        except OSError:  # then its import fails too, and says so
            return
