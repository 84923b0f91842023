"""What a command prints: lines, tables, JSON and progress, on streams that never fail for a sign that they lack."""

from __future__ import annotations

import codecs
import io
import json
import re
import shlex
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

import typer
from rich.cells import cell_len, set_cell_size

if TYPE_CHECKING:  # slow to import, and only a terminal needs it
    from rich.console import Console

    from spectral_bench.reports.table import Table

# Of the states of runs, on a terminal.
STATE_COLOURS: Mapping[str, str] = {
    "done": "green",
    "failed": "red",
    "not_converged": "yellow",
    "stale": "yellow",
    "running": "cyan",
    "partial": "cyan",
    "pending": "cyan",
    "cancelled": "yellow",
    "unknown": "yellow",
    "interrupted": "cyan",
    "better": "green",
    "worse": "red",
    "ok": "green",
    "bad": "red",
}


def say(line: str) -> None:
    """Print one line, as it is where standard output has all its signs."""
    # Left to choose, click takes an ASCII stream for a mistake and writes UTF-8 past it.
    typer.echo(line, file=sys.stdout)


def command(*arguments: str) -> str:
    """A command line that goes on from this one, called as this one was: by the script, or by ``python -m``."""
    called = Path(sys.argv[0]).name
    # Of python -m, the path of the file does not tell: a checkout may lie in a folder of any name.
    module = getattr(sys.modules["__main__"].__spec__, "parent", None)
    package = module if module == _INSTALLED else "bench"
    words = [called] if called in ("bench", "spectral-bench") else ["python", "-m", package]
    return shlex.join([*words, *arguments])


_INSTALLED = "spectral_bench.bench"  # in a checkout, it is bench


def warn(line: str) -> None:
    """Print one line of warning to standard error."""
    typer.echo(f"warning: {line}", file=sys.stderr)


def show_json(value: Any) -> None:
    """Print a value as JSON; where standard output lacks a sign, all are written as escapes, which lose nothing."""
    text = json.dumps(value, indent=1, ensure_ascii=False)
    say(text if can_show(text, sys.stdout) else json.dumps(value, indent=1))


def show_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    right: Sequence[str] = (),
    *,
    footnotes: str = "",
    constant: Sequence[str] = (),
) -> None:
    """Print a table: on a terminal one that fits its width, elsewhere a line a row, each column as wide as it must be.

    Args:
        columns: headings; all empty: none are printed.
        rows: as many cells each.
        right: headings of the columns that are aligned to the right.
        footnotes: heading of a column whose texts a terminal gets below the table, each once, where one is long.
        constant: headings of columns that a terminal does not get where all rows say the same.
    """
    cells = [[str(cell) for cell in row] for row in rows]
    if not on_terminal():
        lines = aligned(columns, cells, right)
        say("\n".join(lines if any(columns) else lines[1:]))
        return
    notes = _take_notes(cells, list(columns).index(footnotes)) if footnotes and footnotes in columns else {}
    kept = [index for index, column in enumerate(columns) if _tells(column, {row[index] for row in cells}, constant)]
    show_fitting([columns[index] for index in kept], [[row[index] for index in kept] for row in cells], right)
    for text, mark in notes.items():
        tell(f"{mark} {text}")


def _tells(column: str, texts: set[str], constant: Sequence[str]) -> bool:
    """Whether a terminal gets a column: not where it is empty, nor where it says one thing that is told elsewhere."""
    return not column or not texts or (texts != {""} and not (column in constant and len(texts) == 1))


def _take_notes(rows: Sequence[list[str]], index: int) -> dict[str, str]:
    """Put marks in the place of the texts of a column if one is long. Returns text -> mark."""
    texts = dict.fromkeys(row[index] for row in rows if row[index])
    if all(_width(text) <= NARROW for text in texts):
        return {}
    marks = {text: f"[{number}]" for number, text in enumerate(texts, start=1)}
    for row in rows:
        row[index] = marks.get(row[index], "")
    return marks


def on_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout.isatty()


def console() -> Console:
    """Standard output as rich prints to it: texts as they are, neither as markup nor with colours of its own choice."""
    from rich.console import Console

    return Console(file=sys.stdout, markup=False, highlight=False, emoji=False, soft_wrap=False)


def tell(text: str) -> None:
    """Print lines for people; a terminal gets them broken between words, further lines under the first one's text."""
    if not on_terminal():
        say(text)
        return
    width = console().width
    for line in text.split("\n"):
        columns = [found.end() for found in re.finditer(r"^ +| {2,}", line)]  # of an indented line, or an aligned one
        hang = columns[-1] if columns and columns[-1] < width // 2 else 0
        say(textwrap.fill(line, width, subsequent_indent=" " * hang, break_on_hyphens=False) if line.strip() else "")


NARROW = 18  # a column up to this width is never broken into lines


def show_fitting(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> None:
    """Print a table on the terminal: wide columns are broken into lines between words, as far as it must be.

    The first word of a row is coloured where it is a state.
    """
    from rich.table import Table
    from rich.text import Text

    screen = console()
    texts = [columns, *rows]
    full = [max(_width(row[index]) for row in texts) for index in range(len(columns))]
    least = [max(_width(word) for row in texts for word in row[index].split() or [""]) for index in range(len(columns))]
    least = [whole if whole <= NARROW else word for whole, word in zip(full, least, strict=True)]
    widths = fitted(full, least, screen.width - _BETWEEN * (len(columns) - 1))
    if len(rows) > _MANY:
        _show_cut(columns, rows, widths, right)
        return
    table = Table(box=None, pad_edge=False, padding=(0, _BETWEEN, 0, 0), show_header=any(columns), header_style="bold")
    for column, width in zip(columns, widths, strict=True):
        side: Literal["left", "right"] = "right" if column in right else "left"
        table.add_column(Text(column), justify=side, overflow="fold", width=width)
    for first, *others in rows:
        table.add_row(Text(first, style=STATE_COLOURS.get(first, "")), *map(Text, others))
    screen.print(table)


def _show_cut(
    columns: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int], right: Sequence[str]
) -> None:
    # By hand, a line a row, with cells cut off where they are too wide: of thousands of rows rich would take seconds.
    for row in [columns, *rows]:
        cells = [set_cell_size(text, min(width, _width(text))) for text, width in zip(row, widths, strict=True)]
        line = "  ".join(_cells(cells, widths, columns, right)).rstrip()
        word = cells[0]
        if colour := STATE_COLOURS.get(word):
            line = typer.style(word, fg=colour) + line.removeprefix(word)
        say(typer.style(line, bold=True) if row is columns else line)


_MANY = 1000

_BETWEEN = 2  # blanks between columns on a terminal

_LEAST = 8  # what a column is not made narrower than to make room


def fitted(full: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Widths of columns that fit into a room together.

    Args:
        full: of each column with no cell broken into lines.
        least: of each with all cells broken between words.
        room: for all. Where it is less than ``least``, the widest are broken within words.
    """
    widths = list(least)
    while sum(widths) > room and max(widths) > _LEAST:
        # The first column names its row, often to be copied.
        index = max(range(len(widths)), key=lambda index: (widths[index] > _LEAST and index > 0, widths[index]))
        widths[index] -= 1
    left = max(0, room - sum(widths))
    # Those that need least first: what they leave goes to the others.
    waiting = sorted(range(len(full)), key=lambda index: full[index] - widths[index])
    for number, index in enumerate(waiting):
        more = min(full[index] - widths[index], left // (len(waiting) - number))
        widths[index] += max(0, more)
        left -= max(0, more)
    return widths


def show_tables(tables: Sequence[Table]) -> None:
    """Print the tables of a report on the terminal, as wide as that is."""
    from spectral_bench.reports.renderers.terminal import for_terminal

    screen = console()
    for number, table in enumerate(tables):
        screen.print(*([""] if number else []), *for_terminal(table, screen.width), sep="\n")


def aligned(columns: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[str] = ()) -> list[str]:
    """The lines of a table, headings first, each column as wide as its widest cell on a terminal."""
    texts = [list(columns), *([str(cell) for cell in row] for row in rows)]
    widths = [max(_width(row[index]) for row in texts) for index in range(len(columns))]
    return ["  ".join(_cells(row, widths, columns, right)).rstrip() for row in texts]


def _cells(row: Sequence[str], widths: Sequence[int], columns: Sequence[str], right: Sequence[str]) -> Iterable[str]:
    for text, width, column in zip(row, widths, columns, strict=True):
        padding = " " * (width - _width(text))
        yield padding + text if column in right else text + padding


def _width(text: str) -> int:
    # Signs of East Asian scripts take two columns, combining ones none.
    return len(text) if text.isascii() else cell_len(text)


LONG = 100  # from here on, progress is printed where there is no terminal


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A function that is told (done, of how many) and moves a bar on the terminal, or prints to standard error."""
    if not sys.stderr.isatty():
        yield _Lines(title)
        return
    # Slow to import, and most commands show no bar.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=None)

        def update(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield update


class _Lines:
    """A line whenever another tenth is done, where there are a hundred things or more to do."""

    def __init__(self, title: str) -> None:
        self._title, self._tenths = title, 0

    def __call__(self, done: int, total: int) -> None:
        tenths = 10 * done // total if total else 0
        if total >= LONG and tenths > self._tenths:
            typer.echo(f"{self._title}: {done}/{total}", file=sys.stderr)
        self._tenths = tenths


_NAME = "bench-plain"

# What stands for the signs of tables and messages where they cannot be shown.
_PLAIN = {
    "†": "+",
    "‡": "++",
    "‖": "||",
    "±": "+-",
    "Δ": "d",
    "µ": "u",
    "°": " deg",
    "×": "x",
    "·": ".",
    "–": "-",
    "—": "-",
    "−": "-",
    "…": "...",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "≈": "~",
    "→": "->",
    "←": "<-",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "∞": "inf",
}


def set_up_streams() -> None:
    """Let signs that the encoding of standard output or error lacks be replaced by plain ones from here on.

    Letters lose their accents, bytes of file names that are no text become ``\\xNN``, and what has no likeness in ASCII
    becomes ``?``. Signs that the encoding has stay as they are.
    """
    codecs.register_error(_NAME, _replaced)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_NAME)


def can_show(text: str, stream: TextIO) -> bool:
    """Whether a stream has all signs of a text."""
    try:
        text.encode(stream.encoding or "ascii", "strict")
    except UnicodeEncodeError:
        return False
    return True


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_plain(sign) for sign in error.object[error.start : error.end]), error.end


def _plain(sign: str) -> str:
    if "\udc80" <= sign <= "\udcff":  # how Python holds a byte of a file name that is no text
        return f"\\x{ord(sign) - 0xDC00:02x}"
    likeness = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode()
    return _PLAIN.get(sign) or likeness or ("" if unicodedata.combining(sign) else "?")
