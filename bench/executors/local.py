"""Carry out jobs on this machine: a process a run, several at a time, or one after the other in this process."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
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
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

from spectral_bench.bench.executors.batch import Active, Batch, Slot
from spectral_bench.bench.executors.jobs import (
    Event,
    Exit,
    Job,
    JobExits,
    OnEvent,
    Schedule,
    Target,
    require_gpu_each,
)
from spectral_bench.bench.features.backbones.registry import module_of
from spectral_bench.bench.measure.environment import THREADS_VARIABLE, usable_cpus
from spectral_bench.bench.work import worker
from spectral_bench.bench.work.order import SIGNALS, StopFlag, begin_sitting, read_order, stop_on_signals
from spectral_bench.common.errors import ConfigError, UserError
from spectral_bench.common.loaded import PACKAGE
from spectral_bench.datasets.registry import REGISTRY as DATA_SETS
from spectral_bench.methods.registry import REGISTRY as METHODS
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
            job = ready[0]  # one at a time: what ends may set others free, and comes first in the order of preference
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


# Imported once by the fork server, so that no worker pays for them.
PRELOAD = (
    "spectral_bench.common.uncollected",
    "torch",
    "timm",
    "torch.utils.flop_counter",
    "scipy.sparse.linalg",
    "spectral_bench.bench.work.worker",
    "spectral_bench.bench.run",
    "spectral_bench.bench.executors.local",
    "spectral_bench.bench.executors.warm",
)

_PARTS = "SPECTRAL_BENCH_PARTS"  # see ``warm``, which only the fork server imports
_THREADS = (THREADS_VARIABLE, "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


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
        require_gpu_each(count, gpus)  # two processes on one device would fight for its memory
        share = threads or max(1, usable_cpus() // count)
        self._slots = [Slot(share, gpus[index] if gpus else None) for index in range(count)]
        self._store, self._grace, self._target, self._preload = store, grace, target, list(preload)
        self._stop, self._admits = stop, admits

    def run(self, jobs: Iterable[Job], on_event: OnEvent) -> dict[str, Exit]:
        """Carry out ``jobs``: see ``Executor.run``."""
        begin_sitting()  # before the fork server starts, whose environment the workers get
        jobs = list(jobs)
        os.environ[_PARTS] = " ".join(_parts(jobs))
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(self._preload)
        # `insist` is off: the second Ctrl-C is the batch's to count, which passes it on to the workers.
        batch = Batch(self._store, jobs, self._slots, self._grace, on_event, self._admits)
        stop = self._stop or StopFlag()
        with stop_on_signals(stop, insist=False):
            try:
                batch.carry_out(functools.partial(self._start, context), stop)
            finally:
                batch.end_all()
        return batch.schedule.rest()

    def _start(self, context: ForkServerContext, jobs: list[Job], known_failures: list[int], slot: Slot) -> Active:
        paths = [job.order_path for job in jobs]
        if len(jobs) == 1:
            work = functools.partial(self._target, paths[0], known_failures=known_failures[0])
            return Active(dict(enumerate(jobs)), slot, self._begin(context, work, jobs, slot))
        # Shared memory and not the pipe: it is read after the worker's death, by whatever that came.
        turn = context.Value("i", -1, lock=False)
        ours, theirs = context.Pipe(duplex=False)
        # Our copy of their end is closed at once, else the pipe would not end with the worker.
        with theirs:
            several = functools.partial(_side_by_side, paths, known_failures, theirs, turn)
            process = self._begin(context, several, jobs, slot)
        return Active(dict(enumerate(jobs)), slot, process, ours, turn)

    def _begin(
        self, context: ForkServerContext, work: Callable[[], int], jobs: list[Job], slot: Slot
    ) -> ForkServerProcess:
        process = context.Process(target=enter, args=(work, slot, self._grace), name=jobs[0].run_id)
        with _nameless_main(), _signals_later():
            process.start()
        return process


def _parts(jobs: Iterable[Job]) -> list[str]:
    """The shipped modules that the jobs' methods, data sets and backbones are, told by one job of each method."""
    firsts = {job.run_id.rpartition("-s")[0]: job for job in jobs}
    found: set[str] = set()
    for job in firsts.values():
        with contextlib.suppress(UserError):  # of an order that cannot be read, or names nothing: the worker tells it
            spec = read_order(job.order_path).spec
            found.add(METHODS.module(spec.method))
            found |= {DATA_SETS.module(spec.data.dataset), module_of(spec.backbone.name)}
    return sorted(name for name in found if name.startswith(f"{PACKAGE}."))


@contextlib.contextmanager
def _nameless_main() -> Iterator[None]:
    # multiprocessing runs the launcher's main script again in each worker, which imports all that it needs by name.
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


def enter(work: Callable[[], int], slot: Slot, grace: float) -> None:
    """Do the work of a fresh process and leave with its exit code.

    The process leads a session of its own: Ctrl-C on the terminal reaches the launcher only, which passes it on, and
    the launcher can end the process with all of its helpers. If the launcher dies, the process is asked to stop, and
    ended after ``grace`` seconds. Signals that ask to stop are held back until the work listens to them.
    """
    os.setsid()  # first of all: until then Ctrl-C on the terminal hits this process too
    gc.enable()  # should the server have stopped preloading half-way
    threading.Thread(target=_follow_launcher, args=(grace,), name="launcher-watch", daemon=True).start()
    # `set_up_torch` asks here for the threads. CUDA reads its variable at its first call, which the server never made.
    os.environ |= dict.fromkeys(_THREADS, str(slot.threads))
    if slot.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = slot.gpu
    sys.exit(int(work()))


def _side_by_side(paths: list[Path], known_failures: list[int], wire: Connection, turn: ctypes.c_int) -> int:
    """Carry out several orders in this process, telling the launcher how each ends."""

    def begun(number: int) -> None:
        turn.value = number

    def ended(number: int, code: int) -> None:
        with contextlib.suppress(OSError):  # the launcher is gone: the store tells who comes next
            wire.send((number, code))

    return worker.main_together(paths, known_failures=known_failures, told=worker.Told(begun, ended))


def _follow_launcher(grace: float) -> None:
    launcher = multiprocessing.parent_process()
    if launcher is None:
        return
    # Without polling: its end of a pipe is closed however it dies.
    launcher.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace)
    # The session, this process included: helpers that load images would otherwise live on.
    os.killpg(os.getpid(), signal.SIGKILL)
