"""A paper as one text: its inputs in their places, comments gone, and the numbers that macros hold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from spectral_bench.common.errors import UserError
from spectral_bench.reports.paper.tex import argument

IGNORED = "bench: ignore"
"""In a comment: nothing on this line is looked up."""

_COMMENT = re.compile(r"(?<!\\)((?:\\\\)*)%(.*)")
_DEFINITION = re.compile(r"\\expandafter\s*\\def\s*\\csname bench:([^\\]*)\\endcsname\s*\{(.*)\}")
_NUMBER = re.compile(r"\\benchnumber\s*\{([^{}#]*)\}")
_MACRO = re.compile(
    r"\\(?:(?:re|provide)?newcommand|DeclareRobustCommand)\*?\s*(?:\{\s*\\(?P<braced>[A-Za-z]+)\s*\}|\\(?P<bare>[A-Za-z]+))"
    r"\s*\[(?P<count>[1-9])\](?P<default>\s*\[[^\]]*\])?\s*(?=\{)"
    r"|\\def\s*\\(?P<plain>[A-Za-z]+)\s*(?P<places>(?:#[1-9]\s*)+)(?=\{)"
)
_Body = tuple[int, str | None, str]
"""How many arguments a macro takes, what its first is where it may be left out, and what it stands for."""
_DEEPEST = 5  # macros within macros that are followed
_OF_NUMBERS = (r"\providecommand{\benchnumber}", r"\ifcsname bench:", r"\errmessage{No number of this name")
_INPUT = re.compile(
    r"\\(?:input|include|subfile)\s*\{([^{}]*)\}"
    r"|\\(?:sub)?import\*?\s*\{([^{}]*)\}\s*\{([^{}]*)\}"
    r"|\\input\s+([^\s{}\\]+)"
)
_LITERAL = re.compile(
    r"\\(?P<edge>begin|end)\{(?P<name>verbatim\*?|lstlisting|minted|comment|filecontents\*?)\}"
    r"|\\(?P<word>iffalse|if[A-Za-z]*|else|fi)(?![A-Za-z@])"
    r"|\\(?:verb\*?|lstinline)(?P<mark>[^A-Za-z*\s\[{]).*?(?P=mark)"
)
_FALSE = ("iffalse",)
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


@dataclass(frozen=True)
class Use:
    """A place that prints numbers of ``\\benchnumber``, itself or through a macro with arguments.

    Attributes:
        start, end: in the text.
        names: of the numbers.
    """

    start: int
    end: int
    names: tuple[str, ...]


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


def uses_in(text: str) -> list[Use]:
    """Where a text prints numbers of ``\\benchnumber``, in order, also through macros of its own with arguments."""
    bodies, defined = _macros(text)
    calls = "|".join(sorted(map(re.escape, bodies), key=len, reverse=True))
    either = re.compile(_NUMBER.pattern + (rf"|\\({calls})(?![A-Za-z@])" if calls else r"|(?!)()"))
    found = (_use(text, one, bodies, either, 0) for one in either.finditer(text))
    return [use for use in found if use.names and not any(start <= use.start < end for start, end in defined)]


def _use(text: str, found: re.Match[str], bodies: dict[str, _Body], either: re.Pattern[str], depth: int) -> Use:
    if found[1] is not None:
        return Use(found.start(), found.end(), (found[1],))
    count, default, body = bodies[found[2]]
    given, end = [], found.end()
    for place in range(count):
        optional = re.compile(r"\s*\[([^\]]*)\]").match(text, end) if not place and default is not None else None
        if optional is not None:
            part, end = optional[1], optional.end()
        else:
            part, end = (default, end) if not place and default is not None else argument(text, end)
        given.append(part)
    body = re.sub(r"#([1-9])", lambda one: given[int(one[1]) - 1] if int(one[1]) <= count else one[0], body)
    inside = (_use(body, one, bodies, either, depth + 1) for one in either.finditer(body) if depth < _DEEPEST)
    return Use(found.start(), end, tuple(name for use in inside for name in use.names))


def _macros(text: str) -> tuple[dict[str, _Body], list[tuple[int, int]]]:
    """The macros with arguments that numbers may be printed by, and where those stand that have names to fill in."""
    bodies: dict[str, _Body] = {}
    defined = []
    for found in _MACRO.finditer(text):
        body, end = argument(text, found.end())
        count = int(found["count"] or found["places"].count("#"))
        default = found["default"]
        name = found["braced"] or found["bare"] or found["plain"]
        bodies[name] = (count, None if default is None else default.strip()[1:-1], body)
        defined.append((found.start(), end))
    return bodies, defined


def _read(path: Path, root: Path, paper: Paper, within: tuple[Path, ...]) -> None:
    if path.resolve() in within:
        raise UserError(f"{path}: inputs itself")
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if "\0" in text:
        raise UserError(f"{path}: expected a LaTeX file, found one that is no text")
    passed_over: tuple[str, ...] = ()
    for number, raw in enumerate(text.splitlines(), start=1):
        place = Place(path, number)
        line, passed_over = _without_literal(raw, passed_over)
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


def _without_literal(line: str, within: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The line without what is printed as it stands or behind ``\\iffalse``, and what of that kind it ends in."""
    kept, position = [], 0
    for found in _LITERAL.finditer(line):
        if within[:1] in ((), _FALSE) and _COMMENT.search(line, position, found.start()) is not None:
            break  # it is itself in a comment, and begins or ends nothing
        before, within = within, _entered(found, within)
        if not before and (within or found["mark"]):
            kept.append(line[position : found.start()])
        if not within and (before or found["mark"]):
            position = found.end()
    return "".join([*kept, "" if within else line[position:]]), within


def _entered(found: re.Match[str], within: tuple[str, ...]) -> tuple[str, ...]:
    """What the text behind a match is in: an environment, or ``\\iffalse`` and conditions inside of it."""
    if not within:
        return (found["name"],) if found["edge"] == "begin" else _FALSE if found["word"] == _FALSE[0] else ()
    if within[:1] != _FALSE:
        return () if found["edge"] == "end" and found["name"] == within[0] else within
    word = found["word"] or ""
    if word.startswith("if"):
        return (*within, word)
    return within[:-1] if word == "fi" or (word == "else" and within == _FALSE) else within
