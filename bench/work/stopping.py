"""How a process is asked to stop: signals set a flag that the work looks at between its steps."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

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
