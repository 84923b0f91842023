"""A progress bar on a terminal; a line each tenth of a long way elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

LONG = 100


@contextmanager
def counted(title: str) -> Iterator[Callable[[int, int], None]]:
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
