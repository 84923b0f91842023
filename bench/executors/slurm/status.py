"""How the submissions of a store stand: what its files say of their runs, and what Slurm says of their jobs.

Also: why Slurm may know a job and not show it here, the state that ``bench status`` shows of a run in Slurm's hands,
and the jobs that Slurm has put on hold by itself.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from spectral_bench.bench.executors.slurm.cluster import (
    Cluster,
    Slurm,
    SlurmRefused,
    SlurmUnreachable,
    User,
    read_cluster,
    this_user,
)
from spectral_bench.bench.executors.slurm.queue import Element, Known, ask, plain_reason
from spectral_bench.bench.executors.slurm.submissions import Entry, Ledger, Submission
from spectral_bench.bench.plan.model import Condition
from spectral_bench.bench.plan.overview import RunStatus
from spectral_bench.bench.work.order import Order, final_status, read_order
from spectral_bench.bench.work.progress import PROGRESS_FILE, read_progress
from spectral_bench.common.errors import ConfigError, UserError
from spectral_bench.results.runs import FIT_FILE
from spectral_bench.results.state import JobState, RunState, in_queue
from spectral_bench.results.store import Store


@dataclass(frozen=True)
class Place:
    """One run of a submission.

    Attributes:
        submission: which.
        index: of the job in its array.
        entry: the run.
        element: the job, as Slurm describes it; None where it does not.
        state: what the queue says of the run; None where its record, or its failure, is in the store.
    """

    submission: Submission
    index: int
    entry: Entry
    element: Element | None
    state: JobState | None

    @property
    def live(self) -> bool:
        """Whether its job waits or runs, as far as is known."""
        return self.state is not None and self.state.live

    @property
    def job(self) -> str:
        """How Slurm calls its job; the submission's name while the id is not known."""
        job_id = self.submission.job_id or (self.element.job_id if self.element else None)
        return self.submission.name if job_id is None else f"{job_id}_{self.index}"


@dataclass(frozen=True)
class Board:
    """The open submissions of a store at one moment.

    Attributes:
        ledger: where they are kept.
        submissions: oldest first.
        known: what Slurm said of them.
        user: who asked.
        cluster: that was asked; None where it does not say, or need not.
    """

    ledger: Ledger
    submissions: tuple[Submission, ...]
    known: Known
    user: User = field(default_factory=this_user)
    cluster: Cluster | None = None

    @cached_property
    def places(self) -> list[Place]:
        """Every run of every submission."""
        return [place for submission in self.submissions for place in self.places_of(submission)]

    @cached_property
    def _by_name(self) -> dict[str, list[Place]]:
        return {submission.name: list(self._places(submission)) for submission in self.submissions}

    def places_of(self, submission: Submission) -> list[Place]:
        """Every run of one submission."""
        return self._by_name[submission.name]

    def of(self, submissions: Sequence[Submission]) -> Board:
        """The same moment with some of the submissions only, which may know more of themselves by now."""
        board = replace(self, submissions=tuple(submissions))
        board.__dict__["_by_name"] = {one.name: self._by_name[one.name] for one in submissions}
        return board

    def newest(self) -> dict[str, Place]:
        """The last place of each run, live ones before others."""
        found: dict[str, Place] = {}
        for place in self.places:
            before = found.get(place.entry.run_id)
            if before is None or place.live or not before.live:
                found[place.entry.run_id] = place
        return found

    def unit(self, place: Place) -> list[Place]:
        """The runs that share the job of ``place``, itself included."""
        return [other for other in self.places_of(place.submission) if other.index == place.index]

    def _places(self, submission: Submission) -> Iterator[Place]:
        for index, unit in enumerate(submission.units):
            element = self.known.elements.get((submission.name, index))
            for entry in unit.entries:
                yield Place(submission, index, entry, element, self._state(submission, entry, element))

    def _state(self, submission: Submission, entry: Entry, element: Element | None) -> JobState | None:
        if has_result(entry, self.ledger.store):
            return None
        if element is not None and element.live:
            return JobState.PENDING if element.state == "PENDING" else JobState.RUNNING
        if element is not None:
            return JobState.PENDING if element.given_up and self._tidies_up(submission) else JobState.ENDED
        if self.known.silent or self.known.forgetful:
            return JobState.UNKNOWN
        # A waiting job of an array that is cancelled alone leaves no trace in Slurm.
        if self.ledger.is_cancelled(submission.name, entry.run_id):
            return JobState.ENDED
        return JobState.UNKNOWN if self.why_unknown(submission) else JobState.LOST

    def why_unknown(self, submission: Submission) -> str:
        """Why nobody knows how jobs of a submission stand that Slurm does not speak of; empty where they are gone."""
        if found := self.known.silent or self.known.forgetful:
            return found
        return why_not_seen(submission, self.cluster, self.user)

    def _tidies_up(self, submission: Submission) -> bool:
        """Whether a job that another one waited for is not over yet: Slurm may give up the one that waits before."""
        found = (self.known.elements.get((name, index)) for name, after in submission.after.items() for index in after)
        return any(element is not None and element.live for element in found)


def look(ledger: Ledger, slurm: Slurm) -> Board:
    """How the open submissions of a store stand now.

    Raises:
        StoreError: the store cannot be read.
    """
    submissions = tuple(ledger.open())
    asked = {name: other for one in submissions for name in one.after if (other := ledger.read(name)) is not None}
    asked |= {one.name: one for one in submissions}
    jobs = {name: submission.job_id for name, submission in asked.items()}
    known = ask(slurm, jobs)
    every = {(one.name, index) for one in submissions for index in range(len(one.units))}
    cluster = None
    if not (known.silent or known.forgetful) and every - known.elements.keys():
        with contextlib.suppress(UserError):  # nothing is lost then
            cluster = read_cluster(slurm)
    return Board(ledger, submissions, known, cluster=cluster)


def order_of(entry: Entry, store: Store) -> Order | None:
    """The order of a run; None where its file is gone."""
    with contextlib.suppress(ConfigError):
        return read_order(order_path(entry, store))
    return None


def order_path(entry: Entry, store: Store) -> Path:
    """The file of an order."""
    return store.path / entry.order


def has_result(entry: Entry, store: Store) -> bool:
    """Whether all that was ordered is stored, or the run has failed since it was submitted.

    An extraction of features never has: it belongs to no run and has no record.
    """
    if entry.features_only:
        return False
    if len(store.attempts(entry.run_id)) > entry.known_failures:
        return True
    if not (store.run_folder(entry.run_id) / FIT_FILE).exists():  # spares thousands of waiting runs their orders
        return False
    order = order_of(entry, store)
    return order is None or final_status(order, store) is not None


GIVE_UP = ", or give the run up with bench cancel"


def why_not_seen(submission: Submission, cluster: Cluster | None, user: User) -> str:
    """Why Slurm may know jobs of a submission and not show them here, and what to do; empty where it would show them.

    ``PrivateData`` hides the jobs of others without a word, and another cluster knows nothing of these.

    Args:
        submission: whose jobs Slurm did not speak of.
        cluster: the one that was asked; None where that is not known.
        user: who asked.
    """
    theirs = submission.user if submission.uid is None else str(submission.uid)
    if theirs != (user.name if submission.uid is None else str(user.uid)):
        them, me = _who(submission.user, submission.uid, user.name), _who(user.name, user.uid, submission.user)
        return f"it was submitted by {them}, whose jobs Slurm may hide from {me}; ask as {them}{GIVE_UP}"
    if cluster is None:
        return f"Slurm does not say which cluster this is; ask again later{GIVE_UP}"
    where = _where(submission.cluster, submission.controller)
    if submission.cluster not in ("", cluster.name) or submission.controller not in ("", cluster.controller):
        here = _where(cluster.name, cluster.controller)
        return f"it was submitted on the cluster {where}, and this is {here}; ask from there{GIVE_UP}"
    return ""


def _who(name: str, uid: int | None, other: str) -> str:
    """A user; by number too where the other one has the same name, as on another machine."""
    return f"{name} (user id {uid})" if name == other and uid is not None else name


def _where(name: str, controller: str) -> str:
    return f"{name} ({controller})" if controller else name


def with_queue(runs: Sequence[RunStatus], board: Board | None, store: Store) -> list[RunStatus]:
    """The runs, with the states of those that Slurm has in hand."""
    places = board.newest() if board is not None else {}
    return [_with_place(run, places.get(run.run_id), board, store) for run in runs]


def _with_place(run: RunStatus, place: Place | None, board: Board | None, store: Store) -> RunStatus:
    if place is None or board is None or place.state is None or run.condition.finished:
        return run
    if run.condition.state == RunState.RUNNING:
        return _noted(run, f"job {place.job}" if place.state is JobState.RUNNING else "")
    if place.state is JobState.ENDED:
        return run
    told, reason = _told(run.run_id, place, board)
    state = in_queue(RunState(run.condition.state), told)
    condition = Condition(state, run.condition.missing, run.condition.fitted, reason)  # type: ignore[arg-type]
    if told is JobState.RUNNING:
        return replace(run, condition=condition, progress=read_progress(store.run_folder(run.run_id) / PROGRESS_FILE))
    return replace(run, condition=condition)


def _told(run_id: str, place: Place, board: Board) -> tuple[JobState, str]:
    """What the queue says of a run that is not at work by its claim, and why: one line for people."""
    job = f"job {place.job}"
    if place.state is JobState.UNKNOWN:
        return JobState.UNKNOWN, board.why_unknown(place.submission)
    if place.state is JobState.LOST:
        return JobState.LOST, f"Slurm does not know {job}; bench retry submits the run again"
    if place.state is JobState.PENDING:
        reason = place.element.reason if place.element else ""
        return JobState.PENDING, f"{job} waits: {reason}" if reason not in ("", "None") else f"{job} waits"
    trace = board.ledger.trace(place.submission.name, place.index)
    where = job + (f" on {trace.host}" if trace and trace.host else "")
    if trace is None or trace.run_id != run_id:  # it waits for its turn in the job
        return JobState.PENDING, f"{where}, which carries out others first" if trace else f"{where}, starting"
    return JobState.RUNNING, where


def _noted(run: RunStatus, reason: str) -> RunStatus:
    return replace(run, condition=replace(run.condition, reason=reason or run.condition.reason))


HELD = plain_reason("launch failed requeued held")
"""Other releases write underscores."""

MOST = 3


def release_held(board: Board, slurm: Slurm, released: Counter[str]) -> None:
    """Let such jobs go, each a few times: a node that never starts one is for people to look at.

    Args:
        board: how things stand.
        slurm: who holds them.
        released: how often each was released before; grows.
    """
    found = ((place.job, place.element) for place in board.places)
    held = {job for job, element in found if element is not None and plain_reason(element.reason) == HELD}
    for job in sorted(job for job in held if released[job] < MOST):
        with contextlib.suppress(SlurmRefused, SlurmUnreachable):
            slurm.ask("scontrol", "release", job)
            released[job] += 1
