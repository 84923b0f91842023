"""Failures as data: what went wrong, in words that tell the method's faults from others."""

from __future__ import annotations

import contextlib
import errno
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from spectral_bench.bench.measure.environment import environment, now
from spectral_bench.bench.work.order import fit_missing, missing_views
from spectral_bench.bench.work.progress import LOG_FILE, tail
from spectral_bench.common.errors import StoreError, UserError
from spectral_bench.results.record import EvaluationRecord, Failure, FitRecord

if TYPE_CHECKING:
    from spectral_bench.bench.work.order import Order
    from spectral_bench.results.store import Store


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
    """Torch's own class cannot be named here without importing torch; its CPU allocator raises a RuntimeError."""
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


def record_failure(order: Order, store: Store, failure: Failure, *, started: str) -> None:
    """Store a failure with the part of the order it struck: the fit, or the first evaluation that is missing.

    Nothing is stored where nothing is missing. The caller owns the claim on the run.

    Args:
        order: what was asked for.
        store: where the record goes.
        failure: what went wrong.
        started: when the attempt began, UTC, ISO 8601.

    Raises:
        StoreError: the record cannot be written.
    """
    spec = order.spec
    facts = {
        "run_id": spec.run_id,
        "status": "failed",
        "started": started,
        "finished": now(),
        "failure": failure,
        "environment": environment(),
        "execution": order.execution.model_dump(mode="json"),
    }
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
