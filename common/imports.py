"""What a Python file imports, read and not executed: the names, the files behind them, and those of a user's own.

Both that ask of code are served from here: fingerprints, which hash it, and the check that no method imports labels.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from spectral_bench.common.loaded import PACKAGE, imported_from, installed
from spectral_bench.common.own_modules import beside


def imported_names(node: ast.AST, package: str) -> Iterator[str]:
    """The names that an import statement in a file of ``package`` may import; none for any other node.

    Each comes with the packages around it, and each imported name as a module. A file that is in no package names what
    lies beside it with a leading dot: ``from . import x`` and ``from .x import y`` both give ``.x``.
    """
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield from with_parents(alias.name)
    elif isinstance(node, ast.ImportFrom):
        base = imported_from(node, package)
        yield from with_parents(base) if base != PACKAGE else ()
        yield from (f"{base}.{alias.name}" for alias in node.names)


def with_parents(name: str) -> list[str]:
    """A name after those of the packages around it, which Python executes first.

    The whole of our own package stands there only if nothing inside of it is named.
    """
    parts = name.split(".")
    first = 2 if parts[0] == PACKAGE and len(parts) > 1 else 1
    return [".".join(parts[:end]) for end in range(first, len(parts) + 1) if name]


def top_module(name: str) -> tuple[Path | None, list[Path]]:
    """The file of a module that is in no package, as Python finds it, and the folders of what is inside of it.

    Nothing is imported. A module that is compiled has no file here.
    """
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):  # such as a loaded module without a spec
        spec = None
    if spec is None:
        return None, []
    file = Path(spec.origin) if spec.has_location and spec.origin and spec.origin.endswith(".py") else None
    return file, [Path(place) for place in spec.submodule_search_locations or ()]


def inside(places: Sequence[Path], name: str) -> tuple[Path | None, list[Path]]:
    """The same of a module inside of folders; a folder without ``__init__.py`` is a package too, but has no file."""
    for place in places:
        for file, inner in ((place / name / "__init__.py", [place / name]), (place / f"{name}.py", [])):
            if file.is_file():
                return file, inner
    return None, [place / name for place in places if (place / name).is_dir()]


def below(places: Sequence[Path], parts: Sequence[str]) -> Path | None:
    """The file of the module or package whose names ``parts`` lead to it from one of ``places``; None without one."""
    found = None
    for part in parts:
        found, places = inside(places, part)
    return found


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
        if base is not None and (path := below([base], parts)) is not None:
            yield OwnFile(path, base, file.home if base == file.home else None)


def own_module(name: str) -> OwnFile | None:
    """The file behind a module of a user's own by its name, such as that of an entry point; None where there is none.

    A package that is installed in place, to be worked on, is of a user's own.
    """
    parts = name.split(".")
    base = _searched(parts[0], tuple(sys.path))
    path = None if base is None else below([base], parts)
    return None if base is None or path is None else OwnFile(path, base, None)


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
    file, places = top_module(top)
    if file is not None:
        places = [file.parent] if places else [file]
    own = [place.resolve() for place in places if not installed(str(place.resolve()))]
    return own[0].parent if own else None
