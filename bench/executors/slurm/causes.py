"""Why a run has no record though its job is over: the cause becomes a failure in the store.

What Slurm says of a job is told in the words of a record. Submissions of which nothing is left are closed then.
"""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spectral_bench.bench.executors.slurm.cluster import Slurm
from spectral_bench.bench.executors.slurm.queue import SlurmJob, plain_reason
from spectral_bench.bench.executors.slurm.status import (
    TrackedRun,
    TrackedRuns,
    has_result,
    order_of,
    order_path,
    track_runs,
)
from spectral_bench.bench.executors.slurm.submissions import Ledger, Submission, what_was_asked
from spectral_bench.bench.work.order import Order, fit_missing, missing_views
from spectral_bench.bench.work.progress import PROGRESS_FILE, read_progress, tail
from spectral_bench.bench.work.worker import ExitCode, extraction_failure, record_failure
from spectral_bench.common.errors import StoreError
from spectral_bench.common.files import write_json
from spectral_bench.results.record import Failure
from spectral_bench.results.runs import CHECKPOINT_FILE
from spectral_bench.results.state import JobState
from spectral_bench.results.store import Busy, Store

LOST_STATE = "CANCELLED"

_MEMORY_WORDS = ("exceeded memory limit", "oom-kill", "oom_kill", "out of memory", "out_of_memory")

_NO_OUTPUT = 53  # Slurm's code for a job whose output files it could not open on the node

NOT_FOUND = (126, 127)  # exit codes of a shell that could not start a program

_NO_PROGRAM = "execve()"  # what srun says of a program that it could not start; it leaves with 2 then

_NEVER = plain_reason("DependencyNeverSatisfied")

NOT_EXTRACTED = "features were not extracted"  # how the failure of a run begins that waited for an extraction

NOT_SEEN = "this node does not see the store"  # what a job says that does not find its submission


def record_and_track(store: Store, slurm: Slurm | None = None) -> TrackedRuns | None:
    """Record the failures of jobs that are over, and say how the others stand; None where nothing was submitted."""
    tracked = track_runs(Ledger(store), slurm or Slurm())
    if not tracked.submissions:
        return None
    try:
        return record_ended(tracked)
    except StoreError:  # another user's store, or a full disk: it can be looked at all the same
        return tracked


def record_ended(tracked: TrackedRuns, *, give_up_lost: bool = False) -> TrackedRuns:
    """Record why runs whose jobs are over have no record, and close the submissions that are over.

    Any number of processes may do so at a time: a failure is recorded once.

    Args:
        tracked: how things stand.
        give_up_lost: close submissions that Slurm knows nothing of. Only for who holds the ledger's lock, since a
            launcher may be about to submit them.

    Returns:
        The submissions that stay open.

    Raises:
        StoreError: the store cannot be written.
    """
    stay = []
    for submission in tracked.submissions:
        runs = tracked.runs_of(submission)
        for run in runs:
            if run.state is JobState.ENDED:
                _record(tracked, run)
        # None: the result is in the store.
        over = {None, JobState.ENDED} | ({JobState.LOST} if give_up_lost else set())
        if all(run.state in over for run in runs) and not _at_work(tracked, submission):
            with contextlib.suppress(OSError):  # another process has just closed it
                tracked.ledger.close(submission)
        else:
            stay.append(_with_id(tracked, submission))
    return tracked.only(stay)


def _record(tracked: TrackedRuns, run: TrackedRun) -> None:
    store, submitted = tracked.ledger.store, run.submitted
    if submitted.features_only:  # the runs that waited for it tell why it failed
        return
    order, failure = order_of(submitted, store), failure_of(tracked, run)
    if order is None or failure is None:
        return
    # Busy: another launcher has taken the run over.
    with contextlib.suppress(Busy), store.claim(submitted.run_id):
        if not has_result(submitted, store):
            asked = what_was_asked(run.submission)
            if failure.message.startswith(NOT_EXTRACTED):  # what the extraction asked for, of which it has no record
                asked = _asked_for_features(tracked, run) or asked
            record_failure(order, store, failure, started=run.submission.time, asked=asked)


def _asked_for_features(tracked: TrackedRuns, run: TrackedRun) -> dict[str, int]:
    lacking = _lacking(tracked, run.submission, sure=False)
    found = (what_was_asked(other.submission) for other in lacking if other.submitted.features_only)
    return next(found, {})


def _at_work(tracked: TrackedRuns, submission: Submission) -> bool:
    """Whether a job of the submission still runs, though all of its runs have a result."""
    live = (tracked.report.jobs.get((submission.name, index)) for index in range(len(submission.units)))
    return any(slurm_job is not None and slurm_job.live for slurm_job in live)


def _with_id(tracked: TrackedRuns, submission: Submission) -> Submission:
    """A submission whose launcher died before it learnt the job's id, with the id."""
    if submission.job_id is not None:
        return submission
    for index in range(len(submission.units)):
        slurm_job = tracked.report.jobs.get((submission.name, index))
        if slurm_job is not None:
            submission = submission.model_copy(update={"job_id": slurm_job.job_id})
            tracked.ledger.write(submission)
            break
    return submission


def failure_of(tracked: TrackedRuns, run: TrackedRun) -> Failure | None:
    """Why a run whose job is over has no record; None where its job ended for a reason that is not the run's."""
    ledger, submission, index = tracked.ledger, run.submission, run.index
    # Of a job that is cancelled while its array waits, Slurm keeps nothing.
    slurm_job = run.slurm_job or SlurmJob(submission.job_id or submission.name, LOST_STATE, by_user=True)
    trace = ledger.trace(submission.name, index)
    # It saved and left, and was not started again. Nothing is wrong with the run: bench retry goes on with it.
    if slurm_job.state == "FAILED" and _was_asked_to_stop(slurm_job):
        return None
    told = (
        extraction_failure(order_path(run.submitted, ledger.store)) if run.submitted.features_only and trace else None
    )
    if told is not None:
        return told
    # Given up before it began: Slurm does so where a job that had to come first has failed.
    lacking = _lacking(tracked, submission, sure=slurm_job.given_up and trace is None)
    failure = failure_of_job(
        EndedJob(
            slurm_job=slurm_job,
            index=index,
            store=ledger.store.path,
            began=trace is not None,
            cancelled=ledger.is_cancelled(submission.name, run.run_id),
            lacking=[other.run_id for other in lacking],
            output=ledger.outputs(submission.name, index),
            minutes=submission.settings.get("minutes"),
        )
    )
    if failure.kind == "dependency" and (cause := _of_features(tracked, lacking)) is not None:
        return cause
    # Those that had not had their turn, or had it before, are not to blame for the end of their job.
    at_work = trace.at_work if trace is not None else (run.run_id,)
    return failure if blames_all(failure) or run.run_id in at_work else None


def _was_asked_to_stop(slurm_job: SlurmJob) -> bool:
    """Whether a job saved what it had and left, or was asked to before it could listen."""
    # Before its handlers are set, USR2 kills a process; a shell around it adds 128.
    early = (signal.SIGUSR2, 128 + signal.SIGUSR2)
    return slurm_job.exit_code in (ExitCode.INTERRUPTED, *early) or slurm_job.signal == signal.SIGUSR2


def _lacking(tracked: TrackedRuns, submission: Submission, *, sure: bool) -> list[TrackedRun]:
    """The runs, or extractions of features, that a submission was to wait for and that did not succeed.

    Where it is sure that one did not, all that are not known to have succeeded are named.
    """
    lacking = []
    for name, indices in submission.after.items():
        other = tracked.ledger.read(name)
        if other is None:
            continue
        for index in indices:
            slurm_job = tracked.report.jobs.get((name, index))
            over = slurm_job is not None and not slurm_job.live
            succeeded = slurm_job is not None and slurm_job.state == "COMPLETED"
            # Not over by what Slurm says: its accounts may be behind, while it has given up who waited for it.
            if (over and not succeeded) or (sure and not over):
                entries = other.units[index].entries
                lacking += [
                    TrackedRun(other, index, submitted, slurm_job, JobState.ENDED if over else JobState.UNKNOWN)
                    for submitted in entries
                ]
    return lacking


def _of_features(tracked: TrackedRuns, lacking: Sequence[TrackedRun]) -> Failure | None:
    """Why the features that a run waited for are not there: they have no record, so the run's tells it."""
    for run in lacking:
        if run.submitted.features_only and run.state is JobState.ENDED:
            cause = failure_of(tracked, run)
            if cause is not None:
                return cause.model_copy(update={"message": f"{NOT_EXTRACTED}: {cause.message}"})
    return None


@dataclass(frozen=True)
class EndedJob:
    """What is known of a Slurm job that is over.

    Attributes:
        slurm_job: what Slurm says.
        index: of the job in its array.
        store: the store's folder.
        began: whether the job left a trace in the store.
        cancelled: whether it was cancelled by way of ``bench cancel``.
        lacking: jobs that it was to wait for and that did not succeed.
        output: the files with what Slurm and the job said.
        minutes: its time limit.
    """

    slurm_job: SlurmJob
    index: int
    store: Path
    began: bool = True
    cancelled: bool = False
    lacking: Sequence[str] = ()
    output: Sequence[Path] = ()
    minutes: int | None = None

    @property
    def name(self) -> str:
        """How Slurm calls it."""
        return f"{self.slurm_job.job_id}_{self.index}"


def failure_of_job(job: EndedJob) -> Failure:
    """Why a run that the job should have carried out has no record."""
    slurm_job = job.slurm_job
    said = "\n".join(filter(None, (tail(path) for path in job.output)))
    where = f" on {slurm_job.nodes}" if slurm_job.nodes else ""
    kind, message = _why(job, said.lower(), f"job {job.name}{where}")
    return Failure(kind=kind, message=message, log_tail=said)


def blames_all(failure: Failure) -> bool:
    """Whether what ended a job holds for all of its runs, and not only for the one that was at work."""
    return failure.kind in ("cancelled", "dependency")


def _why(job: EndedJob, said: str, name: str) -> tuple[str, str]:
    slurm_job = job.slurm_job
    state = slurm_job.state
    # From the surest to the vaguest: our own mark; memory, whose kills Slurm files under several states; its word.
    if job.cancelled:
        return "cancelled", f"{name} was cancelled by bench cancel"
    if slurm_job.memory_killed or state == "OUT_OF_MEMORY" or (state != "COMPLETED" and _told_of_memory(said)):
        return "out_of_memory", f"{name} needed more memory than it may have; ask for more with --mem"
    if state in ("TIMEOUT", "DEADLINE"):
        limit = f" of {job.minutes} min" if job.minutes else ""
        return "time_limit", f"{name} was ended at its time limit{limit} and had not saved; ask for more with --time"
    if state in ("NODE_FAIL", "BOOT_FAIL"):
        return "node_failure", f"{name} lost its node, and Slurm did not start it again; bench retry does"
    if state == "PREEMPTED":
        return "preempted", f"{name} was preempted, and Slurm did not start it again; bench retry does"
    if state == "CANCELLED" or plain_reason(slurm_job.reason) == _NEVER:
        if job.lacking:
            return "dependency", f"{name} needs {', '.join(job.lacking)}, which did not succeed"
        return "cancelled", f"{name} was cancelled outside of bench"
    return _broke_off(job, said, name)


def _broke_off(job: EndedJob, said: str, name: str) -> tuple[str, str]:
    slurm_job = job.slurm_job
    # A job that has left a trace saw the store and had its Python: only what it did can be at fault.
    if not job.began and NOT_SEEN in said:
        return "store", f"{name} could not see {job.store}; put --out on a file system that all nodes share"
    if not job.began and (slurm_job.exit_code in NOT_FOUND or _NO_PROGRAM in said):
        return "setup", f"{name} could not start Python; name its environment with --setup or --python"
    if not job.began and (slurm_job.signal == _NO_OUTPUT or slurm_job.exit_code == _NO_OUTPUT or not job.output):
        return "store", (
            f"{name} left no trace in {job.store}: that node cannot see the store; put --out on a file system that all "
            "nodes share"
        )
    if slurm_job.exit_code == ExitCode.STORE:
        last = next(iter(tail(job.output[-1], lines=1).splitlines()), "") if job.output else ""
        return "store", f"{name} could not read or write the store: {last.partition('error: ')[2] or 'see its log'}"
    how = f"by signal {slurm_job.signal}" if slurm_job.signal else f"with exit code {slurm_job.exit_code}"
    when = "without a record" if job.began else "before it began"
    return "killed", f"{name} ended ({slurm_job.state.lower()}) {how} {when}"


def _told_of_memory(said: str) -> bool:
    return any(words in said for words in _MEMORY_WORDS)


Mark = tuple[int, int]
"""How far a run is for good: records stored, and the step of the fit that its checkpoint holds."""


class TimeLimits:
    """Counts the time limits in a row that each run of a job has met without progress, across its restarts.

    Args:
        folder: of the submission.
        index: of the job in its array.
    """

    def __init__(self, folder: Path, index: int) -> None:
        self._path = folder / f"limits-{index}.json"

    def met(self, order: Order, store: Store) -> int:
        """Note that a run has met the time limit.

        Returns:
            How many it has now met in a row without progress; 0 if it has made some since the last.

        Raises:
            StoreError: the store cannot be written.
        """
        run_id = order.spec.run_id + ("-features" if order.features_only else "")
        known = self._read()
        before = known.get(run_id, {"mark": [0, 0], "count": 0})
        mark = list(mark_of(order, store))
        # In a file, since each restart of the job is a process of its own.
        count = 0 if mark > before["mark"] else before["count"] + 1
        write_json(self._path, known | {run_id: {"mark": max(mark, before["mark"]), "count": count}})
        return int(count)

    def _read(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._path.read_bytes()))
        except (OSError, ValueError):  # none yet, or damaged: counting starts over, so that no run fails too early
            return {}


def mark_of(order: Order, store: Store) -> Mark:
    """How far a run is for good. An extraction of features starts over each time."""
    if order.features_only:
        return 0, 0
    folder = store.run_folder(order.spec.run_id)
    fitted = not fit_missing(order, store)
    records = int(fitted) + len(order.views) - len(missing_views(order, store))
    progress = read_progress(folder / PROGRESS_FILE)
    # Steps count once they are in a checkpoint: all others are lost with the process.
    saved = progress is not None and progress.stage == "fit" and (folder / CHECKPOINT_FILE).exists()
    return records, progress.done if saved and progress is not None else 0
