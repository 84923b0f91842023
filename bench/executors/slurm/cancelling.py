"""Take runs out of Slurm's hands."""

from __future__ import annotations

from collections.abc import Sequence

from spectral_bench.bench.executors.slurm.board import Board, Place, look
from spectral_bench.bench.executors.slurm.commands import Slurm, SlurmRefused, SlurmUnreachable
from spectral_bench.bench.executors.slurm.ledger import Ledger
from spectral_bench.bench.executors.slurm.settle import settle
from spectral_bench.results.store import Store

_NO_MATTER = (
    "Invalid job id",  # it has just ended
    "denied",  # it is another user's, and heeds the marks by itself
)


def cancel(store: Store, run_ids: Sequence[str] | None, slurm: Slurm | None = None) -> list[str]:
    """Cancel runs that wait or run on Slurm.

    A job of which every run that is left is cancelled is cancelled itself. Else its runs are marked, and the job stops
    the one at work, or passes over it when its turn comes.

    Args:
        store: the store.
        run_ids: which runs; None: all.
        slurm: whom to ask.

    Returns:
        The runs that were cancelled.

    Raises:
        UserError: Slurm does not answer, or the store cannot be written.
    """
    ledger, slurm = Ledger(store), slurm or Slurm()
    if not ledger.open():
        return []
    with ledger.locked():
        board = look(ledger, slurm)
        chosen = [place for place in board.places if place.live and _is_meant(place, run_ids)]
        if chosen and board.known.silent:
            raise SlurmUnreachable(f"nothing was cancelled: {board.known.silent}")
        for place in chosen:
            ledger.mark_cancelled(place.submission.name, place.entry.run_id)
        _cancel_jobs(slurm, board, chosen, everything=run_ids is None)
        settle(look(ledger, slurm))
    return sorted({place.entry.run_id for place in chosen if not place.entry.features_only})


def _is_meant(place: Place, run_ids: Sequence[str] | None) -> bool:
    return run_ids is None or place.entry.run_id in run_ids


def _cancel_jobs(slurm: Slurm, board: Board, chosen: Sequence[Place], *, everything: bool) -> None:
    jobs = set()
    seen = [place for place in chosen if place.element is not None and place.element.live]
    for place in seen:  # the id of a job that is not shown here may be another one's on this cluster
        left = (other for other in board.unit(place) if other.live)
        if everything or all(board.ledger.is_cancelled(other.submission.name, other.entry.run_id) for other in left):
            jobs.add(place.job)
    if jobs:
        try:
            slurm.ask("scancel", *sorted(jobs))
        except SlurmRefused as error:
            if not any(words in str(error) for words in _NO_MATTER):
                raise
