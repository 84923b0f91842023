"""Carry out jobs on this machine: a process a run, several at a time, or one after the other in this process."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import multiprocessing.connection
import multiprocessing.resource_tracker
import os
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

from spectral_bench.bench.executors.jobs import (
    Event,
    Exit,
    Job,
    JobExits,
    OnEvent,
    Schedule,
    Target,
    memory_kills,
    require_gpu_each,
)
from spectral_bench.bench.measure.environment import THREADS_VARIABLE, usable_cpus
from spectral_bench.bench.work import worker
from spectral_bench.bench.work.process import SIGNALS, StopFlag, begin_sitting, stop_on_signals
from spectral_bench.common.errors import ConfigError, StoreError
from spectral_bench.results.store import Store


def _work(path: Path, *, known_failures: int | None) -> int:
    return worker.main(path, known_failures=known_failures, log=False)


class InlineExecutor:
    """Carries out jobs in this process. A crash of one is a crash of all; Ctrl-C stops after a checkpoint.

    Args:
        store: the store of all jobs.
        target: what carries out an order file.
        admits: whether a job may begin now.
    """

    name = "inline"

    def __init__(
        self, store: Store, *, target: Target = _work, admits: Callable[[Job], bool] = lambda job: True
    ) -> None:
        self._store, self._target, self._admits = store, target, admits

    def run(self, jobs: Iterable[Job], on_event: OnEvent) -> dict[str, Exit]:
        """Carry out ``jobs``: see ``Executor.run``. Runs of other launchers are left to them, not waited for."""
        begin_sitting()
        jobs = list(jobs)
        schedule, job_exits = Schedule(jobs, self._admits), JobExits(self._store, jobs)
        while ready := schedule.ready():
            job = ready[0]
            how = job_exits.elsewhere(job) or self._do(job, job_exits, on_event)
            if how == "elsewhere":
                schedule.defer(job)
                on_event(Event("elsewhere", job.run_id))
                continue
            on_event(Event("finished", job.run_id, how))
            for lost, lacking in schedule.finish(job, how):
                job_exits.record_dependency(lost, lacking)
                on_event(Event("finished", lost.run_id, "dependency", f"needs {lacking}"))
            if how == "interrupted":
                on_event(Event("stopping"))
                break
        return schedule.rest()

    def _do(self, job: Job, job_exits: JobExits, on_event: OnEvent) -> Exit:
        on_event(Event("started", job.run_id))
        code = self._target(job.order_path, known_failures=job_exits.known_failures(job))
        return job_exits.exit_of(job, code, stopping=False, memory_kills=0)


PRELOAD = (
    "torch",
    "timm",
    "scipy.sparse.linalg",
    "spectral_bench.bench.work.worker",
    "spectral_bench.bench.run",
    "spectral_bench.bench.executors.local",
    "spectral_bench.bench.executors.warm",
)
"""Imported once by the fork server, so that no worker pays for them."""

POLL_S = 0.2

ELSEWHERE_S = 1.0

_THREADS = (THREADS_VARIABLE, "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Slot:
    """A share of the machine that one worker at a time may use.

    Attributes:
        threads: of its operations.
        gpu: for ``CUDA_VISIBLE_DEVICES``; None: as it is.
    """

    threads: int
    gpu: str | None = None


Start = Callable[[Job, int, Slot], ForkServerProcess]
"""Starts the worker of a job, given its known failures, on its share of the machine."""


class LocalExecutor:
    """Carries out each job in a process of its own, forked from a server that holds the heavy imports.

    Ctrl-C (or SIGTERM) asks the workers to checkpoint and stop, and waits ``grace`` seconds for it; a second one ends
    them at once. Either way the store stays valid and the same command goes on later. If the launcher itself is
    killed, its workers notice at once and stop in the same way.

    Args:
        store: the store of all jobs.
        jobs: processes at a time; None: one a GPU, or one.
        gpus: the devices to hand out, one a process, as in ``CUDA_VISIBLE_DEVICES``; empty: leave that alone.
        threads: of each process; 0: the usable processors divided by ``jobs``. An order's own number takes precedence.
        grace: seconds that a worker may take to stop.
        target: what carries out an order file in the worker process; importable by its name.
        preload: modules that the fork server imports; those that cannot be imported are passed over.
        stop: set at the signals that ask to stop, and heeded; None: a fresh one for each batch.
        admits: whether a job may begin now.

    Raises:
        ConfigError: ``jobs`` is below 1 or above the number of GPUs.
    """

    name = "local"

    def __init__(
        self,
        store: Store,
        *,
        jobs: int | None = None,
        gpus: Sequence[str] = (),
        threads: int = 0,
        grace: float = 60.0,
        target: Target = worker.main,
        preload: Sequence[str] = PRELOAD,
        stop: StopFlag | None = None,
        admits: Callable[[Job], bool] = lambda job: True,
    ) -> None:
        count = jobs if jobs is not None else max(1, len(gpus))
        if count < 1:
            raise ConfigError(f"--jobs {count}: expected at least 1")
        require_gpu_each(count, gpus)
        share = threads or max(1, usable_cpus() // count)
        self._slots = [Slot(share, gpus[index] if gpus else None) for index in range(count)]
        self._store, self._grace, self._target, self._preload = store, grace, target, list(preload)
        self._stop, self._admits = stop, admits

    def run(self, jobs: Iterable[Job], on_event: OnEvent) -> dict[str, Exit]:
        """Carry out ``jobs``: see ``Executor.run``."""
        begin_sitting()  # before the fork server starts, whose environment the workers get
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(self._preload)
        batch = Batch(self._store, list(jobs), self._slots, self._grace, on_event, self._admits)
        stop = self._stop or StopFlag()
        with stop_on_signals(stop, insist=False):
            try:
                batch.carry_out(functools.partial(self._start, context), stop)
            finally:
                batch.end_all()
        return batch.schedule.rest()

    def _start(self, context: ForkServerContext, job: Job, known_failures: int, slot: Slot) -> ForkServerProcess:
        arguments = (self._target, job.order_path, known_failures, slot, self._grace)
        process = context.Process(target=enter, args=arguments, name=job.run_id)
        with _nameless_main(), _signals_later():
            process.start()
        return process


@contextlib.contextmanager
def _nameless_main() -> Iterator[None]:
    """Keep multiprocessing from running the launcher's main script again in each worker: workers import by name."""
    before = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = before


@contextlib.contextmanager
def _signals_later() -> Iterator[None]:
    """Hold back all that asks to stop: the first start launches the fork server, which inherits this.

    Ctrl-C reaches it with everything else on the terminal, and Slurm signals every process of a job. Without it,
    nobody would learn how the workers end.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        multiprocessing.resource_tracker.ensure_running()  # which unblocks signals if it is launched along the way
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass
class Active:
    """A worker at work."""

    job: Job
    slot: Slot
    process: ForkServerProcess
    memory_kills: int


class Batch:
    """The jobs of one call.

    Args:
        store: the store of all jobs.
        jobs: in the order of preference.
        slots: shares of the machine; as many workers run at a time.
        grace: seconds that workers may take to stop.
        on_event: told of all that happens.
        admits: whether a job may begin now.
    """

    def __init__(
        self,
        store: Store,
        jobs: list[Job],
        slots: list[Slot],
        grace: float,
        on_event: OnEvent,
        admits: Callable[[Job], bool] = lambda job: True,
    ) -> None:
        self.schedule = Schedule(jobs, admits)
        self._job_exits = JobExits(store, jobs)
        self._free = list(slots)
        self._grace = grace
        self._tell = on_event
        self._active: list[Active] = []
        self._trouble: StoreError | None = None
        self._stop = StopFlag()
        self._asked = 0
        self._deadline = float("inf")
        self._looked = time.monotonic()

    def carry_out(self, start: Start, stop: StopFlag) -> None:
        """Start, wait and reap until all jobs are over, or until asked to stop."""
        self._stop = stop
        while True:
            if not self._asked:
                self._look_elsewhere()
                self._fill(start)
            if not self._active and (self._asked or self.schedule.stuck):
                break
            self._wait()
            self._heed(stop)
        if self._trouble is not None:
            raise self._trouble

    def end_all(self) -> None:
        """Kill what is still alive: nothing after an orderly end."""
        for active in self._active:
            _kill(active.process)
            active.process.join()

    def _fill(self, start: Start) -> None:
        for job in self.schedule.ready():
            if not self._free:
                return
            if (how := self._job_exits.elsewhere(job)) is not None:
                self._finish(job, how)
            elif self._job_exits.is_claimed(job):
                self._defer(job)
            else:
                slot = self._free.pop(0)
                self.schedule.begin(job)
                process = start(job, self._job_exits.known_failures(job), slot)
                self._active.append(Active(job, slot, process, memory_kills()))
                where = f" on GPU {slot.gpu}" if slot.gpu is not None else ""
                self._tell(Event("started", job.run_id, message=f"process {process.pid}{where}"))

    def _look_elsewhere(self) -> None:
        """From time to time: take up the runs that other launchers have let go of."""
        if time.monotonic() - self._looked < ELSEWHERE_S:
            return
        self._looked = time.monotonic()
        for job in self.schedule.deferred():
            if not self._job_exits.is_claimed(job):
                self.schedule.resume(job)

    def _wait(self) -> None:
        """Until a worker ends, or for a moment."""
        sentinels = [active.process.sentinel for active in self._active]
        multiprocessing.connection.wait(sentinels, timeout=POLL_S) if sentinels else time.sleep(POLL_S)
        for active in [active for active in self._active if active.process.exitcode is not None]:
            self._active.remove(active)
            self._free.insert(0, active.slot)
            self._reap(active)
        self._tell(Event("tick"))

    def _reap(self, active: Active) -> None:
        _kill_helpers(active.process)
        code = active.process.exitcode
        kills = memory_kills() - active.memory_kills
        try:
            how = self._job_exits.exit_of(
                active.job, code or 0, stopping=self._asked > 0 or self._stop(), memory_kills=kills
            )
        except StoreError as error:
            self._trouble = self._trouble or error
            how = "pending"
        if how == "elsewhere":
            self._defer(active.job)
        else:
            self._finish(active.job, how)

    def _finish(self, job: Job, how: Exit) -> None:
        lost = self.schedule.finish(job, how)
        self._tell(Event("finished", job.run_id, how))
        for other, lacking in lost:
            try:
                self._job_exits.record_dependency(other, lacking)
            except StoreError as error:
                self._trouble = self._trouble or error
            self._tell(Event("finished", other.run_id, "dependency", f"needs {lacking}"))

    def _defer(self, job: Job) -> None:
        self.schedule.defer(job)
        self._tell(Event("elsewhere", job.run_id, message="another launcher is at work on it"))

    def _heed(self, stop: StopFlag) -> None:
        """Pass a wish to stop on to the workers; insist at the second, or when they take too long."""
        wish = stop.count if self._trouble is None else max(1, stop.count)
        if wish and not self._asked:
            self._deadline = time.monotonic() + self._grace
            self._tell(Event("stopping", message="waiting for the workers to save what they have"))
            for active in self._active:
                active.process.terminate()
        if self._asked < 2 and (wish > 1 or time.monotonic() > self._deadline):
            wish = 2
            for active in self._active:
                _kill(active.process)
        self._asked = max(self._asked, wish)


def _kill(process: ForkServerProcess) -> None:
    """End a worker and its helpers at once."""
    process.kill()
    _kill_helpers(process)


def _kill_helpers(process: ForkServerProcess) -> None:
    """End what is left of a worker's session, such as processes that loaded its images."""
    if process.pid is not None and process.pid > 0:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def enter(target: Target, order_path: Path, known_failures: int, slot: Slot, grace: float) -> None:
    """Carry out an order in a fresh process and leave with its exit code.

    The process leads a session of its own: Ctrl-C on the terminal reaches the launcher only, which passes it on, and
    the launcher can end the process with all of its helpers. If the launcher dies, the process is asked to stop, and
    ended after ``grace`` seconds. Signals that ask to stop are held back until the work listens to them.
    """
    os.setsid()
    threading.Thread(target=_follow_launcher, args=(grace,), name="launcher-watch", daemon=True).start()
    os.environ |= dict.fromkeys(_THREADS, str(slot.threads))
    if slot.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = slot.gpu
    sys.exit(int(target(order_path, known_failures=known_failures)))


def _follow_launcher(grace: float) -> None:
    """Wait, without polling, until the launcher is gone: then its end of a pipe is closed, however it died."""
    launcher = multiprocessing.parent_process()
    if launcher is None:
        return
    launcher.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace)
    os.killpg(os.getpid(), signal.SIGKILL)
