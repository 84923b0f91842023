"""Errors that a user's own method or backbone raises, told in one line."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from spectral_bench.bench.features.backbones import registry as backbones
from spectral_bench.common.errors import ConfigError, RunInterrupted, UserError, WorkFailed
from spectral_bench.common.loaded import PACKAGE, loaded_source
from spectral_bench.common.registry import is_path
from spectral_bench.methods import registry as methods
from spectral_bench.methods.errors import NumericalError


@contextmanager
def one_line(method: str, *networks: str | None) -> Iterator[None]:
    """Say of which of them an error is that its own code raises, or a method that ships meets in its numbers.

    Args:
        method: a name, or ``path/to/file.py:Class``.
        networks: backbones likewise, None for none; of features in files, their title.

    Raises:
        WorkFailed: the part, the exception, and the file and line of the user's own where it was raised.
    """
    try:
        yield
    except (UserError, RunInterrupted):
        raise
    except Exception as error:
        own = {f"method {method}": _module(method, methods.REGISTRY.module, method not in methods.METHODS)}
        for name in filter(None, networks):
            own[f"backbone {name}"] = _module(name, backbones.module_of, backbones.is_own(name))
        own = {part: module for part, module in own.items() if module}
        if not own and not isinstance(error, NumericalError):
            raise
        raise WorkFailed(_told(error, own, method)) from error


def _module(name: str, module: Callable[[str], str], own: bool) -> str:
    """The module or file of a user's own part; empty for one that ships, and for the name of nothing."""
    try:
        return module(name) if own else ""
    except ConfigError:
        return ""


def _told(error: Exception, own: dict[str, str], method: str) -> str:
    frames = list(traceback.walk_tb(error.__traceback__))
    parts = [part for frame, _ in frames for part, module in own.items() if _is_of(frame, module)]
    classes = [part for frame, _ in frames for part in own if _class(frame) == part.rpartition(":")[2]]
    # Without a frame of theirs what one of them gave was of no use: most likely the scores of the method.
    part = (classes or parts or [*own, f"method {method}"])[-1 if classes or parts else 0]
    theirs = [(frame, line) for frame, line in frames if _is_own(frame) or any(_is_of(frame, m) for m in own.values())]
    frame, line = (theirs or frames)[-1]
    message = ""
    with suppress(Exception):  # the error is a user's own, and so is what it says of itself
        message = next(iter(str(error).strip().splitlines()), "")
    what = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return f"{part}: {what} ({frame.f_code.co_filename}, line {line}); --debug shows the traceback"


def _class(frame: FrameType) -> str:
    """The class whose code a frame runs: a method and a backbone may lie in one file."""
    return frame.f_code.co_qualname.partition(".")[0]


def _is_of(frame: FrameType, module: str) -> bool:
    """Whether a frame is of a file, or of the package that a module is in."""
    if is_path(module):
        return Path(frame.f_code.co_filename).resolve() == Path(module).resolve()
    return _name(frame).partition(".")[0] == module.partition(".")[0]


def _is_own(frame: FrameType) -> bool:
    """Whether a frame is of a file of a user's own, such as one that lies beside that of a method."""
    return _name(frame).partition(".")[0] != PACKAGE and loaded_source(frame.f_code.co_filename) is not None


def _name(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
