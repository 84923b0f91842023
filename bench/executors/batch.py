"""One call of the local executor: jobs that start, run and end as processes of this machine."""

from __future__ import annotations

import contextlib
import multiprocessing.connection
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess

from spectral_bench.bench.executors.child import Slot
from spectral_bench.bench.executors.interface import Event, Exit, Job, OnEvent
from spectral_bench.bench.executors.schedule import Schedule
from spectral_bench.bench.executors.verdict import Verdicts, memory_kills
from spectral_bench.bench.stopping import StopFlag
from spectral_bench.common.errors import StoreError
from spectral_bench.results.store import Store

POLL_S = 0.2
ELSEWHERE_S = 1.0

Start = Callable[[Job, int, Slot], ForkServerProcess]
"""Starts the worker of a job, given its known failures, on its share of the machine."""


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
    """

    def __init__(self, store: Store, jobs: list[Job], slots: list[Slot], grace: float, on_event: OnEvent) -> None:
        self.schedule = Schedule(jobs)
        self._verdicts = Verdicts(store, jobs)
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
            if (how := self._verdicts.elsewhere(job)) is not None:
                self._finish(job, how)
            elif self._verdicts.is_claimed(job):
                self._defer(job)
            else:
                slot = self._free.pop(0)
                self.schedule.begin(job)
                process = start(job, self._verdicts.known_failures(job), slot)
                self._active.append(Active(job, slot, process, memory_kills()))
                where = f" on GPU {slot.gpu}" if slot.gpu is not None else ""
                self._tell(Event("started", job.run_id, message=f"process {process.pid}{where}"))

    def _look_elsewhere(self) -> None:
        """From time to time: take up the runs that other launchers have let go of."""
        if time.monotonic() - self._looked < ELSEWHERE_S:
            return
        self._looked = time.monotonic()
        for job in self.schedule.deferred():
            if not self._verdicts.is_claimed(job):
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
            how = self._verdicts.judge(
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
                self._verdicts.lacks(other, lacking)
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
