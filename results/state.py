"""How far a run is: one word, from one function, wherever it is asked for.

Four things are told apart, and each has words of its own. A *record's status* says how one fit or evaluation ended
(``results.record.Status``). A *run's state* says how far a fit and what is wanted of it are; it is derived here, and
stored nowhere. An *exit* says how a process or a job left its launcher (``bench.executors``). A *text for people* is
what a table or a command prints for any of them.

All here is plain data and pure: readers hand over what they have looked up, and nothing else is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:  # commands name states before they load anything
    from spectral_bench.results.record import Failure, Status


class RunState(StrEnum):
    """How far a run is. Each is derived by ``run_state``; the values are the words of ``--json``."""

    NEW = "new"
    """Nothing of it is stored, and nobody is at work on it."""
    ORDERED = "ordered"
    """As ``NEW``, but it was handed to a launcher or a job, which ended before its turn came. Shown as ``new``."""
    INTERRUPTED = "interrupted"
    """Its fit left a checkpoint, and goes on from there."""
    PARTIAL = "partial"
    """It is fitted; an evaluation that is wanted has no record."""
    FAILED = "failed"
    """Its fit, or an evaluation that is wanted, has failed. It is tried again."""
    CANCELLED = "cancelled"
    """As ``FAILED``, because a user took it out of a queue."""
    RUNNING = "running"
    """A living process owns it, or a queue says that its job is at work on it, whatever is stored already."""
    PENDING = "pending"
    """It waits in a queue, or for its turn in a job."""
    UNKNOWN = "unknown"
    """It was handed to a queue that does not answer, or that has lost it."""
    DONE = "done"
    """All that is wanted is stored."""
    STALE = "stale"
    """As ``DONE``, with code or data that has changed since."""
    NOT_CONVERGED = "not_converged"
    """All that is wanted is stored, and is no number: a fit or an evaluation did not converge."""

    @property
    def finished(self) -> bool:
        """Whether all that is wanted is stored."""
        return self in (RunState.DONE, RunState.STALE, RunState.NOT_CONVERGED)

    @property
    def word(self) -> str:
        """What commands call it, in tables and in JSON."""
        return str(RunState.NEW if self is RunState.ORDERED else self)


class JobState(StrEnum):
    """What a queue says of a run that was handed to it and has left no record since."""

    PENDING = "pending"
    """Its job waits, or is at work on other runs first."""
    RUNNING = "running"
    """Its job is at work on it."""
    ENDED = "ended"
    """Its job is over: what the store says of the run holds."""
    LOST = "lost"
    """The queue answers, and knows no such job."""
    UNKNOWN = "unknown"
    """The queue does not answer, or may know the job and not show it here."""

    @property
    def live(self) -> bool:
        """Whether the job waits or runs, as far as is known."""
        return self in (JobState.PENDING, JobState.RUNNING, JobState.UNKNOWN)


class Ended(Protocol):
    """The record of a fit or an evaluation, or its summary: how it ended."""

    @property
    def status(self) -> Status:
        """The record's own word."""
        ...

    @property
    def failure(self) -> Failure | None:
        """Why it did not end well."""
        ...


Record = TypeVar("Record", bound=Ended, covariant=True)


@dataclass(frozen=True)
class StoredRun(Generic[Record]):
    """What is stored of a run, of all that is wanted of it.

    Attributes:
        fit: the record of its fit; None while there is none.
        evaluations: view id -> record of its evaluation, None while there is none. All views that are wanted are named,
            in the order in which they are wanted; others are left out.
    """

    fit: Record | None
    evaluations: Mapping[str, Record | None] = field(default_factory=dict)

    @property
    def fitted(self) -> bool:
        """Whether there is a fit to evaluate or to start from."""
        return self.fit is not None and self.fit.status != "failed"

    @property
    def missing(self) -> tuple[str, ...]:
        """The ids of the views that are still to be evaluated: all of them unless it is fitted."""
        found = self.evaluations.items()
        return tuple(view for view, one in found if not self.fitted or one is None or one.status == "failed")

    @property
    def failed(self) -> Record | None:
        """The record that says why the run failed: its fit's, else that of the first evaluation that did."""
        return self._first("failed")

    @property
    def not_converged(self) -> Record | None:
        """The first record of something that did not converge, the fit's before others."""
        return self._first("not_converged")

    def _first(self, status: Status) -> Record | None:
        records = (self.fit, *(self.evaluations.values() if self.fitted else ()))
        return next((one for one in records if one is not None and one.status == status), None)


def run_state(
    stored: StoredRun[Ended],
    *,
    claimed: bool = False,
    checkpoint: bool = False,
    ordered: bool = False,
    changed: bool = False,
    job: JobState | None = None,
) -> RunState:
    """How far a run is, from all that is known of it; what is left out is taken as not being so.

    The first that holds: a process owns it; its fit or an evaluation failed; it has no fit (then a checkpoint, then an
    order count); an evaluation is missing; something did not converge; code or data has changed. A queue has the last
    word on what is neither owned nor finished.

    Args:
        stored: its records.
        claimed: whether a living process owns it.
        checkpoint: whether its fit left a checkpoint.
        ordered: whether an order of it was written.
        changed: whether code or data has changed since its records were made; counts for finished runs only.
        job: what a queue says of it; None where it is in none.
    """
    if claimed:
        return RunState.RUNNING
    if stored.failed is not None:
        state = _failed(stored.failed)
    elif not stored.fitted:
        state = RunState.INTERRUPTED if checkpoint else RunState.ORDERED if ordered else RunState.NEW
    elif stored.missing:
        state = RunState.PARTIAL
    elif stored.not_converged is not None:
        state = RunState.NOT_CONVERGED
    else:
        state = RunState.STALE if changed else RunState.DONE
    return in_queue(state, job)


def in_queue(state: RunState, job: JobState | None) -> RunState:
    """The state of a run, given what the store says and what a queue says: what is finished or owned stays so.

    Args:
        state: by the store alone.
        job: what the queue says of it; None where it is in none.
    """
    if job is None or job is JobState.ENDED or state.finished or state is RunState.RUNNING:
        return state
    if job is JobState.LOST:
        return RunState.UNKNOWN
    return RunState(job.value)


def _failed(record: Ended) -> RunState:
    cancelled = record.failure is not None and record.failure.kind == "cancelled"
    return RunState.CANCELLED if cancelled else RunState.FAILED
