"""Carry out jobs on this machine, one process a run, several at a time."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import multiprocessing.resource_tracker
import signal
import sys
import types
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.context import ForkServerContext, ForkServerProcess

from spectral_bench.bench import worker
from spectral_bench.bench.executors.batch import Batch
from spectral_bench.bench.executors.child import Slot, enter
from spectral_bench.bench.executors.interface import Exit, Job, OnEvent, Target, require_gpu_each
from spectral_bench.bench.measure.environment import usable_cpus
from spectral_bench.bench.sitting import begin_sitting
from spectral_bench.bench.stopping import SIGNALS, StopFlag, stop_on_signals
from spectral_bench.common.errors import ConfigError
from spectral_bench.results.store import Store

PRELOAD = (
    "torch",
    "timm",
    "scipy.sparse.linalg",
    "sklearn.cluster",
    "spectral_bench.bench.worker",
    "spectral_bench.bench.run",
    "spectral_bench.bench.executors.child",
)
"""Imported once by the fork server, so that no worker pays for them."""


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
    ) -> None:
        count = jobs if jobs is not None else max(1, len(gpus))
        if count < 1:
            raise ConfigError(f"--jobs {count}: expected at least 1")
        require_gpu_each(count, gpus)
        share = threads or max(1, usable_cpus() // count)
        self._slots = [Slot(share, gpus[index] if gpus else None) for index in range(count)]
        self._store, self._grace, self._target, self._preload = store, grace, target, list(preload)
        self._stop = stop

    def run(self, jobs: Iterable[Job], on_event: OnEvent) -> dict[str, Exit]:
        """Carry out ``jobs``: see ``Executor.run``."""
        begin_sitting()  # before the fork server starts, whose environment the workers get
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(self._preload)
        batch = Batch(self._store, list(jobs), self._slots, self._grace, on_event)
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
