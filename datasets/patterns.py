"""Which files a folder or a pattern such as ``photos/*_rgb.png`` names, and which of them a list of ids takes."""

from __future__ import annotations

import itertools
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from spectral_bench.common.missing import composed, no_such, shown
from spectral_bench.common.names import few, nearest
from spectral_bench.datasets.listing import Listing, collect, list_folder, name_problem, read_text, unreachable

LABEL_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".gif")
"""Of files that keep the numbers of labels; a folder alone, without a pattern, is searched for ``.png``."""
_ANY_DEPTH = "**"
_KINDS = 4  # kinds of other files that a message names


def pattern_problem(text: str) -> str | None:
    """What is wrong with a folder or pattern as a description has it; None where nothing is."""
    parts = PurePath(text).parts
    for part in parts:
        if part != _ANY_DEPTH and part.count("*") > 1:
            return f'"{part}": expected at most one * in a name: it stands for the id'
    if _ANY_DEPTH in parts and parts.count(_ANY_DEPTH) > 1:
        return f"expected {_ANY_DEPTH} (folders of any depth) once"
    if any("*" in part for part in parts) and "*" not in parts[-1]:
        return f'"{parts[-1]}": expected a * in the name of the files, too, such as {text}/*'
    return None


def list_files(wanted: Path, suffixes: tuple[str, ...], alone: tuple[str, ...] | None = None) -> Listing:
    """The files of a folder, or those whose names fit a pattern.

    In a pattern, ``*`` in the name of a file stands for its id, ``*`` in the name of a folder for a further part of it,
    and ``**`` for any number of folders, none too: ``a/**/*_rgb.png`` finds ``a/x/y/01_rgb.png`` with the id
    ``x/y/01``. Suffixes count in any case. Where a pattern has no suffix, files with one of ``suffixes`` are taken and
    the suffix is no part of the id. Hidden files and folders are passed over.

    Args:
        wanted: a folder, or a pattern without ``pattern_problem``.
        suffixes: lower-case suffixes with their dot that files may have.
        alone: those of a folder alone; None: the same.
    """
    fixed = Path(*itertools.takewhile(lambda part: "*" not in part, wanted.parts))
    if fixed == wanted or wanted.is_dir():
        return list_folder(wanted, suffixes if alone is None else alone)
    if not fixed.is_dir():
        return Listing(fixed, {}, (no_such(fixed, "folder"),))
    names = wanted.parts[len(fixed.parts) :]
    found = _Found([], [], [])
    if names[-1] == _ANY_DEPTH:
        names = (*names, "*")
    _search(fixed, names, (), suffixes, found)
    listing = collect(fixed, found.entries)
    if not found.entries:
        listing = replace(listing, problems=(f"{wanted}: no file has such a name{_kinds(found.others)}",))
    problems = (*listing.problems, *found.problems)
    return replace(listing, problems=problems, wanted=names[-1], others=tuple(found.others))


def only_listed(listing: Listing, listed: Path) -> Listing:
    """Those files of a listing that a text file names: one a line, or several with blanks between.

    A name is an id, or a path from the folder of the listing or from that of the list. A missing list, one that names
    nothing, a file named twice and a name that no file has are problems, with their line.
    """
    if not listed.is_file():
        return replace(listing, files={}, problems=(*listing.problems, no_such(listed)))
    known = {composed(str(path.relative_to(listing.folder))): file_id for file_id, path in listing.files.items()}
    known |= {composed(file_id): file_id for file_id in listing.files}
    places = {os.path.normpath(path.absolute()): file_id for file_id, path in listing.files.items()}
    first: dict[str, int] = {}
    problems: list[str] = []
    for number, name in _words(listed, known):
        where = f"{listed}:{number}"
        file_id = known.get(composed(name)) or places.get(os.path.normpath(listed.parent.absolute() / name))
        if file_id is None:
            near = nearest(name, listing.files) if len(problems) < _KINDS else None
            hint = f'; did you mean "{shown(near)}"?' if near is not None else ""
            problems.append(f"{where}: no image {shown(name)} in {shown(listing.folder)}{hint}")
        elif file_id in first:
            problems.append(f"{where}: names {shown(name)} again, first on line {first[file_id]}")
        else:
            first[file_id] = number
    if not first and not problems:
        problems.append(f"{listed}: names no file")
    files = {file_id: path for file_id, path in listing.files.items() if file_id in first}
    return replace(listing, files=files, problems=(*listing.problems, *problems))


def _words(listed: Path, known: dict[str, str]) -> Iterator[tuple[int, str]]:
    """Each name of a list and its line number; a whole line that is a known name is one, blanks and all."""
    for number, line in enumerate(read_text(listed).splitlines(), start=1):
        whole = line.strip()
        for word in [whole] if composed(whole) in known else whole.split():
            yield number, word


@dataclass
class _Found:
    entries: list[tuple[str, Path]]
    others: list[str]
    problems: list[str]


def _search(
    folder: Path, names: tuple[str, ...], gone: tuple[str, ...], suffixes: tuple[str, ...], found: _Found
) -> None:
    """Add what lies below a folder on the way along ``names``; ``gone`` is what wildcards stood for so far."""
    name, rest = names[0], names[1:]
    if name == _ANY_DEPTH:
        _search(folder, rest, gone, suffixes, found)
    for entry, is_folder in _entries(folder, found.problems):
        path = folder / entry
        if is_folder is None and (rest and not path.suffix):
            found.problems.append(no_such(path, "folder"))
        elif not rest:
            if not is_folder:
                _take(path, name, gone, suffixes, found, lost=is_folder is None)
        elif is_folder and (middle := entry if name == _ANY_DEPTH else _middle(entry, name)) is not None:
            if problem := name_problem(path):
                found.problems.append(problem)
            elif not _leads_back(path):
                further = names if name == _ANY_DEPTH else rest
                _search(path, further, (*gone, middle) if middle else gone, suffixes, found)


def _take(
    path: Path, name: str, gone: tuple[str, ...], suffixes: tuple[str, ...], found: _Found, *, lost: bool
) -> None:
    suffix = PurePath(name.replace("*", "x")).suffix.lower()
    start, _, end = name.partition("*")
    end = end[: len(end) - len(suffix)] if suffix else end
    middle = _middle(path.stem, f"{start}*{end}")
    if not middle or path.suffix.lower() not in ((suffix,) if suffix else suffixes):
        found.others.append(path.name)
    elif problem := no_such(path) if lost else name_problem(path):
        found.problems.append(problem)
    else:
        found.entries.append(("/".join((*gone, middle)), path))


def _middle(name: str, pattern: str) -> str | None:
    """What ``*`` stands for in a name; empty where a pattern without it is the name, None where it does not fit."""
    start, star, end = pattern.partition("*")
    if not star:
        return "" if name == pattern else None
    fits = len(name) > len(start) + len(end) and name.startswith(start) and name.endswith(end)
    return name[len(start) : len(name) - len(end)] if fits else None


def _entries(folder: Path, problems: list[str]) -> list[tuple[str, bool | None]]:
    """Names in a folder in order, and whether each is a folder; None for a link that leads nowhere."""
    try:
        with os.scandir(folder) as entries:
            return sorted((entry.name, _is_folder(entry)) for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        problems.append(str(unreachable(error)))
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool | None:
    try:
        return stat.S_ISDIR(entry.stat().st_mode)
    except OSError:
        return None


def _leads_back(path: Path) -> bool:
    """Whether a folder is a link to one that it lies in, where a search would never end."""
    return path.is_symlink() and path.parent.resolve().is_relative_to(path.resolve())


def _kinds(names: list[str]) -> str:
    kinds = Counter(f"*{PurePath(name).suffix}" for name in names)
    listed = few([f"{count} {shown(kind)}" for kind, count in kinds.most_common()], _KINDS)
    return f"; there: {listed}" if listed else ""
