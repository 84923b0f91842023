"""Registries that find a part by name and import it only when it is used."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import zlib
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import unknown


class Registry:
    """Names -> ``"module:object"`` strings, extended by an entry-point group and by paths to Python files.

    Args:
        kind: what the names stand for, used in error messages ("method", "data set").
        builtin: the names that ship with the harness.
        group: the entry-point group through which other packages add names.
    """

    def __init__(self, kind: str, builtin: Mapping[str, str], group: str) -> None:
        self.kind = kind
        self.group = group
        self._builtin = dict(builtin)

    def names(self) -> tuple[str, ...]:
        """All known names: those that ship with the harness in their own order, then those of other packages."""
        return (*self._builtin, *sorted(set(self._entry_points()) - set(self._builtin)))

    def load(self, name: str) -> Any:
        """The object behind ``name``: a known name, or ``path/to/file.py:Object``.

        Raises:
            ConfigError: the name is unknown (the nearest is suggested), or the file or object is not there.
        """
        if name in self._builtin:
            module, _, attribute = self._builtin[name].partition(":")
            return getattr(importlib.import_module(module), attribute)
        if ".py" in name:
            return self._load_file(name)
        points = self._entry_points()
        if name in points:
            return points[name].load()
        raise ConfigError(unknown(self.kind, name, self.names()))

    def module(self, name: str) -> str:
        """The module that holds a known name, or the path of its file; imports nothing. Names as for ``load``."""
        if name in self._builtin:
            return self._builtin[name].partition(":")[0]
        if ".py" in name:
            return name.partition(":")[0]
        points = self._entry_points()
        if name in points:
            return points[name].module
        raise ConfigError(unknown(self.kind, name, self.names()))

    def _entry_points(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.group)}

    def _load_file(self, name: str) -> Any:
        file, _, attribute = name.partition(":")
        path = Path(file)
        if not path.is_file():
            raise ConfigError(f"{self.kind} {name}: no such file {path}")
        module = _import_file(path.resolve())
        if not attribute or not hasattr(module, attribute):
            public = [key for key, value in vars(module).items() if isinstance(value, type) and not key.startswith("_")]
            problem = unknown(f"object in {path}", attribute, public) if attribute else "name the object after a colon"
            raise ConfigError(f"{self.kind} {name}: {problem} ({path}:Object)")
        return getattr(module, attribute)


def _import_file(path: Path) -> ModuleType:
    key = f"_file_{path.stem}_{zlib.crc32(str(path).encode())}"
    if key in sys.modules:
        return sys.modules[key]
    spec = importlib.util.spec_from_file_location(key, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path}: cannot be imported as a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[key] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[key]
        raise ConfigError(f"{path}: import failed: {type(error).__name__}: {error}") from error
    return module
