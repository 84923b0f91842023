"""Printing: tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer
from rich.cells import cell_len

from spectral_bench.bench.cli.streams import shows

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
    say(text if shows(text, sys.stdout) else json.dumps(value, indent=1))


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
