"""What every executor offers, and what those that start jobs share: which may begin next, how one really ended.

An executor carries out orders, and the records in the store are the only result: an exit code only hints.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from spectral_bench.bench.measure.environment import now
from spectral_bench.bench.work.order import Order, final_status, read_order
from spectral_bench.bench.work.progress import tail
from spectral_bench.bench.work.worker import ExitCode, log_of, record_failure
from spectral_bench.common.errors import ConfigError, StoreError
from spectral_bench.common.files import write_bytes
from spectral_bench.common.names import how_many
from spectral_bench.results.record import Failure
from spectral_bench.results.store import Busy, Store

Exit = Literal[
    "done",
    "not_converged",
    "failed",  # the failure is in the store
    "killed",  # the worker was cut short; the executor has put that into the store
    "dependency",  # a run that it needs did not succeed; the executor has put that into the store
    "interrupted",  # asked to stop in the middle; goes on when launched again
    "elsewhere",  # another launcher was at work on it when this one stopped
    "pending",  # not begun when the executor stopped
    "submitted",  # handed to a batch system that carries on without the launcher
]
"""How a job ended, as far as the launcher can tell."""

# Exits that leave a fit behind, which other runs can start from.
SUCCESSES: frozenset[Exit] = frozenset({"done", "not_converged"})

FAILURES: frozenset[Exit] = frozenset({"failed", "killed", "dependency"})  # exits with a failure in the store


@dataclass(frozen=True)
class Job:
    """One order to carry out.

    Attributes:
        run_id: the run; for an order that only prepares features, a name that no other job has.
        order_path: the JSON file of the ``bench.work.order.Order``.
        requires: jobs of the same batch that must succeed first. Names of no job in the batch count as done.
        cohort: jobs of one name here may be carried out side by side in one process; empty: alone.
    """

    run_id: str
    order_path: Path
    requires: frozenset[str] = frozenset()
    cohort: str = ""


@dataclass(frozen=True)
class Event:
    """What a launcher learns while jobs are carried out.

    Attributes:
        kind: ``submitted`` to a batch system; ``started``; ``finished`` (see ``exit``); ``elsewhere``: another
            launcher is at work on the run, which is waited for; ``again``: the process that carried it out with others
            was cut short, and it is going to be started again; ``stopping``: the jobs were asked to stop; ``tick``:
            nothing new, time to look at the progress files.
        run_id: the job, where it is about one.
        exit: how it ended, where it has.
        message: for people, one line.
    """

    kind: Literal["submitted", "started", "finished", "elsewhere", "again", "stopping", "tick"]
    run_id: str = ""
    exit: Exit | None = None
    message: str = ""


OnEvent = Callable[[Event], None]


class Target(Protocol):
    """What carries out an order file in a worker: ``bench.work.worker.main``."""

    def __call__(self, path: Path, /, *, known_failures: int | None) -> int:
        """Returns a ``bench.work.worker.ExitCode``; ``known_failures`` as in ``bench.work.worker.main``."""
        ...


class Executor(Protocol):
    """Carries out a batch of jobs."""

    name: str

    def run(self, jobs: Iterable[Job], on_event: OnEvent) -> dict[str, Exit]:
        """Carry out ``jobs``, each after those it requires, and report on the way.

        A job that ends badly leaves the others alone. A job that another launcher carries out is waited for.

        Args:
            jobs: in the order of preference.
            on_event: called in this thread; what it raises ends the batch.

        Returns:
            How each job ended, by run id.

        Raises:
            ConfigError: two jobs have one name, or they require each other in a circle.
            StoreError: the store cannot be written; the other jobs were asked to stop.
        """
        ...


def require_gpu_each(jobs: int, gpus: Sequence[str]) -> None:
    """Refuse more jobs at a time than there are GPUs to hand out; nothing is asked where none are.

    Raises:
        ConfigError: as said.
    """
    if gpus and jobs > len(gpus):
        raise ConfigError(f"--jobs {jobs}: more than the {how_many(len(gpus), 'device')} of --gpus {','.join(gpus)}")


class Schedule:
    """Jobs that wait, run and end; a job may begin once all jobs that it requires have succeeded.

    Args:
        jobs: in the order of preference.
        admits: whether a job may begin now; asked whenever there is room for it.

    Raises:
        ConfigError: two jobs have one name, or jobs require each other in a circle.
    """

    def __init__(self, jobs: Iterable[Job], admits: Callable[[Job], bool] = lambda job: True) -> None:
        self._jobs: dict[str, Job] = {}
        self._admits = admits
        for job in jobs:
            if job.run_id in self._jobs:
                raise ConfigError(f"job {job.run_id}: asked for twice")
            self._jobs[job.run_id] = job
        self._waiting = list(self._jobs)
        self._deferred: list[str] = []
        self.exits: dict[str, Exit] = {}
        if circle := self._circle():
            raise ConfigError(f"jobs that require each other in a circle: {', '.join(circle)}")

    @property
    def stuck(self) -> bool:
        """Whether nothing can begin unless a running job ends: all is over, or what is left waits for a lost cause."""
        return not self._deferred and not self.ready()

    def ready(self) -> list[Job]:
        """The waiting jobs that may begin now, deferred ones apart."""
        succeeded = {name for name, how in self.exits.items() if how in SUCCESSES}
        free = [self._jobs[name] for name in self._waiting if self._required(name) <= succeeded]
        return [job for job in free if self._admits(job)]

    def begin(self, job: Job) -> None:
        """Take a job out of the queue."""
        self._waiting.remove(job.run_id)

    def defer(self, job: Job) -> None:
        """Put a job aside that another launcher is at work on."""
        if job.run_id in self._waiting:
            self._waiting.remove(job.run_id)
        self._deferred.append(job.run_id)

    def deferred(self) -> list[Job]:
        """The jobs put aside."""
        return [self._jobs[name] for name in self._deferred]

    def again(self, job: Job) -> None:
        """Put a job that had begun back to the head of the queue."""
        self._waiting.insert(0, job.run_id)

    def resume(self, job: Job) -> None:
        """Put a deferred job back to the head of the queue."""
        self._deferred.remove(job.run_id)
        self._waiting.insert(0, job.run_id)

    def finish(self, job: Job, how: Exit) -> list[tuple[Job, str]]:
        """Note how a job ended.

        Returns:
            The jobs that can never begin because of it, each with the job they lack: their exit is ``dependency``
            where this one failed. Where it was merely interrupted they stay in the queue.
        """
        self.exits[job.run_id] = how
        for queue in (self._waiting, self._deferred):
            if job.run_id in queue:
                queue.remove(job.run_id)
        if how in SUCCESSES or how in ("interrupted", "elsewhere", "pending", "submitted"):
            return []
        return self._give_up(job.run_id)

    def rest(self) -> dict[str, Exit]:
        """How every job stands if nothing more is begun."""
        left: dict[str, Exit] = dict.fromkeys(self._waiting, "pending")
        left |= dict.fromkeys(self._deferred, "elsewhere")
        return {name: self.exits.get(name) or left.get(name, "pending") for name in self._jobs}

    def _give_up(self, lacking: str) -> list[tuple[Job, str]]:
        lost: list[tuple[Job, str]] = []
        for name in [name for name in (*self._waiting, *self._deferred) if lacking in self._required(name)]:
            if name not in self.exits:  # it may lack several, and is given up with the first
                lost.append((self._jobs[name], lacking))
                lost += self.finish(self._jobs[name], "dependency")
        return lost

    def _required(self, name: str) -> frozenset[str]:
        return self._jobs[name].requires & self._jobs.keys()

    def _circle(self) -> list[str]:
        left = dict.fromkeys(self._jobs)
        while free := [name for name in left if not self._required(name) & left.keys()]:
            for name in free:
                del left[name]
        return sorted(left)


_VMSTAT = Path("/proc/vmstat")


class JobExits:
    """Compares what the store holds of each job now with what it held when the batch was launched.

    Args:
        store: the store of all jobs.
        jobs: the batch.

    Raises:
        ConfigError: an order cannot be read.
    """

    def __init__(self, store: Store, jobs: Iterable[Job]) -> None:
        self._store = store
        self._paths = {job.run_id: job.order_path for job in jobs}
        self._orders = {name: read_order(path) for name, path in self._paths.items()}
        # How things stand now: only what comes on top of it is of this batch.
        self._attempts = {name: self._attempts_of(name) for name in self._orders}
        self._stored = {name: self._final_status(name) is not None for name in self._orders}
        self._started = now()

    def log(self, job: Job) -> Path:
        """Where the job's worker writes."""
        return log_of(self._orders[job.run_id], self._store, job.order_path)

    def elsewhere(self, job: Job) -> Exit | None:
        """How the job ended with another launcher since this one was launched; None if it has not, or not yet."""
        # Asked first: what the owner is about to write is not there yet.
        if self.is_claimed(job):
            return None
        status = self._final_status(job.run_id)
        if status is not None and not self._stored[job.run_id]:
            return status
        return "failed" if self._failed_since(job.run_id) else None

    def is_claimed(self, job: Job) -> bool:
        """Whether another process is at work on the job's run."""
        order = self._orders[job.run_id]
        return not order.features_only and self._store.is_claimed(order.spec.run_id)

    def known_failures(self, job: Job) -> int:
        """How many failures of the job's run there were at the launch: its worker must not try again after more."""
        return self._attempts[job.run_id]

    def forgive(self, job: Job) -> None:
        """Count the failures that the job's run has by now as known: it is tried again."""
        self._attempts[job.run_id] = self._attempts_of(job.run_id)

    def newest_failure(self, job: Job) -> str:
        """The kind of failure that the fit of the job's run has ended with; empty where it has not."""
        record = self._store.fit_record(job.run_id)
        return "" if record is None or record.failure is None else record.failure.kind

    def exit_of(self, job: Job, code: int, *, stopping: bool, memory_kills: int) -> Exit:
        """How the job of a worker that has just ended stands. What cut it short is put into the store.

        Args:
            job: the job.
            code: the worker's exit code; minus the signal that ended it.
            stopping: whether the workers were asked to stop.
            memory_kills: how often the kernel has run out of memory since the worker began.

        Raises:
            StoreError: the worker could not write to the store, or this process cannot.
        """
        if code == ExitCode.BUSY:
            return self.elsewhere(job) or "elsewhere"
        if code == ExitCode.INTERRUPTED:
            return "interrupted"
        if (how := self._ended(job.run_id, code)) is not None:
            return how
        if code == ExitCode.STORE:
            self._complain(job)
        # A worker that was asked to stop and then killed has lost nothing but its last steps.
        if stopping and code < 0:
            return "interrupted"
        return self._cut_short(job, code, memory_kills)

    def record_dependency(self, job: Job, required: str) -> None:
        """Record that a job cannot begin because one that it requires has failed.

        Raises:
            StoreError: the store cannot be written.
        """
        order = self._orders[required]
        last = tail(log_of(order, self._store, self._paths[required]))
        message = f"needs {required}, which did not succeed; its log ends as below"
        self._record(job, Failure(kind="dependency", message=message, log_tail=last))

    def recorded(self, job: Job) -> Exit | None:
        """How the job ended by what its worker has stored since this batch was launched; None if that says nothing."""
        return self._ended(job.run_id, ExitCode.INTERRUPTED)

    def _ended(self, name: str, code: int) -> Exit | None:
        """How a worker ended that had the time to say so; None if it was cut short."""
        if self._orders[name].features_only:
            return "done" if code == ExitCode.DONE else "failed" if code == ExitCode.FAILED else None
        status = self._final_status(name)
        if status is not None and (not self._stored[name] or code in (ExitCode.DONE, ExitCode.NOT_CONVERGED)):
            return status
        return "failed" if self._failed_since(name) else None

    def _cut_short(self, job: Job, code: int, memory_kills: int) -> Exit:
        failure = Failure(kind="killed", message=_words(code), log_tail=tail(self.log(job)))
        # The kernel names no victim: its counter rose while the worker was at work, and SIGKILL is what it sends.
        if code == -signal.SIGKILL and memory_kills:
            message = f"{failure.message}, very likely by the kernel, which ran out of memory meanwhile"
            failure = failure.model_copy(update={"kind": "out_of_memory", "message": message})
        return "killed" if self._record(job, failure) else "elsewhere"

    def _record(self, job: Job, failure: Failure) -> bool:
        """Put a failure into the store; false if another process has taken the run over."""
        order = self._orders[job.run_id]
        if order.features_only:
            return True
        try:
            # Under a claim: between the worker's end and this, another launcher may have begun the run anew.
            with self._store.claim(order.spec.run_id):
                record_failure(order, self._store, failure, started=self._started)
        except Busy:
            return False
        self.forgive(job)  # or a second try of this batch would take it for another's
        return True

    def _complain(self, job: Job) -> None:
        """Say why the store could not be written.

        Raises:
            StoreError: always.
        """
        probe = self._store.path / ".probe"
        write_bytes(probe, bytes(1 << 20))  # the same trouble again gives the best message
        probe.unlink(missing_ok=True)
        last = tail(self.log(job), lines=2).splitlines()[:1]
        raise StoreError(f"{self.log(job)}: a worker could not write to the store: {''.join(last)}")

    def _final_status(self, name: str) -> Exit | None:
        order: Order = self._orders[name]
        return None if order.features_only else final_status(order, self._store)

    def _failed_since(self, name: str) -> bool:
        return self._attempts_of(name) > self._attempts[name]

    def _attempts_of(self, name: str) -> int:
        order = self._orders[name]
        return 0 if order.features_only else len(self._store.attempts(order.spec.run_id))


def memory_kills() -> int:
    """How often this machine's kernel has killed a process for memory since it started; 0 where it does not say."""
    try:
        lines = _VMSTAT.read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))


def _words(code: int) -> str:
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = "unknown"
        return f"the worker was ended by signal {-code} ({name})"
    return f"the worker left with exit code {code} and without a record"
