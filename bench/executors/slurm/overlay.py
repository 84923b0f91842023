"""The states of runs as Slurm's queue makes them: waiting, at work, unknown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from spectral_bench.bench.executors.slurm.board import Board, Place, look
from spectral_bench.bench.executors.slurm.commands import Slurm
from spectral_bench.bench.executors.slurm.ledger import Ledger
from spectral_bench.bench.executors.slurm.settle import settle
from spectral_bench.bench.plan.model import Condition
from spectral_bench.bench.plan.states import RunStatus
from spectral_bench.bench.progress import PROGRESS_FILE, read_progress
from spectral_bench.common.errors import StoreError
from spectral_bench.results.state import RunState
from spectral_bench.results.store import Store


def settle_and_look(store: Store, slurm: Slurm | None = None) -> Board | None:
    """Record the failures of jobs that are over, and say how the others stand; None where nothing was submitted.

    A store that cannot be written, because it is another user's or its disk is full, is looked at all the same.
    """
    board = look(Ledger(store), slurm or Slurm())
    if not board.submissions:
        return None
    try:
        return settle(board)
    except StoreError:
        return board


def with_queue(runs: Sequence[RunStatus], board: Board | None, store: Store) -> list[RunStatus]:
    """The runs, with the states of those that Slurm has in hand."""
    places = board.newest() if board is not None else {}
    return [_with_place(run, places.get(run.run_id), board, store) for run in runs]


def _with_place(run: RunStatus, place: Place | None, board: Board | None, store: Store) -> RunStatus:
    if place is None or board is None or run.condition.finished or place.stand == "settled":
        return run
    if run.condition.state == "running":
        return _noted(run, f"job {place.job}" if place.stand == "running" else "")
    if place.stand == "unknown":
        return _with(run, "unknown", board.why_unknown(place.submission))
    if place.stand == "lost":
        return _with(run, "unknown", f"Slurm does not know job {place.job}; bench retry submits the run again")
    if place.stand == "pending":
        return _with(run, "pending", _why(f"job {place.job}", place))
    if place.stand == "running":
        return _running(run, place, board, store)
    return run


def _running(run: RunStatus, place: Place, board: Board, store: Store) -> RunStatus:
    """A run of a job that runs: at work, or waiting for its turn in the job."""
    trace = board.ledger.trace(place.submission.name, place.index)
    where = f"job {place.job}" + (f" on {trace.host}" if trace and trace.host else "")
    if trace is None or trace.run_id != run.run_id:
        return _with(run, "pending", f"{where}, which carries out others first" if trace else f"{where}, starting")
    progress = read_progress(store.run_folder(run.run_id) / PROGRESS_FILE)
    return replace(_with(run, "running", where), progress=progress)


def _why(job: str, place: Place) -> str:
    reason = place.element.reason if place.element else ""
    return f"{job} waits: {reason}" if reason not in ("", "None") else f"{job} waits"


def _with(run: RunStatus, state: str, reason: str) -> RunStatus:
    return replace(run, condition=Condition(RunState(state), run.condition.missing, run.condition.fitted, reason))


def _noted(run: RunStatus, reason: str) -> RunStatus:
    return replace(run, condition=replace(run.condition, reason=reason or run.condition.reason))
