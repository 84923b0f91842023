"""Registries that find a part by name and import it only when it is used."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any

from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import unknown
from spectral_bench.common.own_modules import load_own_file

WEIGHTS_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
"""Of files of weights."""


FROM_FILES = "files:"
"""What stands before the title of features that were computed elsewhere, where a backbone is named."""


_TOLD_BY: Mapping[str, tuple[str, ...]] = {"method": ("fit", "predict"), "backbone": ("load", "levels")}
"""What a class of a kind has one of at least, even half written; of other kinds any class will do."""


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
            ConfigError: the name is unknown (the nearest is suggested), or the file or object is not there, or cannot
                be imported.
        """
        if name in self._builtin:
            module, _, attribute = self._builtin[name].partition(":")
            return getattr(importlib.import_module(module), attribute)
        if is_path(name):
            return self._load_file(name)
        points = self._entry_points()
        if name in points:
            return _load_point(self.kind, points[name])
        raise ConfigError(unknown(self.kind, name, self.names()))

    def module(self, name: str) -> str:
        """The module that holds a known name, or the path of its file; imports nothing. Names as for ``load``."""
        if name in self._builtin:
            return self._builtin[name].partition(":")[0]
        if is_path(name):
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
            there = _classes_like(self.kind, module)
            problem = unknown(f"object in {path}", attribute, there)
            if not attribute:
                problem = f"name the object after a colon; valid: {', '.join(there) or 'none'}"
            raise ConfigError(f"{self.kind} {name}: {problem} ({path}:Object)")
        return getattr(module, attribute)


def _classes_like(kind: str, module: ModuleType) -> list[str]:
    """The classes that a file itself defines and that look like a part of this kind, in alphabetical order."""
    return sorted(
        name
        for name, value in vars(module).items()
        if isinstance(value, type)
        and value.__module__ == module.__name__
        and not name.startswith("_")
        and any(hasattr(value, had) for had in _TOLD_BY.get(kind, ("__init__",)))
    )


def _import_file(path: Path) -> ModuleType:
    try:
        return load_own_file(path)
    except Exception as error:
        raise ConfigError(f"{path}: import failed: {type(error).__name__}: {error}") from error


def _load_point(kind: str, point: EntryPoint) -> Any:
    try:
        return point.load()
    except Exception as error:  # its package may raise anything
        raise ConfigError(
            f"{kind} {point.name}: import of {point.value} failed: {type(error).__name__}: {error}"
        ) from error


def is_path(name: str) -> bool:
    """Whether a name is ``path/to/file.py:Object``, not one that a registry knows."""
    named = name.endswith(".py") or ".py:" in name  # a tag of timm is pycls_in1k
    return named and not is_from_files(name)


def is_from_files(name: str) -> bool:
    """Whether the name of a backbone is the title of features that were computed elsewhere: ``files:TITLE``."""
    return name.startswith(FROM_FILES)


def is_weights_file(value: object) -> bool:
    """Whether the option ``weights`` of a backbone names a file, not a source such as ``hub``, nor ``random``."""
    return isinstance(value, str) and PurePath(value).suffix in WEIGHTS_SUFFIXES


def short_name(name: str) -> str:
    """A name for people: of a path only the file, as in ``folder:leaves.yaml`` or ``mine.py:Mine``."""
    if is_from_files(name):
        return name.removeprefix(FROM_FILES)
    if name.startswith("folder:"):
        return f"folder:{PurePath(name.removeprefix('folder:')).name}"
    file, colon, attribute = name.partition(":")
    return f"{PurePath(file).name}{colon}{attribute}" if is_path(name) else name


def absolute_name(name: str, folder: Path) -> str:
    """``path/to/file.py:Object`` with its path made absolute, from ``folder`` where it is relative; others as they are.

    Raises:
        ConfigError: there is no such file.
    """
    if not is_path(name):
        return name
    file, colon, attribute = name.partition(":")
    return f"{absolute_path(file, folder, name)}{colon}{attribute}"


def absolute_path(text: str, folder: Path, name: str) -> Path:
    """A path of a grid made absolute, from ``folder``, that of the grid, where it is relative.

    Args:
        text: the path.
        folder: the grid's.
        name: what the grid says, for the message.

    Raises:
        ConfigError: there is no such file; one that lies where the command was called is pointed out.
    """
    given = Path(text).expanduser()
    path = Path(os.path.normpath(folder.absolute() / given))
    if not path.is_file():
        here = "; paths are relative to the grid file, and one lies in the calling folder" if given.is_file() else ""
        raise ConfigError(f"{name}: no such file {path}{here}")
    return path
