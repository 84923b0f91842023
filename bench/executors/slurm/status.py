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
from spectral_bench.bench.executors.slurm.queue import QueueReport, SlurmJob, ask, plain_reason
from spectral_bench.bench.executors.slurm.submissions import Ledger, Submission, SubmittedRun
from spectral_bench.bench.plan.states import Condition, RunStatus
from spectral_bench.bench.work.order import Order, final_status, read_order
from spectral_bench.bench.work.progress import PROGRESS_FILE, read_progress
from spectral_bench.common.errors import ConfigError, UserError
from spectral_bench.results.runs import FIT_FILE
from spectral_bench.results.state import JobState, RunState, in_queue
from spectral_bench.results.store import Store


@dataclass(frozen=True)
class TrackedRun:
    """One run of a submission.

    Attributes:
        submission: which.
        index: of the job in its array.
        submitted: the run, as the submission has it.
        slurm_job: the job, as Slurm describes it; None where it does not.
        state: what the queue says of the run; None where its record, or its failure, is in the store.
    """

    submission: Submission
    index: int
    submitted: SubmittedRun
    slurm_job: SlurmJob | None
    state: JobState | None

    @property
    def run_id(self) -> str:
        """Of the run; for an extraction of features a name of its own."""
        return self.submitted.run_id

    @property
    def live(self) -> bool:
        """Whether its job waits or runs, as far as is known."""
        return self.state is not None and self.state.live

    @property
    def job(self) -> str:
        """How Slurm calls its job; the submission's name while the id is not known."""
        job_id = self.submission.job_id or (self.slurm_job.job_id if self.slurm_job else None)
        return self.submission.name if job_id is None else f"{job_id}_{self.index}"


@dataclass(frozen=True)
class TrackedRuns:
    """The open submissions of a store at one moment.

    Attributes:
        ledger: where they are kept.
        submissions: oldest first.
        report: what Slurm said of them.
        user: who asked.
        cluster: that was asked; None where it does not say, or need not.
    """

    ledger: Ledger
    submissions: tuple[Submission, ...]
    report: QueueReport
    user: User = field(default_factory=this_user)
    cluster: Cluster | None = None

    @cached_property
    def runs(self) -> list[TrackedRun]:
        """Every run of every submission."""
        return [run for submission in self.submissions for run in self.runs_of(submission)]

    @cached_property
    def _by_name(self) -> dict[str, list[TrackedRun]]:
        return {submission.name: list(self._runs(submission)) for submission in self.submissions}

    def runs_of(self, submission: Submission) -> list[TrackedRun]:
        """Every run of one submission."""
        return self._by_name[submission.name]

    def only(self, submissions: Sequence[Submission]) -> TrackedRuns:
        """The same moment with some of the submissions only, which may know more of themselves by now."""
        tracked = replace(self, submissions=tuple(submissions))
        # Where cached_property keeps it: it is the same moment, at which nothing shall be looked up again.
        tracked.__dict__["_by_name"] = {one.name: self._by_name[one.name] for one in submissions}
        return tracked

    def newest(self) -> dict[str, TrackedRun]:
        """Each run as it was last submitted, live ones before others."""
        found: dict[str, TrackedRun] = {}
        for run in self.runs:
            before = found.get(run.run_id)
            if before is None or run.live or not before.live:
                found[run.run_id] = run
        return found

    def sharing_job(self, run: TrackedRun) -> list[TrackedRun]:
        """The runs that share the job of ``run``, itself included."""
        return [other for other in self.runs_of(run.submission) if other.index == run.index]

    def _runs(self, submission: Submission) -> Iterator[TrackedRun]:
        for index, unit in enumerate(submission.units):
            slurm_job = self.report.jobs.get((submission.name, index))
            for submitted in unit.entries:
                yield TrackedRun(submission, index, submitted, slurm_job, self._state(submission, submitted, slurm_job))

    def _state(self, submission: Submission, submitted: SubmittedRun, slurm_job: SlurmJob | None) -> JobState | None:
        if has_result(submitted, self.ledger.store):
            return None
        if slurm_job is not None and slurm_job.live:
            return JobState.PENDING if slurm_job.state == "PENDING" else JobState.RUNNING
        if slurm_job is not None:
            # Slurm gives up what can never start a moment before the job that it waited for is over: its cause comes
            # then.
            return JobState.PENDING if slurm_job.given_up and self._tidies_up(submission) else JobState.ENDED
        if self.report.error:
            return JobState.UNKNOWN
        # A waiting job of an array that is cancelled alone leaves no trace in Slurm.
        if self.ledger.is_cancelled(submission.name, submitted.run_id):
            return JobState.ENDED
        return JobState.UNKNOWN if self.why_unknown(submission) else JobState.LOST

    def why_unknown(self, submission: Submission) -> str:
        """Why nobody knows how jobs of a submission stand that Slurm does not speak of; empty where they are gone."""
        if found := self.report.error:
            return found
        return why_not_seen(submission, self.cluster, self.user)

    def _tidies_up(self, submission: Submission) -> bool:
        """Whether a job that another one waited for is not over yet: Slurm may give up the one that waits before."""
        found = (self.report.jobs.get((name, index)) for name, after in submission.after.items() for index in after)
        return any(slurm_job is not None and slurm_job.live for slurm_job in found)


def track_runs(ledger: Ledger, slurm: Slurm) -> TrackedRuns:
    """How the open submissions of a store stand now.

    Raises:
        StoreError: the store cannot be read.
    """
    submissions = tuple(ledger.open())
    # Those too that open ones wait for: whether they succeeded decides what became of these.
    asked = {name: other for one in submissions for name in one.after if (other := ledger.read(name)) is not None}
    asked |= {one.name: one for one in submissions}
    arrays = {name: submission.job_id for name, submission in asked.items()}
    report = ask(slurm, arrays)
    every = {(one.name, index) for one in submissions for index in range(len(one.units))}
    cluster = None
    # Which cluster has answered matters only where it was silent about a job: a question that is mostly spared.
    if not report.error and every - report.jobs.keys():
        with contextlib.suppress(UserError):  # nothing is lost then
            cluster = read_cluster(slurm)
    return TrackedRuns(ledger, submissions, report, cluster=cluster)


def order_of(submitted: SubmittedRun, store: Store) -> Order | None:
    """The order of a run; None where its file is gone."""
    with contextlib.suppress(ConfigError):
        return read_order(order_path(submitted, store))
    return None


def order_path(submitted: SubmittedRun, store: Store) -> Path:
    """The file of an order."""
    return store.path / submitted.order


def has_result(submitted: SubmittedRun, store: Store) -> bool:
    """Whether all that was ordered is stored, or the run has failed since it was submitted.

    An extraction of features never has: it belongs to no run and has no record.
    """
    if submitted.features_only:
        return False
    if len(store.attempts(submitted.run_id)) > submitted.known_failures:
        return True
    if not (store.run_folder(submitted.run_id) / FIT_FILE).exists():  # spares thousands of waiting runs their orders
        return False
    order = order_of(submitted, store)
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
    # By number where it is known: two machines may give one name to two users.
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


def with_queue(found: Sequence[RunStatus], tracked: TrackedRuns | None, store: Store) -> list[RunStatus]:
    """How far runs are, with the states of those that Slurm has in hand."""
    newest = tracked.newest() if tracked is not None else {}
    return [
        status if tracked is None or run is None else _with_queue(status, run, tracked, store)
        for status, run in ((status, newest.get(status.run_id)) for status in found)
    ]


def _with_queue(status: RunStatus, run: TrackedRun, tracked: TrackedRuns, store: Store) -> RunStatus:
    condition = status.condition
    if condition.finished or run.state in (None, JobState.ENDED):
        return status
    stored = condition.state
    # Its claim is held, so it is at work, whatever Slurm's books say by now.
    if stored is RunState.RUNNING:
        known = f"job {run.job}" if run.state is JobState.RUNNING else condition.reason
        return replace(status, condition=replace(condition, reason=known))
    told, reason = _told(run, tracked)
    state = in_queue(stored, told)
    condition = Condition(state, condition.missing, condition.fitted, reason)
    status = replace(status, condition=condition)
    if told is not JobState.RUNNING:
        return status
    return replace(status, progress=read_progress(store.run_folder(status.run_id) / PROGRESS_FILE))


def _told(run: TrackedRun, tracked: TrackedRuns) -> tuple[JobState, str]:
    """What the queue says of a run that is not at work by its claim, and why: one line for people."""
    job = f"job {run.job}"
    if run.state is JobState.UNKNOWN:
        return JobState.UNKNOWN, tracked.why_unknown(run.submission)
    if run.state is JobState.LOST:
        return JobState.LOST, f"Slurm does not know {job}; bench retry submits the run again"
    if run.state is JobState.PENDING:
        reason = run.slurm_job.reason if run.slurm_job else ""
        return JobState.PENDING, f"{job} waits: {reason}" if reason not in ("", "None") else f"{job} waits"
    trace = tracked.ledger.trace(run.submission.name, run.index)
    where = job + (f" on {trace.host}" if trace and trace.host else "")
    if trace is None or run.run_id not in trace.at_work:  # it waits for its turn in the job
        return JobState.PENDING, f"{where}, which carries out others first" if trace else f"{where}, starting"
    return JobState.RUNNING, where


HELD_REASON = plain_reason("launch failed requeued held")  # other releases write underscores

MOST_RELEASES = 3


def release_held(tracked: TrackedRuns, slurm: Slurm, released: Counter[str]) -> None:
    """Let such jobs go, each a few times: a node that never starts one is for people to look at.

    Args:
        tracked: how things stand.
        slurm: who holds them.
        released: how often each was released before; grows.
    """
    found = ((run.job, run.slurm_job) for run in tracked.runs)
    held = {job for job, slurm_job in found if slurm_job is not None and plain_reason(slurm_job.reason) == HELD_REASON}
    for job in sorted(job for job in held if released[job] < MOST_RELEASES):
        with contextlib.suppress(SlurmRefused, SlurmUnreachable):
            slurm.ask("scontrol", "release", job)
            released[job] += 1
