"""What to say of a path that is not there: what lies in its place."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from spectral_bench.common.names import few, nearest

_MOST_NAMES = 20_000  # of a folder, so that the message about one file of a million comes at once
_LISTED = 4


def no_such(path: Path, kind: str = "file") -> str:
    """A line for a path that is missing: ``PATH: no such file``, and the nearest name, or what else is there.

    Args:
        path: what was looked for. A link whose target is missing is told as such.
        kind: what it should have been: ``file`` or ``folder``.
    """
    name = f"{shown(path)}: no such {kind}"
    if path.is_symlink():
        return f"{name}: it is a link to {shown(path.readlink())}, which is not there"
    if path.exists():
        return f"{name}, but a {'folder' if path.is_dir() else 'file'}"
    wanted, folder = path, path.parent
    while not folder.exists() and folder != folder.parent:
        wanted, folder = folder, folder.parent
    if not folder.is_dir():
        return f"{name}: {shown(folder)} is no folder"
    there = names_in(folder)
    if wanted == path:
        return name + instead(path.name, there)
    return f"{name}: {shown(folder)} holds no {shown(wanted.name)}{instead(wanted.name, there)}"


def instead(name: str, there: Sequence[str]) -> str:
    """What lies where ``name`` was looked for, to go behind the message: the nearest of its names, or the first few.

    Args:
        name: what was looked for.
        there: the names that there are.
    """
    same = next((other for other in there if alike(other, name)), None)
    if same is not None and composed(same) == composed(name):
        return f'; there is "{shown(same)}", whose accents are composed in another way'
    near = same or nearest(name, there)
    if near is not None:
        return f'; did you mean "{shown(near)}"?'
    listed = few([shown(other) for other in sorted(there)], _LISTED)
    return f"; there: {listed}" if listed else ""


def names_in(folder: Path) -> list[str]:
    """The names in a folder without hidden ones, at most the first 20 000; none where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in islice(entries, _MOST_NAMES) if not entry.name.startswith(".")]
    except OSError:
        return []


def alike(one: str, other: str) -> bool:
    """Whether two names differ by no more than case and the composition of accents."""
    return composed(one).casefold() == composed(other).casefold()


def composed(name: str) -> str:
    """A name with its accents composed (NFC), the form in which two spellings of one name are equal."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def shown(name: str | Path) -> str:
    """A name in printable characters: what a terminal would not show, or no UTF-8 can hold, is escaped."""
    text = str(name)
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
