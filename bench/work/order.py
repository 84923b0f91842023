"""What a worker is told: its order, the wish to stop, and which job and sitting its process belongs to.

An order is one fit, the evaluations of it that are wanted, and how to execute them; also here: which part of it is
stored already. Needs no torch.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Literal

import psutil
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spectral_bench.common.errors import ConfigError
from spectral_bench.results.documents import names_in
from spectral_bench.results.specification import FitSpec, View
from spectral_bench.results.state import Ended, StoredRun

if TYPE_CHECKING:
    from spectral_bench.results.store import Store


ORDER_PREFIX = "order-"  # what the names of the files of orders begin with, in the folder of their run

_ORDER_FILE = re.compile(rf"{ORDER_PREFIX}[0-9a-f]{{8}}\.json")


def order_files(folder: Path) -> list[Path]:
    """The files of all orders in the folder of a run; copies of sync clients are passed over."""
    return [folder / name for name in names_in(folder) if _ORDER_FILE.fullmatch(name)]


def newest_order(folder: Path) -> Path | None:
    """The file of the order that was last written into the folder of a run; None where none was."""
    # By time, since names are hashes. An order that is given again is written again, and so is the newest.
    return max(order_files(folder), key=lambda path: path.stat().st_mtime_ns, default=None)


class Execution(BaseModel):
    """How a run is executed. None of it is part of an identity.

    Workers, inference batch, executor, cache and checkpoints change no result beyond 1e-4. Device and threads change
    rounding, which the training of a network amplifies: what is trained with others is another sample, like another
    seed's (docs/devices.md).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: str = Field("auto", description="auto (CUDA where there is one), cpu, cuda, cuda:N")
    threads: int = Field(0, ge=0, description="torch threads; 0: all cores divided by the jobs")
    workers: int = Field(2, ge=0, description="threads that decode and augment images, and processes that compute CRFs")
    inference_batch: int = Field(8, ge=1, description="images a forward pass of the backbone")
    cache_limit: int = Field(50 * 10**9, ge=0, description="bytes that the feature caches of a plan may take")
    checkpoint_every: float = Field(120.0, ge=0, description="seconds between checkpoints of a fit")
    executor: str = "inline"


class Order(BaseModel):
    """One unit of work. A worker is started with the path of its JSON; the records are its only result."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    spec: FitSpec
    views: tuple[View, ...] = ()
    requires: str | None = Field(None, description="run id of the fit that this one starts from (fit_from)")
    store: Path = Field(description="absolute path of the store")
    data_roots: tuple[Path, ...] = ()
    execution: Execution = Execution()
    features_only: bool = Field(False, description="extract the cached features and stop (a job that runs share)")


def read_order(path: Path) -> Order:
    """The order in a JSON file.

    Raises:
        ConfigError: the file is missing or holds no valid order.
    """
    try:
        return Order.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: the order cannot be read ({error.strerror})") from error
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        place = ".".join(map(str, problem["loc"]))
        raise ConfigError(f"{path}: not a valid order ({place + ': ' if place else ''}{problem['msg']})") from error


def fit_missing(order: Order, store: Store) -> bool:
    """Whether the order's fit has no record, or only a failed one."""
    return not StoredRun(store.fit_record(order.spec.run_id)).fitted


def missing_views(order: Order, store: Store) -> list[View]:
    """The order's views whose evaluation has no intact record, or only a failed one, whatever became of the fit."""
    run_id = order.spec.run_id
    records = ((view, store.evaluation_record(run_id, view.view_id)) for view in order.views)
    return [view for view, record in records if record is None or record.status == "failed"]


def final_status(order: Order, store: Store) -> Literal["done", "not_converged"] | None:
    """How an order ended of which everything is stored; None where something is missing."""
    run_id = order.spec.run_id
    fit = store.fit_record(run_id)
    if not StoredRun(fit).fitted:  # spares most runs that wait a look at their views
        return None
    stored: StoredRun[Ended] = StoredRun(
        fit, {view.view_id: store.evaluation_record(run_id, view.view_id) for view in order.views}
    )
    if stored.missing:
        return None
    return "done" if stored.not_converged is None else "not_converged"


# The wish to stop, as it reaches a process or one run of several.


# Asked by an executor or a batch system; by Ctrl-C; by Slurm before preemption or the time limit.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)


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


# In the folder of a run: somebody wants this run stopped, which shares its process with others, or did.
STOP_FILE = "stop"

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
        # Before the request, which sets the flag.
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


# Which sitting, and which job of Slurm, this process is part of.


VARIABLE = "SPECTRAL_BENCH_SITTING"  # how a launcher tells the workers that it starts on its own machine


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
    # Inherited from the launcher by way of the fork server: a worker that is started by hand is its own sitting.
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
