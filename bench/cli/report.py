"""``bench report``: the tables of a store."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Annotated, Optional

import typer

from bench.cli.options import DEFAULT_OUT, Debug, Json, Out, Roots
from bench.cli.output import say, show_json


def report(
    out: Out = DEFAULT_OUT,
    grid: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--grid", "-g", help="One grid, by name or file; default: all of the store.", metavar="GRID"),
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help="markdown, latex (to include), standalone (a LaTeX document) or csv.")
    ] = "markdown",
    protocol: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--protocol", help="One protocol; default: all that the grids ask for."),
    ] = None,
    matching: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--matching", help="Score with majority, iou, hungarian or hungarian_iou instead of the own."),
    ] = None,
    to: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--to", help="Write to a file instead of the terminal.", metavar="FILE"),
    ] = None,
    data_root: Roots = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Print the tables: a row a configuration, mean and standard deviation over seeds, time and memory.

    Formats that hold one table, csv and standalone, have the main table only.
    """
    from bench.grid.load import grid_name
    from common.files import write_bytes
    from reports import build_table, build_tables, render
    from results.store import Store

    store = Store.open(out)
    name = grid_name(grid) if grid is not None else None
    if as_json:
        form = "csv"
    if form in ("csv", "standalone"):
        text = render(build_table(store, grid=name, protocol=protocol, matching=matching), form)
    else:
        tables = build_tables(store, grid=name, protocol=protocol, matching=matching)
        text = "\n".join(render(table, form) for table in tables)
    if as_json:
        show_json(csv_records(text))
    elif to is not None:
        write_bytes(to, text.encode())
    else:
        say(text.rstrip("\n"))
    return 0


def csv_records(text: str) -> list[dict[str, str | float]]:
    """The rows of a CSV text, by column; what reads as a number is one."""
    rows = csv.DictReader(io.StringIO(text))
    return [{key: _number(value) for key, value in row.items()} for row in rows]


def _number(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text
