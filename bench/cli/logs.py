"""``bench logs``: what a run said."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from spectral_bench.bench.cli.options import DEFAULT_OUT, Debug, Out, find_run
from spectral_bench.bench.cli.output import say
from spectral_bench.bench.cli.runs import RunName
from spectral_bench.bench.executors.slurm.causes import record_and_track
from spectral_bench.bench.executors.slurm.submissions import Ledger
from spectral_bench.bench.work.progress import LOG_FILE
from spectral_bench.common.errors import ConfigError
from spectral_bench.results.store import Store

POLL_S = 0.5


def logs(
    run: RunName,
    out: Out = DEFAULT_OUT,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
    debug: Debug = False,
) -> int:
    """Print the log of a run; where it has none, what Slurm said of its job."""
    store = Store.open(out)
    if (extraction := _extraction_log(store, run)) is not None:
        say(extraction)
        return 0
    run_id = find_run(store, run)
    path = store.run_folder(run_id) / LOG_FILE
    if follow:
        follow_file(path, lambda: _at_work(store, run_id))
        return 0
    files = [path] if path.exists() else _job_outputs(store, run_id)
    if not files:
        raise ConfigError(f"run {run_id}: no log yet; bench status says how it stands")
    for file in files:
        say(file.read_text(encoding="utf-8", errors="replace").rstrip("\n"))
    return 0


def follow_file(path: Path, at_work: Callable[[], bool]) -> None:
    """Copy a file to standard output as it grows, from its beginning, until ``at_work`` says that nothing will come."""
    position = 0
    while True:
        going = at_work()
        if path.exists():
            with path.open("rb") as file:
                file.seek(position)
                text = file.read()
            position += len(text)
            sys.stdout.write(text.decode("utf-8", errors="replace"))
            sys.stdout.flush()
        if not going:
            return
        time.sleep(POLL_S)


def _at_work(store: Store, run_id: str) -> bool:
    if store.is_claimed(run_id):
        return True
    tracked = record_and_track(store)
    run = tracked.newest().get(run_id) if tracked is not None else None
    return run is not None and run.live


def _extraction_log(store: Store, name: str) -> str | None:
    """What an extraction of features said, by the name that messages call it; None where it is no such name."""
    order = store.path / "slurm" / "orders" / f"{Path(name).name}.json"
    if not order.exists():
        return None
    files = [*_job_outputs(store, name), order.with_suffix(".log")]
    told = [file.read_text(encoding="utf-8", errors="replace").strip() for file in files if file.exists()]
    return "\n".join(filter(None, told)) or f"{name}: no log yet"


def _job_outputs(store: Store, run_id: str) -> list[Path]:
    """What Slurm and the last job of a run said; where that never began, what the jobs said that it waited for."""
    ledger = Ledger(store)
    places = [
        (submission, index)
        for submission in ledger.every()
        for index, unit in enumerate(submission.units)
        if run_id in {run.run_id for run in unit.entries}
    ]
    for submission, index in places[-1:]:
        before = [(name, other) for name, indices in submission.after.items() for other in indices]
        said = [path for name, other in before for path in ledger.outputs(name, other)]
        return ledger.outputs(submission.name, index) or said
    return []
