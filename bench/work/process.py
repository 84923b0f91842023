"""This process: how it is asked to stop, the Slurm job that it is part of, and the sitting of the runs it makes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import psutil

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)
"""Asked by an executor or a batch system; by Ctrl-C; by Slurm before preemption or the time limit."""


class StopFlag:
    """False until the process is asked to stop. Called as a function, it says which.

    Attributes:
        count: how often it was asked.
        signals: the numbers of the signals that asked.
    """

    def __init__(self) -> None:
        self.count = 0
        self.signals: list[int] = []

    def __call__(self) -> bool:
        """Whether it was asked to stop."""
        return self.count > 0

    def request(self, number: int | None = None) -> None:
        """Ask to stop, by a signal where a number is given."""
        if number is not None:
            self.signals.append(number)
        self.count += 1

    def forgive(self) -> None:
        """Forget what was asked without a signal."""
        self.count = len(self.signals)


STOP_FILE = "stop"
"""In the folder of a run: somebody wants this run stopped, which shares its process with others, or did."""

_LOOK_S = 0.5  # between two looks for such a file


class OneOfSeveral(StopFlag):
    """The flag of one run of several: set with that of their process, or where the folder of the run says so.

    Args:
        all_of_them: set when the process is asked to stop.
        folder: of the run.
    """

    def __init__(self, all_of_them: StopFlag, folder: Path) -> None:
        super().__init__()
        self._all, self._mark = all_of_them, folder / STOP_FILE
        self._looked = time.monotonic()
        self._mark.unlink(missing_ok=True)  # meant an earlier attempt

    def __call__(self) -> bool:
        """Whether it was asked to stop."""
        if not self.count and time.monotonic() - self._looked >= _LOOK_S:
            self._looked = time.monotonic()
            if self._mark.exists():
                self._mark.unlink(missing_ok=True)
                self.request()
        return self.count > 0 or self._all()


@contextlib.contextmanager
def stop_on_signals(flag: StopFlag, *, insist: bool = True) -> Iterator[None]:
    """Set ``flag`` at SIGTERM, SIGINT and SIGUSR2 for the length of the block; former handlers come back after it.

    Signals that were held back so far are let through, now that somebody listens. Outside of the main thread, where
    Python allows no handlers, nothing is done.

    Args:
        flag: set at each signal.
        insist: let a second SIGINT raise ``KeyboardInterrupt``, for work that does not look at its flag.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        again = flag()
        flag.request(number)
        if insist and again and number == signal.SIGINT:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


VARIABLE = "SPECTRAL_BENCH_SITTING"
"""How a launcher tells the workers that it starts on its own machine."""


def begin_sitting() -> None:
    """Make this process the sitting of the workers that it is going to start; a second time it stays the same."""
    os.environ[VARIABLE] = _this_process()


def sitting(executor: str) -> str:
    """The sitting of a run that this process carries out: host, number and start of the process that launched it.

    Args:
        executor: that the order was given to. A launch hands Slurm many jobs that start whenever there is room, so
            under ``slurm`` the job is the sitting.
    """
    job = os.environ.get("SLURM_JOB_ID", "") if executor == "slurm" else ""
    if job:
        restarts = os.environ.get("SLURM_RESTART_COUNT", "0")
        return f"slurm job {job}" + (f", restart {restarts}" if restarts != "0" else "")
    return os.environ.get(VARIABLE) or _this_process()


def _this_process() -> str:
    begun = datetime.fromtimestamp(psutil.Process().create_time(), UTC)
    return f"{socket.gethostname()}, process {os.getpid()} of {begun.isoformat(timespec='milliseconds')}"


def own_job(environ: Mapping[str, str] = os.environ) -> str:
    """The id by which Slurm's commands reach the job of this process, and no other; empty outside of a job.

    A job of an array is named ``<array>_<index>``. ``SLURM_JOB_ID`` alone would not do: the last job of an array to
    start keeps the array's own id, and a command that is given that id acts on the whole array (Slurm 22.05.8).
    """
    array, index = environ.get("SLURM_ARRAY_JOB_ID"), environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{index}" if array and index else environ.get("SLURM_JOB_ID", "")
