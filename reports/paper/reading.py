"""A paper as one text: its inputs in their places, comments gone, and the numbers that macros hold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from spectral_bench.common.errors import UserError

IGNORED = "bench: ignore"
"""In a comment: nothing on this line is looked up."""

_COMMENT = re.compile(r"(?<!\\)((?:\\\\)*)%(.*)")
_DEFINITION = re.compile(r"\\expandafter\s*\\def\s*\\csname bench:([^\\]*)\\endcsname\s*\{(.*)\}")
_OF_NUMBERS = (r"\providecommand{\benchnumber}", r"\ifcsname bench:", r"\errmessage{No number of this name")
_INPUT = re.compile(
    r"\\(?:input|include|subfile)\s*\{([^{}]*)\}"
    r"|\\(?:sub)?import\*?\s*\{([^{}]*)\}\s*\{([^{}]*)\}"
    r"|\\input\s+([^\s{}\\]+)"
)
_LITERAL = re.compile(r"\\(begin|end)\{(verbatim\*?|lstlisting|minted|comment|filecontents\*?)\}")
_NO_TEXT = {".bbl", ".sty", ".cls", ".cfg", ".def", ".clo", ".ltx", ".pgf", ".pdf_tex", ".ind", ".gls", ".aux"}
_OF_TEX = {"glyphtounicode", "pdf-trans", "binhex", "xy", "epsf", "ushyphex"}


@dataclass(frozen=True)
class Place:
    """A line of a file."""

    file: Path
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Definition:
    """What a macro of ``numbers.tex`` holds in the paper's copy."""

    text: str
    place: Place


@dataclass
class Paper:
    """A paper.

    Attributes:
        lines: of all files in the order in which TeX reads them, without comments.
        places: of each line.
        definitions: names of ``\\benchnumber`` -> what the paper's copy of ``numbers.tex`` says.
        unread: what is input and not there: the place of the command, and the name.
        ignored: lines that are not looked at because a comment says so.
    """

    lines: list[str] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    definitions: dict[str, Definition] = field(default_factory=dict)
    unread: list[tuple[Place, str]] = field(default_factory=list)
    ignored: int = 0

    @property
    def text(self) -> str:
        """All lines."""
        return "\n".join(self.lines)

    def place(self, text: str, offset: int) -> Place:
        """Where an offset of ``text``, which has the same lines, is."""
        return self.places[min(text.count("\n", 0, offset), len(self.places) - 1)]

    def add(self, text: str, place: Place) -> None:
        """Add a line."""
        self.lines.append(text)
        self.places.append(place)


def read_paper(path: Path) -> Paper:
    """Read a paper with all files that it inputs.

    Files are looked for beside the paper, as TeX does where it is started there, then beside the file that asks.

    Raises:
        UserError: the file cannot be read, or inputs itself.
    """
    paper = Paper()
    _read(path, path.parent, paper, ())
    return paper


def definitions_in(numbers: str) -> list[tuple[str, str]]:
    """Names and texts of all that a ``numbers.tex`` defines."""
    found = (_DEFINITION.search(_COMMENT.sub(r"\1", line)) for line in numbers.splitlines())
    return [(one[1], one[2]) for one in found if one is not None]


def _read(path: Path, root: Path, paper: Paper, within: tuple[Path, ...]) -> None:
    if path.resolve() in within:
        raise UserError(f"{path}: inputs itself")
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if "\0" in text:
        raise UserError(f"{path}: expected a LaTeX file, found one that is no text")
    literal = ""
    for number, raw in enumerate(text.splitlines(), start=1):
        place = Place(path, number)
        line, literal = _without_literal(raw, literal)
        said = _COMMENT.search(line)
        if said is not None:
            line = line[: said.start()] + said[1]
        if said is not None and IGNORED in said[2]:
            paper.ignored += 1
            continue
        if (found := _DEFINITION.search(line)) is not None:
            paper.definitions[found[1]] = Definition(found[2], place)
            continue
        if any(part in line for part in _OF_NUMBERS):
            continue
        line, stop = _until_the_end(line)
        _add(line, place, root, paper, (*within, path.resolve()))
        if stop:
            return


def _add(line: str, place: Place, root: Path, paper: Paper, within: tuple[Path, ...]) -> None:
    position = 0
    for found in _INPUT.finditer(line):
        name = found[1] or found[4] or f"{(found[2] or '').rstrip('/')}/{found[3] or ''}"
        paper.add(line[position : found.start()], place)
        position = found.end()
        if Path(name).suffix in _NO_TEXT or Path(name).name in _OF_TEX or "#" in name or "\\" in name:
            continue
        file = next(_files(name.strip(), root, place.file.parent), None)
        if file is None:
            paper.unread.append((place, name.strip()))
        else:
            _read(file, root, paper, within)
    paper.add(line[position:], place)


def _files(name: str, *folders: Path) -> Iterator[Path]:
    for folder in folders:
        for file in (folder / f"{name}.tex", folder / name):
            if file.is_file():
                yield file


def _until_the_end(line: str) -> tuple[str, bool]:
    """The line up to where TeX stops to read the file, and whether it does."""
    ends = [line.find(word) for word in (r"\end{document}", r"\endinput") if word in line]
    return (line[: min(ends)], True) if ends else (line, False)


def _without_literal(line: str, within: str) -> tuple[str, str]:
    """The line without what is printed as it stands, and the environment of that kind that it ends in."""
    kept, position = [], 0
    for found in _LITERAL.finditer(line):
        if not within and found[1] == "begin":
            kept.append(line[position : found.start()])
            within = found[2]
        elif within == found[2] and found[1] == "end":
            within, position = "", found.end()
    return "".join([*kept, "" if within else line[position:]]), within
