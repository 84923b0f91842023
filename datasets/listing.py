"""Which files a split holds: image id -> path."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from spectral_bench.common.errors import DataError
from spectral_bench.common.missing import composed, no_such, shown
from spectral_bench.common.names import few, nearest

_KINDS = 4  # kinds of other files that a message names


@dataclass(frozen=True)
class Listing:
    """The image or label files of one split.

    Attributes:
        folder: where the files were looked for, for messages.
        files: id -> path, in the order of the split.
        problems: what is wrong with the list itself: a missing folder, two files with one stem, a listed file that is
            missing; one line each.
        wanted: how the names of files look that were taken, such as ``*_gtFine_labelIds.png``.
        others: names of files that lie there and were passed over, without hidden ones; for messages.
    """

    folder: Path
    files: dict[str, Path]
    problems: tuple[str, ...] = field(default=())
    wanted: str = ""
    others: tuple[str, ...] = field(default=(), repr=False)

    def require_no_problems(self) -> Listing:
        """Itself if nothing is wrong with it.

        Raises:
            DataError: the first problem and the number of further ones.
        """
        require_none(self.problems)
        return self

    def digest(self) -> str:
        """16 hexadecimal digits over the ids and the sizes of the files in bytes.

        Raises:
            DataError: a file is there no more.
        """
        try:
            sizes = [f"{image_id}\0{path.stat().st_size}\n" for image_id, path in self.files.items()]
        except OSError as error:
            raise unreachable(error) from error
        return hashlib.sha256("".join(sizes).encode()).hexdigest()[:16]

    def named_like(self, other: Listing) -> Listing:
        """Itself with the ids of ``other`` wherever the same name is composed in another way there (NFC and NFD)."""
        if all(file_id in other.files or file_id.isascii() for file_id in self.files):
            return self
        spelled = {composed(file_id): file_id for file_id in other.files if file_id not in self.files}
        named = {
            file_id if file_id in other.files else spelled.get(composed(file_id), file_id): path
            for file_id, path in self.files.items()
        }
        return replace(self, files=dict(sorted(named.items())))

    def instead_of(self, file_id: str, spare: Iterable[str] = ()) -> str:
        """What lies there in place of the file of an id, to go behind a message; empty where nothing comes near.

        Args:
            file_id: an id that has no file.
            spare: ids that nothing else needs.
        """
        start = composed(file_id).casefold()
        found = sorted(name for name in self.others if composed(name).casefold().startswith(start))
        if found:
            wanted = self.wanted.replace("*", file_id) or "it"
            return f"; looked for {shown(wanted)}, there: {few([shown(name) for name in found], _KINDS)}"
        near = nearest(file_id, spare)
        return f"; the nearest there is {shown(self.files[near].name)}" if near is not None else ""


def require_none(problems: Iterable[str]) -> None:
    """Raise ``DataError`` with the first of ``problems`` and the number of others, if there are any."""
    found = list(problems)
    if found:
        more = f" (and {len(found) - 1} more: see `bench data verify`)" if len(found) > 1 else ""
        raise DataError(found[0] + more)


def unreachable(error: OSError) -> DataError:
    """The error for a file that was found and cannot be reached now."""
    path = Path(os.fsdecode(error.filename or ""))
    if isinstance(error, FileNotFoundError):
        return DataError(no_such(path))
    return DataError(f"{shown(path)}: cannot be read ({error.strerror})")


def list_folder(folder: Path, suffixes: Iterable[str], *, ending: str = "", depth: int = 0) -> Listing:
    """All files with one of ``suffixes`` in a folder, sorted by id. Hidden files are passed over.

    Links that lead nowhere and names that cannot be kept in records are problems.

    Args:
        folder: where to look.
        suffixes: lower-case suffixes with their dot; upper-case ones on disk count too.
        ending: what stems end with, such as ``_leftImg8bit``; it is no part of the id, and other files are passed over.
        depth: levels of sub-folders between ``folder`` and the files. The id is the file's stem, whatever its folder.
    """
    if not folder.is_dir():
        return Listing(folder, {}, (no_such(folder, "folder"),))
    wanted = frozenset(suffixes)
    entries: list[tuple[str, Path]] = []
    others: list[str] = []
    problems: list[str] = []
    for path, lost in _files(folder, depth, problems):
        if path.suffix.lower() not in wanted or not path.stem.endswith(ending):
            others.append(path.name)
        elif problem := no_such(path) if lost else name_problem(path):
            problems.append(problem)
        else:
            entries.append((path.stem.removesuffix(ending), path))
    found = collect(folder, entries)
    looks = f"*{ending}{', '.join(suffixes)}"
    if not entries:
        found = replace(found, problems=(*found.problems[:-1], f"{found.problems[-1]}{_kinds(looks, others, ending)}"))
    return replace(found, problems=(*found.problems, *problems), wanted=looks, others=tuple(others))


def name_problem(path: Path) -> str | None:
    """A line for a file whose name records and messages cannot hold: bytes that are no UTF-8, control characters."""
    name = path.name
    if name.isprintable():
        return None
    if any("\ud800" <= character <= "\udfff" for character in name):
        return f"{shown(path)}: this name is no UTF-8; rename the file"
    if any(character < " " or "\x7f" <= character < "\xa0" for character in name):
        return f"{shown(path)}: this name holds a control character; rename the file"
    return None


def stems(folder: Path, suffixes: Iterable[str]) -> dict[str, Path]:
    """Stem -> path of the files with one of ``suffixes`` in a folder, in any case; empty where there is no folder.

    Of two files with one stem the one whose suffix is written in lower case counts.
    """
    wanted = frozenset(suffixes)
    found = _files(folder, 0, []) if folder.is_dir() else ()
    paths = [path for path, _ in found if path.suffix.lower() in wanted]
    return {path.stem: path for path in sorted(paths, key=lambda path: path.suffix in wanted)}


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


_FOREIGN_MARKS = (b"\xff\xfe", b"\xfe\xff")


def read_text(path: Path) -> str:
    """What a UTF-8 text file says, without the byte order marks that some editors put first.

    Raises:
        DataError: the file cannot be read, or is no UTF-8 text.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(no_such(path)) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if content.startswith(_FOREIGN_MARKS):
        raise DataError(f"{path}: is no UTF-8 text but UTF-16, by its byte order mark; save it as UTF-8")
    try:
        return content.decode("utf-8").replace("\ufeff", "")  # lists that were put together hold several marks
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is no UTF-8 text (byte {error.start}); expected one id or name a line") from error


def listed_ids(listed: Path, known: Iterable[str]) -> list[str]:
    """The ids that a text file names, one a line, or several with blanks between them.

    Args:
        listed: the list.
        known: ids that there are; a whole line that is one of them is one id, blanks and all.

    Raises:
        DataError: as for ``read_text``.
    """
    whole = {composed(file_id) for file_id in known if len(file_id.split()) > 1}
    lines = [line.strip() for line in read_text(listed).splitlines()]
    return [file_id for line in lines for file_id in ([line] if composed(line) in whole else line.split())]


def from_list(listed: Path, folder: Path, suffix: str) -> Listing:
    """The files ``folder/<id><suffix>`` of the ids that a text file names.

    The suffix may be in capitals, and accents of a name may be composed in another way than in the list. A missing
    list, an id named twice and a named file that is missing are problems.
    """
    if not listed.is_file():
        return Listing(folder, {}, (no_such(listed),))
    return from_ids(listed_ids(listed, stems(folder, (suffix,))), listed, folder, suffix)


def from_ids(ids: list[str], listed: Path, folder: Path, suffix: str) -> Listing:
    """As ``from_list``, of ids that were read from ``listed`` before."""
    present = stems(folder, (suffix,))
    found = matched(ids, present)
    files = {image_id: found.get(image_id, folder / f"{image_id}{suffix}") for image_id in sorted(set(ids))}
    twice = [f"{listed}: names {shown(image_id)} twice" for image_id, n in Counter(ids).items() if n > 1]
    missing = {image_id: path for image_id, path in files.items() if not _is_file(path)}
    empty = [] if ids else [f"{listed}: names no file"]
    problems = (*empty, *_no_folder(folder), *twice, *_missing_lines(listed, folder, missing))
    kept = {image_id: path for image_id, path in files.items() if image_id not in missing}
    return Listing(folder, kept, problems, f"*{suffix}")


def labels_of(ids: Iterable[str], listed: Path, folder: Path, suffix: str) -> Listing:
    """The label files ``folder/<id><suffix>`` of the ids that a text file names.

    A label that is missing is no problem of the listing: its image will be told to have none. None at all is one.

    Args:
        ids: what the text file names; none where it is missing.
        listed: the text file.
        folder: where the labels lie.
        suffix: of a label, in lower case.
    """
    if not listed.is_file() or not folder.is_dir():
        return Listing(folder, {}, (no_such(folder, "folder") if listed.is_file() else no_such(listed),))
    files = matched(sorted(set(ids)), stems(folder, (suffix,)))
    none = () if files else (f"{folder}: holds no label of {listed}; looked for *{suffix}",)
    return Listing(folder, files, none, f"*{suffix}")


def labels_from_list(listed: Path, folder: Path, suffix: str) -> Listing:
    """As ``labels_of``, of ids that have no blanks in them."""
    return labels_of(listed_ids(listed, ()) if listed.is_file() else [], listed, folder, suffix)


def matched(ids: Iterable[str], present: dict[str, Path]) -> dict[str, Path]:
    """Id -> path of those ids that are a stem of ``present``, as it stands or with its accents composed otherwise."""
    spelled = {composed(stem): path for stem, path in present.items() if not stem.isascii()}
    found = ((file_id, present.get(file_id) or spelled.get(composed(file_id))) for file_id in ids)
    return {file_id: path for file_id, path in found if path is not None}


def _missing_lines(listed: Path, folder: Path, missing: dict[str, Path]) -> Iterator[str]:
    """A line for each listed file that is missing; what is there under a like name is told with it."""
    near: dict[str, str] = {}
    for path, _ in _files(folder, 0, []) if missing and folder.is_dir() else ():
        near[composed(path.stem).casefold()] = near[composed(path.name).casefold()] = path.name
    for image_id, path in missing.items():
        there = near.get(composed(image_id).casefold())
        if path.is_symlink():
            yield f"{no_such(path)}; {listed} names {shown(image_id)}"
        else:
            hint = f"; there is {shown(there)}" if there else ""
            yield f"{shown(path)}: no such file, but {listed} names {shown(image_id)}{hint}"


def _no_folder(folder: Path) -> list[str]:
    return [] if folder.is_dir() else [no_such(folder, "folder")]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long for the system, say
        return False


def _kinds(wanted: str, names: list[str], ending: str) -> str:
    """What was looked for, and the kinds of files that were passed over, to go behind a message; empty without any."""
    kinds = Counter(f"*{name[name.rfind('_') :] if ending and '_' in name else Path(name).suffix}" for name in names)
    listed = [f"{count} {shown(kind)}" for kind, count in kinds.most_common()]
    return f"; looked for {wanted}, there: {few(listed, _KINDS)}" if listed else ""


def _files(folder: Path, depth: int, problems: list[str]) -> Iterator[tuple[Path, bool]]:
    """The files ``depth`` levels below a folder, by name, and whether each is a link that leads nowhere.

    A folder on the way that cannot be followed or read is noted as a problem.
    """
    try:
        with os.scandir(folder) as entries:  # many times faster than globbing where there are a million files
            found = sorted((entry.name, _is_folder(entry)) for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        problems.append(str(unreachable(error)))
        return
    for name, is_folder in found:
        if is_folder and depth:
            yield from _files(folder / name, depth - 1, problems)
        elif is_folder is None and depth and "." not in name:
            problems.append(no_such(folder / name, "folder"))
        elif not is_folder and not depth:
            yield folder / name, is_folder is None


def _is_folder(entry: os.DirEntry[str]) -> bool | None:
    """Whether an entry is a folder or a link to one; None for a link that leads nowhere."""
    if not entry.is_symlink():
        return entry.is_dir()
    try:
        return stat.S_ISDIR(entry.stat().st_mode)
    except OSError:
        return None
