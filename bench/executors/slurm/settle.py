"""Turn what Slurm says of jobs that are over into failures in the store, and close submissions that are over."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Sequence

from spectral_bench.bench.executors.slurm.board import Board, Place, is_settled, order_of, order_path
from spectral_bench.bench.executors.slurm.ledger import Submission
from spectral_bench.bench.executors.slurm.queue import Element
from spectral_bench.bench.executors.slurm.verdict import Job, blames_all, failure_of_job
from spectral_bench.bench.failure import extraction_failure, record_failure
from spectral_bench.bench.worker import ExitCode
from spectral_bench.results.record import Failure
from spectral_bench.results.store import Busy

LOST_STATE = "CANCELLED"


def settle(board: Board, *, give_up_lost: bool = False) -> Board:
    """Record why runs whose jobs are over have no record, and close the submissions that are over.

    Any number of processes may do so at a time: a failure is recorded once.

    Args:
        board: how things stand.
        give_up_lost: close submissions that Slurm knows nothing of. Only for who holds the ledger's lock, since a
            launcher may be about to submit them.

    Returns:
        The submissions that stay open.

    Raises:
        StoreError: the store cannot be written.
    """
    stay = []
    for submission in board.submissions:
        places = board.places_of(submission)
        for place in places:
            if place.stand == "ended":
                _record(board, place)
        gone = ("settled", "ended", "lost") if give_up_lost else ("settled", "ended")
        if all(place.stand in gone for place in places) and not _at_work(board, submission):
            with contextlib.suppress(OSError):  # another process has just closed it
                board.ledger.close(submission)
        else:
            stay.append(_with_id(board, submission))
    return board.of(stay)


def failure_of(board: Board, place: Place) -> Failure | None:
    """Why a run whose job is over has no record; None where its job ended for a reason that is not the run's."""
    ledger, submission, index = board.ledger, place.submission, place.index
    element = place.element or Element(submission.job_id or submission.name, LOST_STATE, by_user=True)
    trace = ledger.trace(submission.name, index)
    if element.state == "FAILED" and _was_asked_to_stop(element):
        return None
    told = extraction_failure(order_path(place.entry, ledger.store)) if place.entry.features_only and trace else None
    if told is not None:
        return told
    lacking = _lacking(board, submission, sure=element.given_up and trace is None)
    failure = failure_of_job(
        Job(
            element=element,
            index=index,
            store=ledger.store.path,
            began=trace is not None,
            cancelled=ledger.is_cancelled(submission.name, place.entry.run_id),
            lacking=[other.entry.run_id for other in lacking],
            output=ledger.outputs(submission.name, index),
            minutes=submission.settings.get("minutes"),
        )
    )
    if failure.kind == "dependency" and (cause := _of_features(board, lacking)) is not None:
        return cause
    at_work = trace.run_id if trace is not None else place.entry.run_id
    return failure if blames_all(failure) or place.entry.run_id == at_work else None


def _was_asked_to_stop(element: Element) -> bool:
    """Whether a job saved what it had and left, or was asked to before it could listen."""
    early = (signal.SIGUSR2, 128 + signal.SIGUSR2)
    return element.exit_code in (ExitCode.INTERRUPTED, *early) or element.signal == signal.SIGUSR2


def _record(board: Board, place: Place) -> None:
    store, entry = board.ledger.store, place.entry
    if entry.features_only:  # the runs that waited for it tell why it failed
        return
    order, failure = order_of(entry, store), failure_of(board, place)
    if order is None or failure is None:
        return
    # Busy: another launcher has taken the run over.
    with contextlib.suppress(Busy), store.claim(entry.run_id):
        if not is_settled(entry, store):
            record_failure(order, store, failure, started=place.submission.time)


def _lacking(board: Board, submission: Submission, *, sure: bool) -> list[Place]:
    """The runs, or extractions of features, that a submission was to wait for and that did not succeed.

    Where it is sure that one did not, all that are not known to have succeeded are named.
    """
    lacking = []
    for name, indices in submission.after.items():
        other = board.ledger.read(name)
        if other is None:
            continue
        for index in indices:
            element = board.known.elements.get((name, index))
            over = element is not None and not element.live
            succeeded = element is not None and element.state == "COMPLETED"
            if (over and not succeeded) or (sure and not over):
                entries = other.units[index].entries
                lacking += [Place(other, index, entry, element, "ended" if over else "unknown") for entry in entries]
    return lacking


def _of_features(board: Board, lacking: Sequence[Place]) -> Failure | None:
    """Why the features that a run waited for are not there: they have no record, so the run's tells it."""
    for place in lacking:
        if place.entry.features_only and place.stand == "ended":
            cause = failure_of(board, place)
            if cause is not None:
                return cause.model_copy(update={"message": f"features were not extracted: {cause.message}"})
    return None


def _at_work(board: Board, submission: Submission) -> bool:
    """Whether a job of the submission still runs, though all of its runs are settled."""
    live = (board.known.elements.get((submission.name, index)) for index in range(len(submission.units)))
    return any(element is not None and element.live for element in live)


def _with_id(board: Board, submission: Submission) -> Submission:
    """A submission whose launcher died before it learnt the job's id, with the id."""
    if submission.job_id is not None:
        return submission
    for index in range(len(submission.units)):
        element = board.known.elements.get((submission.name, index))
        if element is not None:
            submission = submission.model_copy(update={"job_id": element.job_id})
            board.ledger.write(submission)
            break
    return submission
