from __future__ import annotations

import errno
from pathlib import Path

import fake_work
import pytest
from fake_work import VIEWS, MakeOrder, spec_of

from spectral_bench.bench.work.order import read_order
from spectral_bench.bench.work.worker import failure_of, kind_of, log_of, record_failure
from spectral_bench.common.errors import ConfigError, DataError, StoreError, UserError
from spectral_bench.results.record import Failure
from spectral_bench.results.store import Store

pytestmark = pytest.mark.usefixtures("no_fsync")

FAILURE = Failure(kind="exception", message="boom")


class OutOfMemoryError(RuntimeError):
    """Named as torch's own class."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("x"), "exception"),
        (SystemExit(3), "exception"),
        (OSError(errno.EACCES, "denied"), "exception"),
        (MemoryError(), "out_of_memory"),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"), "out_of_memory"),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory"),
            "out_of_memory",
        ),
        (RuntimeError("CUDA error: out of memory"), "out_of_memory"),
        (RuntimeError("CUDA error: device-side assert triggered"), "exception"),
        (ValueError("can't allocate memory for a pun"), "exception"),
        (DataError("x"), "data"),
        (ConfigError("x"), "data"),
        (UserError("x"), "data"),
        (StoreError("x"), "store"),
        (OSError(errno.ENOSPC, "No space left on device"), "store"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "store"),
    ],
)
def test_kinds(error: BaseException, kind: str) -> None:
    assert kind_of(error) == kind


def test_torch_names_its_error_as_expected() -> None:
    torch = pytest.importorskip("torch")
    assert kind_of(torch.cuda.OutOfMemoryError("x")) == "out_of_memory"
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50, dtype=torch.uint8)
    assert kind_of(caught.value) == "out_of_memory"


def test_exception_keeps_its_traceback_and_cause(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("one\ntwo\n")
    try:
        try:
            raise KeyError("deep down")
        except KeyError as error:
            raise ValueError("above") from error
    except ValueError as error:
        failure = failure_of(error, tmp_path / "log.txt")
    assert failure.message == "ValueError: above"
    assert "KeyError: 'deep down'" in failure.traceback
    assert "test_exception_keeps_its_traceback_and_cause" in failure.traceback
    assert failure.log_tail == "one\ntwo"


def test_error_for_users_says_all_in_one_line() -> None:
    failure = failure_of(DataError("images/3.png: truncated"))
    assert (failure.message, failure.traceback, failure.log_tail) == ("images/3.png: truncated", "", "")


class TestRecording:
    def test_strikes_the_fit_while_there_is_none(self, store: Store, make_order: MakeOrder) -> None:
        order = read_order(make_order())
        record_failure(order, store, FAILURE, started="then")
        record = store.fit_record(order.spec.run_id)
        assert record is not None
        assert (record.status, record.failure, record.started) == ("failed", FAILURE, "then")
        assert record.spec == order.spec
        assert record.execution["executor"] == "test"
        assert record.environment["host"]

    def test_strikes_the_first_outstanding_view_after_the_fit(self, store: Store, make_order: MakeOrder) -> None:
        order = read_order(make_order())
        run = fake_work._Run(order, store, lambda: False)
        run.fit()
        run.evaluate(VIEWS[0])
        record_failure(order, store, FAILURE, started="then")
        done, failed = (store.evaluation_record(order.spec.run_id, view.view_id) for view in VIEWS)
        assert done is not None
        assert failed is not None
        assert (done.status, failed.status, failed.failure) == ("done", "failed", FAILURE)
        assert failed.view == VIEWS[1]

    def test_strikes_nothing_where_all_is_done(self, store: Store, make_order: MakeOrder) -> None:
        order = read_order(make_order())
        fake_work.execute(order, store=store, should_stop=lambda: False)
        before = store.load_all()
        record_failure(order, store, FAILURE, started="then")
        assert store.load_all() == before
        assert store.attempts(order.spec.run_id) == []


def test_logs(store: Store, make_order: MakeOrder) -> None:
    path = make_order()
    assert log_of(read_order(path), store, path) == store.run_folder(spec_of().run_id) / "log.txt"
    shared = make_order(features_only=True)
    assert log_of(read_order(shared), store, shared) == shared.with_suffix(".log")
