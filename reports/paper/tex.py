"""LaTeX as a reader sees it: plain text with its lines kept, and tables as rows of cells.

No more of the language is understood than papers use around their numbers: bold type, colours, maths, siunitx. A
library that parses all of LaTeX would not tell of a cell which line it stands on, and knows no siunitx.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

_GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau phi chi psi omega"
_SYMBOLS = {name: f" {name}" for name in _GREEK.split(" ")} | {
    "varepsilon": " epsilon",
    "Delta": "Δ",
    "pm": "±",
    "times": "×",
    "cdot": "×",
    "percent": "%",
    "sim": "~",
    "approx": "~",
    "quad": " ",
    "qquad": " ",
    "enspace": " ",
    "textminus": "-",
    "to": "→",
    "giga": "G",
    "mega": "M",
    "kilo": "k",
    "byte": "B",
    "second": "s",
    "minute": "min",
    "hour": "h",
    "joule": "J",
}
_SIGNS = {"%": "%", "_": "_", "&": "&", "#": "#", "{": "", "}": "", "$": "", ",": " ", ";": " ", ":": " ", " ": " "}
_DROPPED = {
    **dict.fromkeys(("label", "ref", "eqref", "autoref", "cref", "Cref", "pageref", "nocite", "bibliography"), 1),
    **dict.fromkeys(("cellcolor", "rowcolor", "columncolor", "color", "textcolor", "colorbox", "vspace", "hspace"), 1),
    **dict.fromkeys(("includegraphics", "begin", "end", "href", "url", "rotatebox", "scalebox", "textsuperscript"), 1),
    **dict.fromkeys(("tnote", "usepackage", "documentclass", "bibliographystyle", "pagestyle", "cmidrule", "cline"), 1),
    **dict.fromkeys(("cite", "citep", "citet", "citealp", "citeauthor", "citeyear", "sisetup", "graphicspath"), 1),
    **dict.fromkeys(("setlength", "addtolength", "resizebox", "fontsize", "setcounter", "multirow", "multicolumn"), 2),
}
_COMMAND = re.compile(r"\\([A-Za-z]+)\*?|\\(.|\n)", re.DOTALL)
_ARGUMENTS = {"tabular": 1, "tabular*": 2, "tabularx": 2, "tabulary": 2, "longtable": 1, "NiceTabular": 1, "array": 1}
_BEGIN = re.compile(r"\\begin\{(tabular\*?|tabularx|tabulary|longtable|NiceTabular|array)\}")
_SPLIT = re.compile(r"\\begin\{|\\end\{|\\tabularnewline(?![A-Za-z])|\\\\\*?(?:\s*\[[^\]]*\])?|\\.|[{}&]", re.DOTALL)
_RULE = re.compile(
    r"\s*\\(?:(top|mid|bottom)rule(?:\[[^\]]*\])?|(h)line|cmidrule(?:\([^)]*\))?\{[^}]*\}|cline\{[^}]*\}"
    r"|addlinespace(?:\[[^\]]*\])?|specialrule\{[^}]*\}\{[^}]*\}\{[^}]*\}|rowcolor(?:\[[^\]]*\])?\{[^}]*\}"
    r"|end(?:first)?(?:head|foot)|endlastfoot|noalign\{[^}]*\}|hdashline|sisetup\{[^}]*\})(?![A-Za-z])"
)
_SPANS = re.compile(r"\s*\\multi(column|row)\s*(?:\[[^\]]*\])?\s*")


@dataclass(frozen=True)
class TexCell:
    """A cell of a table of a paper.

    Attributes:
        text: as a reader sees it.
        offset: where it begins.
        column: the first one that it stands in, from 0.
        span: how many columns.
        rows: how many rows.
    """

    text: str
    offset: int
    column: int
    span: int = 1
    rows: int = 1


@dataclass(frozen=True)
class TexTable:
    """A table of a paper.

    Attributes:
        heads: the rows above the first rule between rows; the first row where there is none.
        body: all others.
        start, end: where it is.
    """

    heads: tuple[tuple[TexCell, ...], ...]
    body: tuple[tuple[TexCell, ...], ...]
    start: int
    end: int


def plain(tex: str) -> str:
    """The text of some LaTeX, with as many line breaks as it has; marks, references and colours are left out."""
    out: list[str] = []
    position = 0
    while position < len(tex):
        char = tex[position]
        if char == "\\":
            position = _command(tex, position, out)
        elif char in "^_":
            position = _raised(tex, position, out)
        else:
            gone = tex.startswith("{,}", position)
            out.append("" if gone or char in "{}$" else " " if char == "~" else char)
            position += 3 if gone else 1
    return "".join(out).replace("---", " — ").replace("--", "–").replace("−", "-")


def _command(tex: str, position: int, out: list[str]) -> int:
    found = _COMMAND.match(tex, position)
    if found is None:
        return position + 1
    if found[1] is None:
        out.append("\n" if found[2] == "\n" else " " if found[2] == "\\" else _SIGNS.get(found[2], ""))
        return found.end()
    name, position = found[1], found.end()
    out.append(_SYMBOLS.get(name, ""))
    count = _DROPPED.get(name, 2 if name in ("SI", "qty") else 1 if name == "num" else 0)
    if name == "begin":
        count += _ARGUMENTS.get(argument(tex, position)[0], 0)
    for number in range(count):
        content, end = argument(tex, position)
        if name in ("SI", "qty", "num"):
            out.append((" " if number else "") + plain(content).replace("+-", "±"))
        else:
            out.append("\n" * tex.count("\n", position, end))
        position = end
    return position


def _raised(tex: str, position: int, out: list[str]) -> int:
    """Leave out what is raised or lowered, unless it is a power of ten."""
    content, end = argument(tex, position + 1)
    if end == position + 1 or not content:
        return min(position + 2, len(tex))
    power = tex[position] == "^" and "".join(out[-2:]).endswith("10") and re.fullmatch(r"\s*[-+]?\d+\s*", content)
    out.append(f"^{content.strip()}" if power else "\n" * tex.count("\n", position, end))
    return end


def argument(tex: str, position: int) -> tuple[str, int]:
    """The argument in braces that follows, after any in brackets, and where it ends; nothing where none follows."""
    found = re.compile(r"\s*(?:\[[^\]]*\]\s*)*").match(tex, position)
    start = position if found is None else found.end()
    if start >= len(tex) or tex[start] != "{":
        return "", position
    depth = 0
    for place in range(start, len(tex)):
        escaped = tex[place - 1] == "\\" and tex[place - 2 : place] != "\\\\"
        depth += 0 if escaped else (tex[place] == "{") - (tex[place] == "}")
        if depth == 0:
            return tex[start + 1 : place], place + 1
    return tex[start + 1 :], len(tex)


def tables_in(tex: str) -> Iterator[TexTable]:
    """The tables of a text in order; a table within a cell is a part of that cell."""
    position = 0
    while (found := _BEGIN.search(tex, position)) is not None:
        start = found.end()
        for _ in range(_ARGUMENTS[found[1]]):
            _, start = argument(tex, start)
        end = _end_of(tex, found[1], start)
        position = end
        rows = list(_rows(tex, start, end))
        first = next((index for index, (ruled, _) in enumerate(rows) if ruled and index), 1)
        cells = tuple(row for _, row in rows)
        yield TexTable(cells[:first], cells[first:], found.start(), end)


def _end_of(tex: str, name: str, position: int) -> int:
    depth = 1
    for found in re.compile(rf"\\(begin|end)\{{{re.escape(name)}\}}").finditer(tex, position):
        depth += 1 if found[1] == "begin" else -1
        if not depth:
            return found.start()
    return len(tex)


def _rows(tex: str, start: int, end: int) -> Iterator[tuple[bool, tuple[TexCell, ...]]]:
    """The rows, each with whether a rule across the table stands above it."""
    ruled = False
    for parts in _split(tex, start, end):
        offset = parts[0][0]
        while (rule := _RULE.match(tex, offset, parts[0][1])) is not None:
            offset, ruled = rule.end(), ruled or rule[1] == "mid" or rule[2] is not None
        parts[0] = (offset, parts[0][1])
        if any(tex[one:other].strip() for one, other in parts):
            yield ruled, tuple(_cells(tex, parts))
            ruled = False


def _split(tex: str, start: int, end: int) -> Iterator[list[tuple[int, int]]]:
    """The parts of each row, by where they begin and end; what stands in braces or environments is not divided."""
    depth, parts, begun = 0, [], start
    for found in _SPLIT.finditer(tex, start, end):
        sign = found[0]
        # The brace of "\\begin{" is closed by itself, and the one of "\\end{" closes the environment with it.
        depth += {"{": 1, "}": -1, "\\begin{": 2}.get(sign, 0)
        if depth == 0 and (sign == "&" or sign.startswith(("\\\\", "\\tabularnewline"))):
            parts.append((begun, found.start()))
            begun = found.end()
            if sign != "&":
                yield parts
                parts = []
    yield [*parts, (begun, end)]


def _cells(tex: str, parts: list[tuple[int, int]]) -> Iterator[TexCell]:
    column = 0
    for start, end in parts:
        offset = start + len(tex[start:end]) - len(tex[start:end].lstrip())
        cell = TexCell("", min(offset, end), column)
        content = tex[start:end]
        while (found := _SPANS.match(content)) is not None:
            first, after = argument(content, found.end())
            _, after = argument(content, after)
            inner, _ = argument(content, after)
            count = int(first) if first.strip().isdecimal() else 1
            cell = replace(cell, span=count) if found[1] == "column" else replace(cell, rows=count)
            content = inner
        yield replace(cell, text=" ".join(plain(content).split()))
        column += cell.span
