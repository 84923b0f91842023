"""Wait for runs that Slurm carries out: the store tells how they end, Slurm is asked now and then."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from spectral_bench.bench.executors.jobs import Event, Exit, Job, JobExits, OnEvent
from spectral_bench.bench.executors.slurm.causes import record_ended
from spectral_bench.bench.executors.slurm.cluster import Slurm, SlurmUnreachable
from spectral_bench.bench.executors.slurm.status import TrackedRun, TrackedRuns, release_held, track_runs
from spectral_bench.bench.executors.slurm.submissions import Ledger
from spectral_bench.bench.work.order import StopFlag, stop_on_signals
from spectral_bench.results.state import JobState

Again = Callable[[Sequence[Job], OnEvent], dict[str, Exit]]
"""Submits runs once more."""

Larger = Callable[[Job], str]
"""What the next try of a run that has failed is going to ask for, in words; empty where it would be no more."""

STORE_S = 0.5
SLURM_S = (2.0, 30.0)  # seconds between two questions to Slurm, at first and at most
PATIENCE = 3  # looks in a row at which Slurm answers and does not know a run's job, before the run is submitted again
ROUNDS = 3  # times that a run may be submitted again because its job went away through no fault of the run


def wait_for(
    jobs: Sequence[Job],
    exits: dict[str, Exit],
    job_exits: JobExits,
    *,
    ledger: Ledger,
    slurm: Slurm,
    again: Again,
    larger: Larger = lambda job: "",
    on_event: OnEvent,
) -> dict[str, Exit]:
    """Wait until every submitted run has ended, or until asked to stop, which leaves the jobs alone.

    Args:
        jobs: the runs.
        exits: how they stand after submission.
        job_exits: made before the submission, since a run may fail while others are submitted.
        ledger: the submissions.
        slurm: whom to ask.
        again: submits what has to be submitted again.
        larger: what a run that has failed is going to ask for in its next try.
        on_event: told of all that happens.

    Returns:
        How each run ended; ``submitted`` where it has not.

    Raises:
        StoreError: the store cannot be read or written.
    """
    watch = _Watch(jobs, dict(exits), job_exits, ledger, slurm, again, larger, on_event)
    stop = StopFlag()
    with stop_on_signals(stop, insist=False):
        while watch.left and not stop():
            watch.step()
            time.sleep(STORE_S)
    if stop():
        on_event(Event("stopping", message="no longer waiting; the jobs go on, see bench status"))
    return watch.exits


class _Watch:
    """The runs of one wait."""

    def __init__(
        self,
        jobs: Sequence[Job],
        exits: dict[str, Exit],
        job_exits: JobExits,
        ledger: Ledger,
        slurm: Slurm,
        again: Again,
        larger: Larger,
        on_event: OnEvent,
    ) -> None:
        self.exits = exits
        self._jobs = {job.run_id: job for job in jobs}
        self._job_exits = job_exits
        self._ledger, self._slurm, self._again, self._tell = ledger, slurm, again, on_event
        self._larger = larger
        self._enlarged: set[str] = set()  # runs in a further try, whose dependents are lost and go with it
        self._begun: set[str] = set()
        self._missed: dict[str, int] = {}
        self._rounds: dict[str, int] = {}
        self._released: Counter[str] = Counter()
        self._complaint = ""
        self._pause, self._next = SLURM_S[0], time.monotonic()

    @property
    def left(self) -> list[Job]:
        return [job for name, job in self._jobs.items() if self.exits[name] == "submitted"]

    def step(self) -> None:
        self._look_at_store()
        if time.monotonic() >= self._next and self.left:
            self._look_at_slurm()
            # Its controller serves many users, so it is asked less and less often.
            self._pause = min(self._pause * 1.5, SLURM_S[1])
            self._next = time.monotonic() + self._pause
        self._tell(Event("tick"))

    def _look_at_store(self) -> None:
        enlarged = []
        for job in self.left:
            how = self._job_exits.elsewhere(job)
            if how == "failed" and (why := self._why_again(job)):
                enlarged.append(job)
                self._enlarged.add(job.run_id)
                self._job_exits.forgive(job)
                self._tell(Event("again", job.run_id, message=why))
            elif how is not None:
                self._end(job, how)
        if enlarged:
            with contextlib.suppress(SlurmUnreachable):  # they are missed at the looks that follow
                self.exits |= self._again(enlarged, lambda event: None)

    def _why_again(self, job: Job) -> str:
        """Why a run that has failed is tried again; empty where it is not."""
        base = next((name for name in job.requires if name in self._enlarged and self.exits[name] == "submitted"), None)
        kind = self._job_exits.newest_failure(job)
        return f"waits for {base}, which is tried again" if base and kind == "dependency" else self._larger(job)

    def _look_at_slurm(self) -> None:
        tracked = track_runs(self._ledger, self._slurm)
        # First, so that the store tells these failures in the look that follows.
        record_ended(tracked)
        release_held(tracked, self._slurm, self._released)
        self._look_at_store()
        runs = tracked.newest()
        self._complain(tracked, runs)
        lost = []
        for job in self.left:
            run = runs.get(job.run_id)
            if run is not None and run.state is JobState.RUNNING:
                self._begin(job, run.job)
            if self._job_exits.is_claimed(job) or (run is not None and run.live):
                self._missed.pop(job.run_id, None)
            elif run is not None and run.state is JobState.ENDED:
                lost.append(job)  # for no fault of its own, else its failure would be in the store
            else:
                # Unknown to Slurm: a job that was requeued just now is missing for a moment, so one look says nothing.
                self._missed[job.run_id] = self._missed.get(job.run_id, 0) + 1
                lost += [job] if self._missed[job.run_id] >= PATIENCE else []
        if lost and not tracked.report.queue_error:
            self._submit_again(lost)

    def _begin(self, job: Job, name: str) -> None:
        if job.run_id not in self._begun and self._job_exits.is_claimed(job):
            self._begun.add(job.run_id)
            self._tell(Event("started", job.run_id, message=f"job {name}"))

    def _submit_again(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._missed.pop(job.run_id, None)
            self._rounds[job.run_id] = self._rounds.get(job.run_id, 0) + 1
            if self._rounds[job.run_id] > ROUNDS:
                self._end(job, "pending")
        retried = [job for job in jobs if self.exits[job.run_id] == "submitted"]
        with contextlib.suppress(SlurmUnreachable):  # the next look tries again
            self.exits |= self._again(retried, lambda event: None)

    def _end(self, job: Job, how: Exit) -> None:
        self.exits[job.run_id] = how
        self._tell(Event("finished", job.run_id, how))

    def _complain(self, tracked: TrackedRuns, runs: Mapping[str, TrackedRun]) -> None:
        """Say once that Slurm does not answer, or not about some runs, which says nothing about any of them."""
        asked = (runs[job.run_id] for job in self.left if job.run_id in runs)
        unseen = (tracked.why_unknown(run.submission) for run in asked if run.state is JobState.UNKNOWN)
        if why := tracked.report.error:
            message = f"Slurm does not answer, the runs go on: {why}"
        else:
            why = next(unseen, "")
            message = f"waiting for a run of which Slurm says nothing here: {why}"
        if why and why != self._complaint:  # once: Slurm may be silent for hours
            self._tell(Event("stopping", message=message))
        self._complaint = why
