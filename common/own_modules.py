"""Python files of a user's own, with the modules that lie beside them.

A file may import what lies in its folder, as a script may. Each folder has a name space of its own, so that two files
in different folders never get each other's helpers. What runs is compiled from the very bytes that are kept for those
who ask what was loaded.
"""

from __future__ import annotations

import builtins
import functools
import importlib
import importlib.util
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from spectral_bench.common.loaded import PACKAGE, loaded_source, remember

_SPACE = "_own_"
_NEVER_OWN = {PACKAGE} | sys.stdlib_module_names | set(sys.builtin_module_names)


def load_own_file(path: Path) -> ModuleType:
    """The module of a Python file, imported once a process.

    Raises:
        Exception: whatever its import raises.
    """
    path = path.resolve()
    space = _space(path.parent)
    name = f"{space}.{path.stem.replace('.', '_')}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path, loader=_Loader(name, str(path)))
    assert spec is not None  # a loader was given
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def beside(folder: Path, name: str) -> bool:
    """Whether a top-level module is one that lies in ``folder`` and that its files mean by this name.

    The project's own packages and Python's library are never hidden; installed packages are, as in a script, but by
    modules and by folders with an ``__init__.py`` only.
    """
    if name in _NEVER_OWN or not name:
        return False
    if (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file():
        return True
    return next((folder / name).glob("*.py"), None) is not None and not _is_elsewhere(name, folder)


def _is_elsewhere(name: str, folder: Path) -> bool:
    """Whether Python finds a module of this name without looking into ``folder``."""
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return name in sys.modules
    if found is None:
        return False
    return found.origin is not None or str(folder / name) not in (found.submodule_search_locations or ())


def _space(folder: Path) -> str:
    """The name of the package that stands for a folder, which is made at its first use."""
    name = f"{_SPACE}{zlib.crc32(str(folder).encode()):08x}"
    while name in sys.modules and sys.modules[name].__path__ != [str(folder)]:
        name += "_"
    if name not in sys.modules:
        package = ModuleType(name, f"The files in {folder}.")
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    return name


class _Finder(MetaPathFinder):
    """Finds modules of the name spaces of folders."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The specification of a module that lies in the folder of its name space."""
        if not fullname.startswith(_SPACE):
            return None
        found = PathFinder.find_spec(fullname, path, target)
        if found is not None and found.origin is not None and type(found.loader) is SourceFileLoader:
            found.loader = _Loader(fullname, found.origin)
        return found


class _Loader(SourceFileLoader):
    """Runs the bytes that it has read and kept, never a compiled file, with imports that look beside the file first."""

    def get_code(self, fullname: str) -> CodeType:
        """The code of the module."""
        known = loaded_source(self.path)  # what was told of the code before the work is what runs
        source = self.get_data(self.path) if known is None else known
        remember(self.path, source)
        code: CodeType = self.source_to_code(source, self.path)
        return code

    def exec_module(self, module: ModuleType) -> None:
        """Run the module."""
        space = module.__name__.partition(".")[0]
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": _importer(space)}
        super().exec_module(module)


@functools.cache
def _importer(space: str) -> Callable[..., Any]:
    """``__import__`` for the files of a name space. It stays theirs, so that imports inside of functions work too."""
    folder = Path(sys.modules[space].__path__[0])

    def own_import(
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        top = name.partition(".")[0]
        if level or not beside(folder, top):
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        found = builtins.__import__(f"{space}.{name}", globals, locals, fromlist or (), 0)
        return found if fromlist else sys.modules[f"{space}.{top}"]

    return own_import
