"""Which files a split holds: image id -> path."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from spectral_bench.common.errors import DataError


@dataclass(frozen=True)
class Listing:
    """The image or label files of one split.

    Attributes:
        folder: where the files were looked for, for messages.
        files: id -> path, in the order of the split.
        problems: what is wrong with the list itself: a missing folder, two files with one stem, a listed file that is
            missing; one line each.
    """

    folder: Path
    files: dict[str, Path]
    problems: tuple[str, ...] = field(default=())

    def require_sound(self) -> Listing:
        """Itself if nothing is wrong with it.

        Raises:
            DataError: the first problem and the number of further ones.
        """
        require_none(self.problems)
        return self

    def digest(self) -> str:
        """16 hexadecimal digits over the ids and the sizes of the files in bytes."""
        sizes = (f"{image_id}\0{path.stat().st_size}\n" for image_id, path in self.files.items())
        return hashlib.sha256("".join(sizes).encode()).hexdigest()[:16]


def require_none(problems: Iterable[str]) -> None:
    """Raise ``DataError`` with the first of ``problems`` and the number of others, if there are any."""
    found = list(problems)
    if found:
        more = f" (and {len(found) - 1} more: see `bench data verify`)" if len(found) > 1 else ""
        raise DataError(found[0] + more)


def list_folder(folder: Path, suffixes: Iterable[str], *, ending: str = "", depth: int = 0) -> Listing:
    """All files with one of ``suffixes`` in a folder, sorted by id. Hidden files are passed over.

    Args:
        folder: where to look.
        suffixes: lower-case suffixes with their dot; upper-case ones on disk count too.
        ending: what stems end with, such as ``_leftImg8bit``; it is no part of the id, and other files are passed over.
        depth: levels of sub-folders between ``folder`` and the files. The id is the file's stem, whatever its folder.
    """
    if not folder.is_dir():
        return Listing(folder, {}, (f"{folder}: no such folder",))
    wanted = frozenset(suffixes)
    paths = (path for path in _files(folder, depth) if path.suffix.lower() in wanted)
    return collect(folder, ((path.stem.removesuffix(ending), path) for path in paths if path.stem.endswith(ending)))


def collect(folder: Path, entries: Iterable[tuple[str, Path]]) -> Listing:
    """A listing of (id, path) entries, sorted by id; a second path for one id is a problem that names both."""
    files: dict[str, Path] = {}
    problems = []
    for image_id, path in entries:
        if image_id in files:
            problems.append(f"{path}: has the same stem as {files[image_id]}")
        else:
            files[image_id] = path
    if not files:
        problems.append(f"{folder}: holds no file of this data set")
    return Listing(folder, dict(sorted(files.items())), tuple(problems))


def read_text(path: Path) -> str:
    """What a UTF-8 text file says.

    Raises:
        DataError: the file cannot be read, or is no UTF-8 text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is no UTF-8 text (byte {error.start}); expected one id or name a line") from error


def from_list(listed: Path, folder: Path, suffix: str) -> Listing:
    """The files ``folder/<id><suffix>`` of the ids that a text file names, one a line.

    A missing list, an id named twice and a named file that is missing are problems.
    """
    if not listed.is_file():
        return Listing(folder, {}, (f"{listed}: no such file",))
    ids = read_text(listed).split()
    listing = collect(folder, ((image_id, folder / f"{image_id}{suffix}") for image_id in dict.fromkeys(ids)))
    twice = [f"{listed}: names {image_id} twice" for image_id, n in Counter(ids).items() if n > 1]
    missing = {image_id: path for image_id, path in listing.files.items() if not path.is_file()}
    lines = [f"{path}: no such file, but {listed} names {image_id}" for image_id, path in missing.items()]
    files = {image_id: path for image_id, path in listing.files.items() if image_id not in missing}
    return Listing(folder, files, (*listing.problems, *twice, *lines))


def _files(folder: Path, depth: int) -> Iterator[Path]:
    with os.scandir(folder) as entries:  # many times faster than globbing where there are a million files
        found = sorted((entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith("."))
    for name, is_folder in found:
        if is_folder and depth:
            yield from _files(folder / name, depth - 1)
        elif not is_folder and not depth:
            yield folder / name
