"""Which files of a user's own a Python file imports: those that lie beside it, and others that Python would find."""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from spectral_bench.common.loaded import PACKAGE, installed
from spectral_bench.common.own_modules import beside


@dataclass(frozen=True)
class OwnFile:
    """A Python file of a user's own.

    Attributes:
        path: where it lies.
        base: the folder that its absolute name starts from: that of the method file, or one that Python searches.
        home: the folder whose files hide others for it: that of the method file that led here; None for a module that
            Python found elsewhere, for which nothing is hidden.
    """

    path: Path
    base: Path
    home: Path | None

    @property
    def name(self) -> str:
        """How records call it, wherever its folder lies: its path from there."""
        return self.path.relative_to(self.base).as_posix()

    @property
    def package(self) -> str:
        """The package that its relative imports start from; empty for a file directly in ``base``."""
        return ".".join(self.path.relative_to(self.base).parts[:-1])


def own_file(path: str) -> OwnFile | None:
    """The file behind the path of a method or data set; None where there is none."""
    found = Path(path).resolve()
    return OwnFile(found, found.parent, found.parent) if found.is_file() else None


def own_imports(file: OwnFile, names: Iterable[str]) -> Iterator[OwnFile]:
    """The files of a user's own among the modules ``names`` that ``file`` imports, packages' ``__init__`` too."""
    for name in names:
        relative = name.startswith(".")  # beside a file directly in its base
        parts = name.lstrip(".").split(".")
        base = file.base if relative else _base(file, parts[0])
        if base is not None and (path := _inside(base, parts)) is not None:
            yield OwnFile(path, base, file.home if base == file.home else None)


def own_module(name: str) -> OwnFile | None:
    """The file behind a module of a user's own by its name, such as that of an entry point; None where there is none.

    A package that is installed in place, to be worked on, is of a user's own.
    """
    parts = name.split(".")
    base = _searched(parts[0], tuple(sys.path))
    path = None if base is None else _inside(base, parts)
    return None if base is None or path is None else OwnFile(path, base, None)


def _inside(base: Path, parts: Sequence[str]) -> Path | None:
    """The file of a module or package below a folder; None where there is none."""
    place = base.joinpath(*parts)
    files = (place / "__init__.py", place.with_name(f"{place.name}.py"))
    return next((path for path in files if place != base and path.is_file()), None)


def _base(file: OwnFile, top: str) -> Path | None:
    """The folder from which a file finds the module ``top``; None where that is not of a user's own."""
    if file.home is not None and beside(file.home, top):
        return file.home
    return _searched(top, tuple(sys.path))


@functools.lru_cache(maxsize=1024)
def _searched(top: str, searched: tuple[str, ...]) -> Path | None:
    """The folder in which Python finds a module that is neither its own, nor of an installed package, nor of ours."""
    if not top or top == PACKAGE or top in sys.stdlib_module_names:
        return None
    try:
        found = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if found is None:
        return None
    places = list(found.submodule_search_locations or ())
    if found.origin is not None and found.origin.endswith(".py"):
        places = [str(Path(found.origin).parent)] if places else [found.origin]
    elif found.origin is not None:
        return None  # a compiled module, or one of the interpreter
    own = [Path(place).resolve() for place in places if not installed(str(Path(place).resolve()))]
    return own[0].parent if own else None
