"""The jobs of one call of the local executor: started, watched and reaped until all are over."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing.connection
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess

from spectral_bench.bench.executors.jobs import Event, Exit, Job, JobExits, OnEvent, Schedule, memory_kills
from spectral_bench.bench.work.order import StopFlag
from spectral_bench.bench.work.worker import ExitCode
from spectral_bench.common.errors import StoreError
from spectral_bench.results.store import Store

POLL_S = 0.2
ELSEWHERE_S = 1.0  # between two looks for runs that other launchers have let go of: locks of a shared file system


@dataclass(frozen=True)
class Slot:
    """A share of the machine that one worker at a time may use.

    Attributes:
        threads: of its operations.
        gpu: for ``CUDA_VISIBLE_DEVICES``; None: as it is.
    """

    threads: int
    gpu: str | None = None


@dataclass
class Active:
    """A worker at work.

    Attributes:
        jobs: those that it carries out and that have not ended, by their numbers.
        slot: its share of the machine.
        process: it.
        wire: where it tells the numbers of jobs and their exit codes; None: a worker of one job tells nothing.
        turn: the number of the job whose turn it is, below 0 before the first.
        memory_kills: how often the kernel had run out of memory when it began.
    """

    jobs: dict[int, Job]
    slot: Slot
    process: ForkServerProcess
    wire: Connection | None = None
    turn: ctypes.c_int | None = None
    memory_kills: int = 0


Start = Callable[[list[Job], list[int], Slot], Active]
"""Starts the worker of a job, or of several side by side, given their known failures, on its share of the machine."""


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
        self._suspects: set[str] = set()  # to be carried out alone: see _cut_short

    def carry_out(self, start: Start, stop: StopFlag) -> None:
        """Start, wait and reap until all jobs are over, or until asked to stop."""
        self._stop = stop
        while True:
            if not self._asked:
                self._look_elsewhere()
                self._fill(start)
            # `stuck` also where jobs wait for ever, as those whose base was merely interrupted: a later launch takes
            # them up.
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
        begun: set[str] = set()
        for job in self.schedule.ready():
            if not self._free:
                return
            if job.run_id in begun or not self._is_free(job):
                continue
            jobs = [job, *self._beside(job)]
            begun |= {one.run_id for one in jobs}
            for one in jobs:
                self.schedule.begin(one)
            known = [self._job_exits.known_failures(one) for one in jobs]
            # Before the start, so that none that hits the worker is missed.
            kills = memory_kills()
            active = start(jobs, known, self._free.pop(0))
            active.memory_kills = kills
            self._active.append(active)
            where = f" on GPU {active.slot.gpu}" if active.slot.gpu is not None else ""
            for one in jobs:
                self._tell(Event("started", one.run_id, message=f"process {active.process.pid}{where}"))

    def _beside(self, job: Job) -> list[Job]:
        if not job.cohort or job.run_id in self._suspects:
            return []
        # What was suspected of having broken a process runs alone until its verdict is there.
        others = (other for other in self.schedule.ready() if other != job and other.cohort == job.cohort)
        return [other for other in others if other.run_id not in self._suspects and self._is_free(other)]

    def _is_free(self, job: Job) -> bool:
        """Whether nobody has carried a job out or is at it; else it is noted."""
        if (how := self._job_exits.elsewhere(job)) is not None:
            self._finish(job, how)
        elif self._job_exits.is_claimed(job):
            self._defer(job)
        else:
            return True
        return False

    def _look_elsewhere(self) -> None:
        if time.monotonic() - self._looked < ELSEWHERE_S:
            return
        self._looked = time.monotonic()
        for job in self.schedule.deferred():
            if not self._job_exits.is_claimed(job):
                self.schedule.resume(job)

    def _wait(self) -> None:
        sentinels = [active.process.sentinel for active in self._active]
        wires = [active.wire for active in self._active if active.wire is not None]
        # With a timeout: signals, deferred jobs and the hours of a launch are looked at in between.
        multiprocessing.connection.wait([*sentinels, *wires], timeout=POLL_S) if sentinels else time.sleep(POLL_S)
        for active in [*self._active]:
            over = active.process.exitcode is not None  # asked first: what it has told before is there then
            self._hear(active)
            if over:
                self._active.remove(active)
                # To the front: jobs that come one after the other stay on one GPU.
                self._free.insert(0, active.slot)
                self._reap(active)
        self._tell(Event("tick"))

    def _hear(self, active: Active) -> None:
        """Take note of what has become of the jobs of a worker that carries out several."""
        try:
            while active.wire is not None and active.wire.poll():
                number, code = active.wire.recv()
                job = active.jobs.pop(number)
                if code == ExitCode.CROWDED:
                    self._suspects.add(job.run_id)
                    self._again(job, "out of memory beside others, goes on alone")
                else:
                    self._ended(active, job, code)
        except (EOFError, OSError):  # the worker is gone; its exit code says the rest
            active.wire = None

    def _reap(self, active: Active) -> None:
        _kill_helpers(active.process)
        code = active.process.exitcode or 0
        # Not when it was asked to stop: then its jobs are interrupted, and none of them is suspected.
        if active.turn is not None and not self._asked and not self._stop():
            self._cut_short(active)
        for job in active.jobs.values():
            self._ended(active, job, code)

    def _cut_short(self, active: Active) -> None:
        """Begin again what a worker of several jobs has left, which says nothing about any of them.

        The one whose turn it was goes on alone, and has its verdict there; the others go on side by side.
        """
        turn = active.turn.value if active.turn is not None else -1
        left, active.jobs = active.jobs, {}
        # Backwards, as each goes to the head of the queue.
        for number, job in reversed(left.items()):
            if (how := self._job_exits.recorded(job)) is not None:
                self._finish(job, how)
                continue
            if number == turn or turn not in left:
                self._suspects.add(job.run_id)
            alone = "alone" if job.run_id in self._suspects else "side by side with the rest"
            self._again(job, f"the process of its cohort was cut short, goes on {alone}")

    def _again(self, job: Job, why: str) -> None:
        self.schedule.again(job)
        self._tell(Event("again", job.run_id, message=why))

    def _ended(self, active: Active, job: Job, code: int) -> None:
        kills = memory_kills() - active.memory_kills
        stopping = self._asked > 0 or self._stop()
        try:
            how = self._job_exits.exit_of(job, code, stopping=stopping, memory_kills=kills)
        except StoreError as error:  # raised once all workers have stopped: see `_heed`
            self._trouble = self._trouble or error
            how = "pending"
        if how == "elsewhere":
            self._defer(job)
        else:
            self._finish(job, how)

    def _finish(self, job: Job, how: Exit) -> None:
        lost = self.schedule.finish(job, how)
        self._tell(Event("finished", job.run_id, how))
        for other, lacking in lost:  # a record each, so that nobody has to guess from an exit why they never began
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
        # A store that cannot be written is as good as a wish: nothing that is begun now could be kept.
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
    process.kill()
    _kill_helpers(process)


def _kill_helpers(process: ForkServerProcess) -> None:
    """End what is left of a worker's session, such as processes that loaded its images."""
    if process.pid is not None and process.pid > 0:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
