"""The life of a worker process that a launcher on the same machine has started."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from spectral_bench.bench.executors.interface import Target
from spectral_bench.bench.measure.environment import THREADS_VARIABLE

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
