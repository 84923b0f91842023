"""Printing: tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.table import Table

# Wide enough for a run id and a title where the output goes into a file and has no width of its own.
_PLAIN_WIDTH = 200


def console() -> Console:
    """Where tables go: as wide as the terminal, or wide enough where there is none."""
    return Console(soft_wrap=False, width=None if sys.stdout.isatty() else _PLAIN_WIDTH, highlight=False)


def show(item: RenderableType) -> None:
    """Print a table or a text."""
    console().print(item)


def say(line: str) -> None:
    """Print one line as it is."""
    typer.echo(line)


def warn(line: str) -> None:
    """Print one line of warning to standard error."""
    typer.echo(f"warning: {line}", err=True)


def show_json(value: Any) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False))


def plain_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], right: Sequence[str] = ()) -> Table:
    """A table without lines; the columns named in ``right`` are aligned to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell if not isinstance(cell, (int, float)) else str(cell) for cell in row))
    return table
