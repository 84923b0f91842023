"""Carry out one order in this process: ``python -m spectral_bench.bench.work.worker ORDER.json``.

The records in the store are the only result, of failures too. The exit code says, for those who wait, how it ended: see
``ExitCode``.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import functools
import os
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pydantic import ValidationError

from spectral_bench.bench.measure.environment import environment, now, set_up_thread, set_up_torch
from spectral_bench.bench.work.order import (
    OneOfSeveral,
    StopFlag,
    fit_missing,
    missing_views,
    own_job,
    read_order,
    stop_on_signals,
)
from spectral_bench.bench.work.progress import LOG_FILE, Logs, into_log, own_output, say, tail
from spectral_bench.common.errors import RunInterrupted, StoreError, UserError
from spectral_bench.common.files import write_bytes
from spectral_bench.results.record import COHORT, EvaluationRecord, Failure, FitRecord
from spectral_bench.results.store import Busy, Store

if TYPE_CHECKING:
    from spectral_bench.bench.run import Outcome
    from spectral_bench.bench.run.cohort import Member
    from spectral_bench.bench.work.order import Order


class ExitCode(IntEnum):
    """How a worker left. Any other code, or a signal, means that it was cut short."""

    DONE = 0
    FAILED = 1
    """The failure is in the store."""
    BAD_ORDER = 2
    """The order or its store cannot be read; nothing was done."""
    NOT_CONVERGED = 3
    INTERRUPTED = 4
    """It was asked to stop and has saved what it needs to go on."""
    BUSY = 5
    """Another process works on the run, or has just failed at it; nothing was done."""
    STORE = 6
    """The store cannot be written, so not even the failure could be recorded."""
    CROWDED = 7
    """Out of memory beside others, which says nothing of the run: it is to be carried out alone."""


class Execute(Protocol):
    """What carries out an order whose run is claimed: ``bench.run.execute``."""

    def __call__(self, order: Order, *, store: Store, should_stop: Callable[[], bool]) -> Outcome:
        """Fit, evaluate and record."""
        ...


def main(
    path: Path,
    *,
    known_failures: int | None = None,
    execute: Execute | None = None,
    set_up: Callable[[Order], None] | None = None,
    log: bool | IntoLog = True,
    stop: StopFlag | None = None,
) -> int:
    """Claim the run of an order, carry it out, record a failure.

    Args:
        path: the order's JSON file.
        known_failures: how many failures of the run the launcher knew of. If there are more by the time that the run
            is claimed, another launcher has just tried: the run is left alone. None: try in any case.
        execute: what carries it out; None: ``bench.run.execute``.
        set_up: what prepares the process for it; None: torch's threads and determinism.
        log: send the output of the process into the log of the run, or what does.
        stop: set where this process is asked to stop, which carries out several runs; None: this one is alone.

    Returns:
        An ``ExitCode``.
    """
    try:
        order = read_order(path)
        store = Store.open(order.store)
    except UserError as error:
        say(f"error: {error}")
        return ExitCode.BAD_ORDER
    work = _Work(order, path, store, execute or _execute, set_up or _set_up, stop)
    try:
        with contextlib.ExitStack() as stack:
            if not order.features_only:  # features have a lock of their own, and belong to no run
                stack.enter_context(store.claim(order.spec.run_id, **_owner(order, shared=stop is not None)))
                # Counted under the claim, when nobody else can be about to add one.
                if known_failures is not None and len(store.attempts(order.spec.run_id)) > known_failures:
                    return ExitCode.BUSY
            if log:
                stack.enter_context(into_log(work.log) if log is True else log(work.log))
            return work.carry_out()
    except Busy as error:
        say(f"busy: {error}")
        return ExitCode.BUSY
    except (StoreError, OSError) as error:  # the latter where the log itself meets a full disk
        say(f"error: {error}")
        return ExitCode.STORE


IntoLog = Callable[[Path], contextlib.AbstractContextManager[None]]
"""Sends output to a log for the length of a block."""


@dataclass(frozen=True)
class Told:
    """What a process that carries out several orders tells its launcher.

    Attributes:
        begun: told of the number of the order whose turn it is.
        ended: told of the number of an order and its ``ExitCode``.
    """

    begun: Callable[[int], None]
    ended: Callable[[int, int], None]


def main_together(paths: Sequence[Path], *, known_failures: Sequence[int | None], told: Told) -> int:
    """Carry out orders side by side, each as ``main`` does, in a thread of its own: see ``bench.run.cohort``.

    Args:
        paths: the orders' JSON files; those whose graphs have the most neighbours have their turns first.
        known_failures: of each, as in ``main``.
        told: of each.

    Returns:
        An ``ExitCode`` for all of them; ``told`` knows what became of each.
    """
    from spectral_bench.bench.run.cohort import Cohort

    try:
        orders = [read_order(path) for path in paths]
    except UserError as error:
        say(f"error: {error}")
        return ExitCode.BAD_ORDER
    # The largest graph is built first, and smaller ones are cut out of it (`methods.shared`).
    turns = sorted(range(len(orders)), key=lambda number: -int(orders[number].spec.params.get("neighbours") or 0))
    stop = StopFlag()
    with own_output(), contextlib.closing(Logs(len(orders))) as logs:

        def begun(member: int) -> None:
            logs.turn(turns[member])
            told.begun(turns[member])

        _set_up(orders[0])  # the orders of one launch are executed alike
        ids = [orders[number].spec.run_id for number in turns]
        cohort = Cohort(ids, should_stop=stop, begun=begun)

        def carry_out(member: int) -> None:
            number, run = turns[member], cohort.members[member]
            run.begin()
            code = int(ExitCode.STORE)  # should `main` itself raise: the launcher is told something in any case
            try:
                set_up_thread()
                code = main(
                    paths[number],
                    known_failures=known_failures[number],
                    execute=functools.partial(_execute, cohort=run),
                    set_up=lambda order: None,
                    log=functools.partial(logs.into, number),
                    stop=stop,
                )
            finally:
                told.ended(number, code)
                run.leave()

        threads = [threading.Thread(target=carry_out, args=(member,)) for member in range(len(orders))]
        with stop_on_signals(stop, insist=False):
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():  # signals come between two waits, should they not come at once
                    thread.join(0.2)
    return ExitCode.INTERRUPTED if stop() else ExitCode.DONE


class _Work:
    """One claimed order at work."""

    def __init__(
        self,
        order: Order,
        path: Path,
        store: Store,
        execute: Execute,
        set_up: Callable[[Order], None],
        stop: StopFlag | None,
    ) -> None:
        self.order, self.store, self.log = order, store, log_of(order, store, path)
        self._path = path
        self._execute, self._set_up = execute, set_up
        self._started = now()
        self._stop = stop

    def carry_out(self) -> ExitCode:
        say(f"{self.order.spec.run_id}: begun by process {os.getpid()} on {socket.gethostname()}")
        if self._stop is not None:
            code = self._try(self._own(self._stop))
        else:
            stop = StopFlag()
            # insist: user code that never looks at its flag is left by a second Ctrl-C.
            with stop_on_signals(stop):
                code = self._try(stop if self.order.features_only else self._own(stop))
        say(f"{self.order.spec.run_id}: {code.name.lower().replace('_', ' ')}")
        return code

    def _own(self, stop: StopFlag) -> OneOfSeveral:
        """The flag of the run. One that goes on alone is one of several for who launched them: see ``STOP_FILE``."""
        return OneOfSeveral(stop, self.store.run_folder(self.order.spec.run_id))

    def _try(self, stop: StopFlag) -> ExitCode:
        try:
            self._set_up(self.order)
            outcome = self._execute(self.order, store=self.store, should_stop=stop)
            return ExitCode[outcome.status.upper()]
        except (RunInterrupted, KeyboardInterrupt):
            return ExitCode.INTERRUPTED
        except BaseException as error:  # SystemExit too: a method's own file may call sys.exit
            _tell(error)
            if stop():  # helpers that the same signal has ended make the strangest errors: no verdict on the method
                return ExitCode.INTERRUPTED
            return self._fail(error)

    def _fail(self, error: BaseException) -> ExitCode:
        # Beside others, which took their share: no verdict on the run, and nothing is recorded.
        if self._stop is not None and kind_of(error) == "out_of_memory":
            return ExitCode.CROWDED
        try:
            failure = failure_of(error, self.log)
            if self.order.features_only:
                write_bytes(failure_file(self._path), failure.model_dump_json(indent=1).encode())
            else:
                record_failure(self.order, self.store, failure, started=self._started)
        except StoreError as trouble:
            say(f"error: {trouble}")
            return ExitCode.STORE
        return ExitCode.FAILED


def _tell(error: BaseException) -> None:
    told = isinstance(error, UserError)
    say(f"error: {error}" if told else "".join(traceback.format_exception(error)).rstrip())


def _owner(order: Order, *, shared: bool) -> dict[str, str]:
    """What the owner of a claim says of itself."""
    job = own_job()
    facts = {"executor": order.execution.executor} | ({"job": job} if job else {})
    return facts | ({COHORT: "its process carries out other runs too"} if shared else {})


def _execute(order: Order, *, store: Store, should_stop: Callable[[], bool], cohort: Member | None = None) -> Outcome:
    from spectral_bench.bench.run import execute

    return execute(order, store=store, should_stop=should_stop, cohort=cohort)


def _set_up(order: Order) -> None:
    set_up_torch(order.execution)


def _command_line() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m spectral_bench.bench.work.worker", description="Carry out one order."
    )
    parser.add_argument("order", type=Path, help="JSON file of the order")
    parser.add_argument("--known-failures", type=int, help="leave the run alone if it has failed more often than this")
    given = parser.parse_args()
    return main(given.order, known_failures=given.known_failures)


# Failures as data: what went wrong, in words that tell the method's faults from others.


_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def kind_of(error: BaseException) -> str:
    """What kind of failure an exception is.

    Returns:
        ``out_of_memory`` (host or device), ``store`` (a disk or the store, not the method, is at fault), ``data``
        (something the user can mend) or ``exception``.
    """
    if _out_of_memory(error):
        return "out_of_memory"
    if isinstance(error, StoreError) or (isinstance(error, OSError) and error.errno in _NO_SPACE):
        return "store"
    return "data" if isinstance(error, UserError) else "exception"


def _out_of_memory(error: BaseException) -> bool:
    # Torch's own class cannot be named without importing torch; its CPU allocator raises a plain RuntimeError.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    words = ("can't allocate memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def failure_of(error: BaseException, log: Path | None = None) -> Failure:
    """An exception as a part of a record.

    Args:
        error: what was raised. Errors for users carry no traceback: their message says all.
        log: the run's log, whose end is kept.
    """
    told = isinstance(error, UserError)
    message = str(error) if told else f"{type(error).__name__}: {error}"
    trace = "" if told else "".join(traceback.format_exception(error))
    return Failure(kind=kind_of(error), message=message, traceback=trace, log_tail=tail(log) if log else "")


def record_failure(
    order: Order, store: Store, failure: Failure, *, started: str, asked: Mapping[str, int] | None = None
) -> None:
    """Store a failure with the part of the order it struck: the fit, or the first evaluation that is missing.

    Nothing is stored where nothing is missing. The caller owns the claim on the run.

    Args:
        order: what was asked for.
        store: where the record goes.
        failure: what went wrong.
        started: when the attempt began, UTC, ISO 8601.
        asked: what its job of Slurm asked for; None: this process is that job, and knows, or there was none.

    Raises:
        StoreError: the record cannot be written.
    """
    spec, here = order.spec, environment()
    here["slurm"] = {**(here["slurm"] or {}), **asked} if asked else here["slurm"]
    facts = {
        "run_id": spec.run_id,
        "status": "failed",
        "started": started,
        "finished": now(),
        "failure": failure,
        "environment": here,
        "execution": order.execution.model_dump(mode="json"),
    }
    # To the first part that is missing: all that comes after it has not been tried.
    if fit_missing(order, store):
        store.write_fit(FitRecord.model_validate(facts | {"spec": spec}))
        return
    for view in missing_views(order, store)[:1]:
        store.write_evaluation(EvaluationRecord.model_validate(facts | {"view": view, "view_id": view.view_id}))


def log_of(order: Order, store: Store, order_path: Path) -> Path:
    """Where a worker's output goes: the log of the run, or beside the order where it only prepares features."""
    if order.features_only:
        return order_path.with_suffix(".log")
    return store.run_folder(order.spec.run_id) / LOG_FILE


def failure_file(order_path: Path) -> Path:
    """Where the failure of an extraction of features is kept, which has no record: beside its order."""
    return order_path.with_suffix(".failure")


def extraction_failure(order_path: Path) -> Failure | None:
    """Why an extraction of features failed by its own word; None where it left none."""
    with contextlib.suppress(OSError, ValidationError):
        return Failure.model_validate_json(failure_file(order_path).read_bytes())
    return None


if __name__ == "__main__":
    sys.exit(_command_line())
