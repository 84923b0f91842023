"""What a command prints: lines, tables, JSON and progress, on streams that never fail for a sign that they lack."""

from __future__ import annotations

import codecs
import io
import json
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

import typer
from rich.cells import cell_len

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


def warn(line: str) -> None:
    """Print one line of warning to standard error."""
    typer.echo(f"warning: {line}", file=sys.stderr)


def show_json(value: Any) -> None:
    """Print a value as JSON; where standard output lacks a sign, all are written as escapes, which lose nothing."""
    text = json.dumps(value, indent=1, ensure_ascii=False)
    say(text if can_show(text, sys.stdout) else json.dumps(value, indent=1))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[str] = ()) -> None:
    """Print a table without lines.

    A store can hold thousands of runs: this takes a hundredth of the time of a table that wraps its cells.

    Args:
        columns: headings.
        rows: as many cells each.
        right: headings of the columns that are aligned to the right.
    """
    lines = aligned(columns, rows, right)
    if not sys.stdout.isatty():
        say("\n".join(lines))
        return
    say(typer.style(lines[0], bold=True))
    for line in lines[1:]:
        word = line.partition(" ")[0]
        colour = STATE_COLOURS.get(word)
        say(typer.style(word, fg=colour) + line[len(word) :] if colour else line)


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
    """Columns that a text takes on a terminal."""
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
            """Move the bar."""
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
