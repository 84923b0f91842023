from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_work
import pytest
from fake_work import VIEWS, MakeOrder, spec_of

from spectral_bench.bench.work import order as process
from spectral_bench.bench.work.order import STOP_FILE
from spectral_bench.bench.work.worker import ExitCode, main
from spectral_bench.common.errors import RunInterrupted
from spectral_bench.results.store import Store

pytestmark = pytest.mark.usefixtures("no_fsync")


def work(path: Path, **options: Any) -> int:
    return main(path, execute=fake_work.execute, set_up=lambda order: None, **options)


def test_leaves_records_and_nothing_else_tells_the_result(store: Store, make_order: MakeOrder) -> None:
    assert work(make_order()) == ExitCode.DONE
    run = store.load_run(spec_of().run_id)
    assert run is not None
    assert run.fit.status == "done"
    assert set(run.evaluations) == {view.view_id for view in VIEWS}
    assert store.state(run.run_id) == "done"


def test_one_that_goes_on_alone_is_still_stopped_by_its_file(
    store: Store, make_order: MakeOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Slurm job asks one run of a cohort to stop so, and need not know that it was given a process of its own."""
    monkeypatch.setattr(process, "_LOOK_S", 0.0)
    mark = store.run_folder(spec_of().run_id) / STOP_FILE

    def long(order: Any, *, should_stop: Callable[[], bool], **rest: Any) -> Any:
        assert not should_stop()
        mark.write_bytes(b"")
        assert should_stop()
        raise RunInterrupted

    assert main(make_order(), execute=long, set_up=lambda order: None) == ExitCode.INTERRUPTED
    assert not mark.exists()


def test_same_order_again_does_nothing_twice(store: Store, make_order: MakeOrder) -> None:
    for _ in range(2):
        assert work(make_order()) == ExitCode.DONE
    assert fake_work.count(store, 0, "fits") == 1


def test_output_of_all_kinds_goes_to_the_log(
    store: Store, make_order: MakeOrder, capfd: pytest.CaptureFixture[str]
) -> None:
    def chatty(order: Any, **rest: Any) -> SimpleNamespace:
        import logging
        import warnings

        sys.stdout.write("a print\n")
        sys.stderr.write("an error line\n")
        os.write(1, b"from C code\n")
        subprocess.run(["echo", "from a child"], check=True)
        logging.getLogger("some.library").warning("a log record")
        warnings.warn("a warning", stacklevel=1)
        return SimpleNamespace(status="done")

    assert main(make_order(), execute=chatty, set_up=lambda order: None) == ExitCode.DONE
    log = (store.run_folder(spec_of().run_id) / "log.txt").read_text()
    for words in (
        "begun by process",
        "a print",
        "an error line",
        "from C code",
        "from a child",
        "a log record",
        "a warning",
        ": done",
    ):
        assert words in log
    assert capfd.readouterr() == ("", "")
    sys.stdout.write("heard again\n")
    assert capfd.readouterr().out == "heard again\n"


def test_log_is_appended_to(store: Store, make_order: MakeOrder) -> None:
    work(make_order())
    work(make_order())
    assert (store.run_folder(spec_of().run_id) / "log.txt").read_text().count("begun by process") == 2


@pytest.mark.parametrize(
    ("act", "kind", "message"),
    [
        ("raise", "exception", "ValueError: boom: the method is at fault"),
        ("memory", "out_of_memory", "MemoryError: no 3 TB here"),
        ("data", "data", "images/17.png: not an image"),
    ],
)
def test_failure_of_a_fit_is_data(store: Store, make_order: MakeOrder, act: str, kind: str, message: str) -> None:
    behaviour = {"stage": "fit", "act": act}
    assert work(make_order(**behaviour)) == ExitCode.FAILED
    record = store.fit_record(spec_of(**behaviour).run_id)
    assert record is not None
    assert record.failure is not None
    assert (record.status, record.failure.kind, record.failure.message) == ("failed", kind, message)
    assert ("in execute" in record.failure.traceback) == (kind != "data")
    assert "now at fit" in record.failure.log_tail
    assert message in record.failure.log_tail
    assert record.environment["python"]
    assert store.attempts(record.run_id) == ["1"]


def test_failure_of_an_evaluation_leaves_the_fit_and_earlier_views(store: Store, make_order: MakeOrder) -> None:
    behaviour = {"stage": "evaluate", "act": "raise", "always": True}
    run_id = spec_of(**behaviour).run_id
    assert work(make_order(**behaviour)) == ExitCode.FAILED
    run = store.load_run(run_id)
    assert run is not None
    assert run.fit.status == "done"
    failed = run.evaluations[VIEWS[0].view_id]
    assert failed.failure is not None
    assert failed.failure.message.startswith("ValueError: boom")
    assert list(run.evaluations) == [VIEWS[0].view_id]


def test_retry_replaces_the_failure_and_keeps_the_attempt(store: Store, make_order: MakeOrder) -> None:
    behaviour = {"stage": "fit", "act": "raise"}
    assert work(make_order(**behaviour)) == ExitCode.FAILED
    assert work(make_order(**behaviour)) == ExitCode.DONE
    run_id = spec_of(**behaviour).run_id
    assert store.state(run_id) == "done"
    assert store.attempts(run_id) == ["1"]


@pytest.mark.parametrize(("known", "expected"), [(None, ExitCode.DONE), (1, ExitCode.DONE), (0, ExitCode.BUSY)])
def test_run_that_has_failed_since_the_launch_is_left_alone(
    store: Store, make_order: MakeOrder, known: int | None, expected: int
) -> None:
    path = make_order(stage="fit", act="raise")
    assert work(path, known_failures=0) == ExitCode.FAILED
    assert work(path, known_failures=known) == expected


def test_failure_after_everything_is_stored_changes_no_record(store: Store, make_order: MakeOrder) -> None:
    behaviour = {"stage": "done", "act": "raise"}
    assert work(make_order(**behaviour)) == ExitCode.FAILED
    assert store.state(spec_of(**behaviour).run_id) == "done"
    assert store.attempts(spec_of(**behaviour).run_id) == []


def test_not_converged(store: Store, make_order: MakeOrder) -> None:
    assert work(make_order(act="diverge")) == ExitCode.NOT_CONVERGED
    assert store.state(spec_of(act="diverge").run_id) == "not_converged"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR2])
def test_signals_ask_to_stop_and_it_goes_on_later(store: Store, make_order: MakeOrder, number: signal.Signals) -> None:
    path = make_order(stage="fit", act="patient")
    fake_work.signal_at_fit(store.run_folder(spec_of(stage="fit", act="patient").run_id), number)
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)]
    assert work(path) == ExitCode.INTERRUPTED
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)] == before
    run_id = spec_of(stage="fit", act="patient").run_id
    assert store.state(run_id) == "interrupted"
    assert store.fit_record(run_id) is None
    assert store.attempts(run_id) == []
    assert work(path) == ExitCode.DONE


def test_second_interrupt_ends_work_that_does_not_listen(store: Store, make_order: MakeOrder) -> None:
    def deaf(order: Any, **rest: Any) -> SimpleNamespace:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
        raise AssertionError

    assert main(make_order(), execute=deaf, set_up=lambda order: None) == ExitCode.INTERRUPTED
    assert store.attempts(spec_of().run_id) == []


def test_errors_that_follow_from_the_signal_are_no_failure(store: Store, make_order: MakeOrder) -> None:
    def broken(order: Any, **rest: Any) -> SimpleNamespace:
        os.kill(os.getpid(), signal.SIGINT)
        raise BrokenPipeError("a helper was ended by the same signal")

    assert main(make_order(), execute=broken, set_up=lambda order: None) == ExitCode.INTERRUPTED
    assert store.attempts(spec_of().run_id) == []
    assert "BrokenPipeError" in (store.run_folder(spec_of().run_id) / "log.txt").read_text()


def test_interruption_raised_by_the_run_itself(store: Store, make_order: MakeOrder) -> None:
    def stopped(order: Any, **rest: Any) -> SimpleNamespace:
        raise RunInterrupted

    assert main(make_order(), execute=stopped, set_up=lambda order: None) == ExitCode.INTERRUPTED


def test_busy_run_is_left_alone(store: Store, make_order: MakeOrder, capfd: pytest.CaptureFixture[str]) -> None:
    path = make_order()
    with store.claim(spec_of().run_id):
        assert work(path) == ExitCode.BUSY
        assert store.owner(spec_of().run_id)["pid"] == os.getpid()
    assert fake_work.count(store, 0, "fits") == 0
    assert "busy: " in capfd.readouterr().err


def test_claim_names_its_owner(store: Store, make_order: MakeOrder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    seen: list[dict[str, Any]] = []

    def look(order: Any, **rest: Any) -> SimpleNamespace:
        seen.append(store.owner(order.spec.run_id))
        return SimpleNamespace(status="done")

    main(make_order(), execute=look, set_up=lambda order: None)
    assert (seen[0]["pid"], seen[0]["job"], seen[0]["executor"]) == (os.getpid(), "4711", "test")


def test_features_need_no_claim_and_leave_no_record(store: Store, make_order: MakeOrder) -> None:
    path = make_order(features_only=True)
    with store.claim(spec_of().run_id):
        assert work(path) == ExitCode.DONE
    assert "now at features" in path.with_suffix(".log").read_text()
    failing = make_order(features_only=True, stage="features", act="raise")
    assert work(failing) == ExitCode.FAILED
    assert store.load_all() == []
    assert "boom" in failing.with_suffix(".log").read_text()


def test_full_disk_that_takes_no_record_either(
    store: Store, make_order: MakeOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", os.fsync)  # the fake run replaces it
    assert work(make_order(stage="state", act="full")) == ExitCode.STORE
    log = (store.run_folder(spec_of(stage="state", act="full").run_id) / "log.txt").read_text()
    assert "no space left on the disk; free some and issue the same command again" in log
    assert store.load_all() == []


@pytest.mark.parametrize("text", [None, "", "{}", '{"spec": 1}', "\x00"])
def test_order_that_cannot_be_read(tmp_path: Path, text: str | None, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "order.json"
    if text is not None:
        path.write_text(text)
    assert work(path) == ExitCode.BAD_ORDER
    said = capfd.readouterr().err
    assert "order.json: " in said
    assert "Traceback" not in said
    assert len(said.splitlines()) == 1


def test_store_that_is_gone(store: Store, make_order: MakeOrder, capfd: pytest.CaptureFixture[str]) -> None:
    path = make_order()
    (store.path / "store.json").unlink()
    assert work(path) == ExitCode.BAD_ORDER
    assert "expected a store of results" in capfd.readouterr().err


def test_set_up_is_part_of_the_run(store: Store, make_order: MakeOrder) -> None:
    def set_up(order: Any) -> None:
        raise RuntimeError("CUDA error: out of memory")

    assert main(make_order(), execute=fake_work.execute, set_up=set_up) == ExitCode.FAILED
    record = store.fit_record(spec_of().run_id)
    assert record is not None
    assert record.failure is not None
    assert record.failure.kind == "out_of_memory"


def test_command_line(make_order: MakeOrder, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "spectral_bench.bench.work.worker"]
    wrong = subprocess.run([*command, str(tmp_path / "none.json")], capture_output=True, text=True, check=False)
    assert wrong.returncode == ExitCode.BAD_ORDER
    assert "none.json: the order cannot be read" in wrong.stderr
    bare = subprocess.run(command, capture_output=True, text=True, check=False)
    assert bare.returncode == ExitCode.BAD_ORDER
    assert bare.stderr.startswith("usage: python -m spectral_bench.bench.work.worker")


def test_importing_it_imports_no_torch() -> None:
    code = (
        "import sys, spectral_bench.bench.work.worker, spectral_bench.bench.executors; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
