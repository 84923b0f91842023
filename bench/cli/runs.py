"""Runs of a store by what people call them, and what was last ordered of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from spectral_bench.bench.cli.launch import job_of
from spectral_bench.bench.cli.options import find_run
from spectral_bench.bench.executors.interface import Job
from spectral_bench.bench.work.order import order_files, read_order
from spectral_bench.results.store import Store

RunNames = Annotated[
    list[str] | None, typer.Argument(help="Runs, by id or by its beginning: see bench status.", metavar="[RUN]...")
]
RunName = Annotated[str, typer.Argument(help="The run, by id or by its beginning: see bench status.", metavar="RUN")]


def newest_job(store: Store, run_id: str) -> Job | None:
    """The job of the order that was last written for a run; None where none was."""
    last = last_order(store, run_id)
    return None if last is None else job_of(read_order(last), store)


def last_order(store: Store, run_id: str) -> Path | None:
    """The file of the order that was last written for a run; None where none was."""
    return max(order_files(store.run_folder(run_id)), key=lambda path: path.stat().st_mtime_ns, default=None)


def chosen_runs(store: Store, names: Sequence[str] | None) -> list[str] | None:
    """The ids of the runs that were named; None where none was."""
    return [find_run(store, name) for name in names] if names else None
