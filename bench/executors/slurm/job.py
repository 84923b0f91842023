"""What a Slurm job does: ``python -m spectral_bench.bench.executors.slurm.job FOLDER``, with its index from Slurm.

It carries out its runs one after the other, or cohort after cohort, in processes of their own, so that none takes
another along. At USR2, which comes before the time limit or a preemption, the runs at work save what they have and the
job is put back into the queue: see ``requeue``. The records in the store are the only result.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spectral_bench.bench.executors.jobs import SUCCESSES, Exit, Job, Target
from spectral_bench.bench.executors.local import PRELOAD, LocalExecutor
from spectral_bench.bench.executors.slurm.causes import NOT_SEEN, TimeLimits
from spectral_bench.bench.executors.slurm.cluster import (
    Slurm,
    SlurmMissing,
    SlurmRefused,
    SlurmUnreachable,
    seconds_of,
)
from spectral_bench.bench.executors.slurm.status import has_result, order_path
from spectral_bench.bench.executors.slurm.submissions import (
    Ledger,
    Submission,
    SubmittedRun,
    read_submission,
    what_was_asked,
    write_trace,
)
from spectral_bench.bench.measure.environment import ASKED, now
from spectral_bench.bench.plan.records import tries_of
from spectral_bench.bench.work.order import (
    STOP_FILE,
    Order,
    StopFlag,
    final_status,
    own_job,
    read_order,
    stop_on_signals,
)
from spectral_bench.bench.work.progress import say, tail
from spectral_bench.bench.work.worker import ExitCode, failure_file, log_of, record_failure
from spectral_bench.bench.work.worker import main as work
from spectral_bench.common.errors import UserError
from spectral_bench.common.files import write_bytes
from spectral_bench.common.names import how_many
from spectral_bench.results.record import Failure
from spectral_bench.results.store import Busy, Store

# Between two looks for the marks of bench cancel: files of a shared file system, which many jobs look at.
LOOK_S = 2.0

LAG_S = 5.0  # Slurm signals the processes of a job one after the other: a worker may have left before this one is told

SLACK_S = 90.0  # Slurm looks at time limits every half minute, and starts the clock before the job

AGAIN_S = 2.0  # between two requests to a Slurm that does not answer

NOWHERE = (
    "no progress in {count} time limits of {minutes} min in a row; ask for more with --time, or save more often with "
    "--checkpoint-every"
)


def main(folder: Path, index: int, target: Target = work, preload: Sequence[str] = PRELOAD) -> int:
    """Carry out one job of a submission.

    Args:
        folder: of the submission.
        index: of the job in its array.
        target: what carries out an order in a worker.
        preload: modules that the workers find imported.

    Returns:
        0 if all of its runs have succeeded, else an ``ExitCode``.
    """
    try:
        submission = read_submission(folder)
        if submission is None:
            # Into the job's output, as this node can write nowhere else: `causes` looks for these very words.
            say(f"error: {folder} on {socket.gethostname()}: no submission here; {NOT_SEEN}")
            return ExitCode.BAD_ORDER
        # <store>/slurm/<name>: as this node sees it, wherever the launcher saw it.
        store = Store.open(folder.parent.parent)
        return _Task(submission, index, store, target, preload).carry_out()
    except UserError as error:
        say(f"error: {error}")
        return ExitCode.STORE


class _Task:
    """The runs of one job."""

    def __init__(
        self, submission: Submission, index: int, store: Store, target: Target, preload: Sequence[str]
    ) -> None:
        self._submission, self._index, self._store = submission, index, store
        self._ledger, self._slurm = Ledger(store), Slurm()
        self._delay = float(submission.settings.get("signal_delay", 90))
        # Before the workers start, which inherit it: records say what was asked for, in each try.
        os.environ[ASKED] = json.dumps(what_was_asked(submission) | _tries(submission.units[index].entries, store))
        self._stop = StopFlag()
        cpus = os.environ.get("SLURM_CPUS_PER_TASK") or os.environ.get("SLURM_CPUS_ON_NODE", "")
        self._local = LocalExecutor(
            store,
            # One run or cohort at a time: that is what the job has asked memory and processors for.
            jobs=1,
            threads=int(cpus) if cpus.isdecimal() else 0,
            grace=max(1.0, 0.7 * self._delay),  # what is left of the delay is for Slurm
            target=target,
            preload=preload,
            stop=self._stop,
        )
        self._begun = self._looked = time.monotonic()

    def carry_out(self) -> int:
        left = list(self._submission.units[self._index].entries)
        where = f"{self._submission.name} {self._index}: {how_many(len(left), 'run')} on {socket.gethostname()}"
        say(f"job {own_job()}, {where}")
        exits: dict[str, Exit] = {}
        at_work: list[SubmittedRun] = []
        with stop_on_signals(self._stop, insist=False):
            while left and not self._stop():
                ended = self._next(left)
                for run, how in ended.items():
                    say(f"{run.run_id}: {how}")
                at_work = [run for run, how in ended.items() if how == "interrupted"]
                # Interrupted while this job was not asked to stop: somebody stopped the run alone, and the others go
                # on.
                if not at_work or not self._is_told_too():
                    at_work = []
                for run, how in ended.items():
                    if run not in at_work:
                        left.remove(run)
                        exits[run.run_id] = how
            if left:
                return self._stopped(left, at_work)
        if "interrupted" in exits.values():  # somebody stopped the run alone: it has not failed
            return ExitCode.INTERRUPTED
        return ExitCode.DONE if all(how in SUCCESSES for how in exits.values()) else ExitCode.FAILED

    def _next(self, left: Sequence[SubmittedRun]) -> dict[SubmittedRun, Exit]:
        """Carry out the next run with those of its cohort that nobody else is at work on."""
        # Runs that another launcher has in hand come last, and are waited for.
        free = [run for run in left if not self._store.is_claimed(run.run_id)]
        first = free[0] if free else left[0]
        beside = [run for run in free if run.cohort and run.cohort == first.cohort and run != first]
        ended = {run: how for run in (first, *beside) if (how := self._before(run)) is not None}
        wanted = [run for run in (first, *beside) if run not in ended]
        return ended | (self._do(wanted) if wanted else {})

    def _is_told_too(self) -> bool:
        """Whether the run at work was interrupted with this job, and not alone."""
        end = time.monotonic() + LAG_S
        while not self._stop() and time.monotonic() < end:
            time.sleep(0.02)
        return self._stop()

    def _before(self, run: SubmittedRun) -> Exit | None:
        if self._is_cancelled(run):
            return self._fail(run, "cancelled", "it was cancelled by bench cancel")
        # An extraction has no record. It is begun in any case, and finds what is there.
        if run.features_only or not has_result(run, self._store):
            return None
        return final_status(self._order(run), self._store) or "failed"

    def _do(self, runs: Sequence[SubmittedRun]) -> dict[SubmittedRun, Exit]:
        folder = self._ledger.of(self._submission.name)
        for run in runs:
            failure_file(order_path(run, self._store)).unlink(missing_ok=True)  # of an earlier attempt
        first, *beside = [run.run_id for run in runs]
        # Before the work: of a job that is killed, only the runs that it was at work on are to blame.
        write_trace(folder, self._index, host=socket.gethostname(), job=own_job(), run_id=first, beside=beside)
        jobs = [Job(run.run_id, order_path(run, self._store), cohort=run.cohort) for run in runs]
        exits = self._local.run(jobs, lambda event: self._heed(runs))
        return {run: self._ended(run, exits[run.run_id]) for run in runs}

    def _ended(self, run: SubmittedRun, how: Exit) -> Exit:
        if how == "interrupted" and self._is_cancelled(run):
            # `_heed` has asked, for this run's sake: the job has others to carry out.
            self._stop.forgive()
            return self._fail(run, "cancelled", "it was cancelled by bench cancel")
        # Not begun here, or in the hands of another launcher: this job has no say in how it ended.
        return "interrupted" if how in ("pending", "elsewhere") else how

    def _heed(self, runs: Sequence[SubmittedRun]) -> None:
        """Stop a run at work once somebody wants it cancelled, and the others of its cohort only with it."""
        if time.monotonic() - self._looked <= LOOK_S:
            return
        self._looked = time.monotonic()
        cancelled = [run for run in runs if self._is_cancelled(run)]
        # All of the process at once. A signal would reach each run of a cohort, so one of several is told by a file.
        if len(cancelled) == len(runs):
            if not self._stop():
                self._stop.request()
            return
        for run in cancelled:
            if self._store.is_claimed(run.run_id):
                write_bytes(self._store.run_folder(run.run_id) / STOP_FILE, b"")

    def _stopped(self, left: list[SubmittedRun], at_work: Sequence[SubmittedRun]) -> int:
        """Asked to stop with runs left: back into the queue, unless Slurm ends the job anyway."""
        # A plain SIGTERM: Slurm is about to end the job, and puts a preempted one back by itself.
        if signal.SIGUSR2 not in self._stop.signals:
            return ExitCode.INTERRUPTED
        for run in at_work:
            if self._gets_nowhere(run):
                left.remove(run)
        if not left:
            return ExitCode.FAILED
        # Saving had 0.7 of the time until Slurm kills; a tenth is left for Slurm to act on this.
        requeue(self._slurm, patience=0.2 * self._delay)
        return ExitCode.INTERRUPTED

    def _gets_nowhere(self, run: SubmittedRun) -> bool:
        """Whether the run at work has met its last time limit; its failure is recorded then."""
        minutes, requeues = (self._submission.settings.get(key, 0) for key in ("minutes", "requeues"))
        elapsed = time.monotonic() - self._begun
        # Preempted: that is not the run's doing, and counts nowhere.
        if not ran_out_of_time(self._slurm, elapsed, self._delay, 60.0 * minutes):
            return False
        count = TimeLimits(self._ledger.of(self._submission.name), self._index).met(self._order(run), self._store)
        if count <= requeues:
            return False
        self._fail(run, "time_limit", NOWHERE.format(count=count, minutes=minutes))
        return True

    def _fail(self, run: SubmittedRun, kind: str, message: str) -> Exit:
        order = self._order(run)
        log = log_of(order, self._store, order_path(run, self._store))
        failure = Failure(kind=kind, message=message, log_tail=tail(log))
        say(f"{run.run_id}: {kind}: {message}")
        if run.features_only:
            write_bytes(failure_file(order_path(run, self._store)), failure.model_dump_json(indent=1).encode())
        elif not has_result(run, self._store):
            # Busy: another launcher has taken the run over.
            with contextlib.suppress(Busy), self._store.claim(run.run_id):
                record_failure(order, self._store, failure, started=now())
        return "failed"

    def _is_cancelled(self, run: SubmittedRun) -> bool:
        return self._ledger.is_cancelled(self._submission.name, run.run_id)

    def _order(self, run: SubmittedRun) -> Order:
        return read_order(order_path(run, self._store))


def _tries(runs: Sequence[SubmittedRun], store: Store) -> dict[str, Any]:
    """What was asked for in the failed tries of each run, and how they ended."""
    tries = {run.run_id: tries_of(store, run.run_id) for run in runs if not run.features_only}
    found = {
        name: [{"mem_mb": one.memory, "minutes": one.minutes, "ended": one.kind} for one in of_run]
        for name, of_run in tries.items()
    }
    return {"tries": found} if any(found.values()) else {}


def ran_out_of_time(slurm: Slurm, elapsed: float, delay: float, limit: float) -> bool:
    """Whether this job was asked to stop because of its time limit, and not for another job's sake.

    Args:
        slurm: whom to ask.
        elapsed: seconds since the job began, on a clock that does not jump.
        delay: seconds before the limit at which jobs are told.
        limit: seconds that were asked for; Slurm may know another limit by now.
    """
    try:
        told = slurm.ask("squeue", "-h", "-j", own_job(), "-O", "TimeLimit:40,PreemptTime:40").split()
    except (SlurmMissing, SlurmUnreachable, SlurmRefused):  # a node need not have Slurm's commands on its path
        told = []  # the limit that was asked for has to do
    # A time of preemption is set: another job wants the node, however much time this one had left.
    if len(told) == 2 and told[1] not in ("N/A", "Unknown", "NONE"):
        return False
    found = seconds_of(told[0]) if told else limit
    return found is not None and elapsed >= found - delay - SLACK_S


def requeue(slurm: Slurm, patience: float) -> bool:
    """Put this job back into the queue, asking again for ``patience`` seconds while Slurm does not answer.

    Returns:
        Whether it is there. If not, its runs are as good as interrupted.
    """
    end = time.monotonic() + patience
    while True:
        try:
            slurm.ask("scontrol", "requeue", own_job())
        except SlurmUnreachable as error:
            if time.monotonic() > end:
                say(f"not put back into the queue: {error}")
                return False
            time.sleep(AGAIN_S)
        except (SlurmMissing, SlurmRefused) as error:  # it would refuse again
            say(f"not put back into the queue: {error}")
            return False
        else:
            say("put back into the queue")
            return True


def command_line() -> int:
    """Read the arguments of the process and do it; see ``main``."""
    parser = argparse.ArgumentParser(
        prog="python -m spectral_bench.bench.executors.slurm.job", description="Carry out one job."
    )
    parser.add_argument("folder", type=Path, help="folder of the submission")
    parser.add_argument("--index", type=int, default=int(os.environ.get("SLURM_ARRAY_TASK_ID", "0")))
    given = parser.parse_args()
    return main(given.folder, given.index)


if __name__ == "__main__":
    sys.exit(command_line())
