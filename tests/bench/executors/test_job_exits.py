from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import fake_work
import pytest
from fake_work import VIEWS, MakeOrder

from spectral_bench.bench.executors import jobs as exits_module
from spectral_bench.bench.executors.jobs import Job, JobExits, memory_kills
from spectral_bench.bench.work.order import read_order
from spectral_bench.bench.work.worker import ExitCode
from spectral_bench.common.errors import StoreError
from spectral_bench.results.record import Failure
from spectral_bench.results.store import Store

pytestmark = pytest.mark.usefixtures("no_fsync")

Judge = Callable[..., str]


class Case:
    """A job, what its worker does to the store, and the verdict on it."""

    def __init__(self, store: Store, path: Path) -> None:
        self.store = store
        self.job = Job(path.stem, path)
        self.order = read_order(path)
        self.job_exits = JobExits(store, [self.job])

    def exit_of(self, code: int, stopping: bool = False, memory_kills: int = 0) -> str:
        return self.job_exits.exit_of(self.job, code, stopping=stopping, memory_kills=memory_kills)

    def work(self) -> None:
        fake_work.execute(self.order, store=self.store, should_stop=lambda: False)

    def fail(self) -> None:
        self.job_exits._record(self.job, Failure(kind="exception", message="x"))
        self.job_exits._attempts[self.job.run_id] -= 1  # as if another process had done it

    def failure(self) -> Failure | None:
        record = self.store.fit_record(self.job.run_id)
        return record.failure if record is not None else None


@pytest.fixture
def case(store: Store, make_order: MakeOrder) -> Case:
    return Case(store, make_order())


@pytest.mark.parametrize("code", [ExitCode.DONE, ExitCode.FAILED, -signal.SIGKILL, 77])
def test_records_outweigh_exit_codes(case: Case, code: int) -> None:
    case.work()
    assert case.exit_of(code) == "done"


@pytest.mark.parametrize("code", [ExitCode.DONE, ExitCode.FAILED, -signal.SIGKILL])
def test_failure_that_the_worker_recorded(case: Case, code: int) -> None:
    case.fail()
    assert case.exit_of(code) == "failed"
    assert len(case.store.attempts(case.job.run_id)) == 1


def test_old_failures_do_not_count(store: Store, make_order: MakeOrder) -> None:
    first = Case(store, make_order())
    first.fail()
    again = Case(store, make_order())
    assert again.job_exits.elsewhere(again.job) is None
    assert again.exit_of(ExitCode.INTERRUPTED) == "interrupted"
    assert again.exit_of(3) == "killed"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "left with exit code 0 and without a record"),
        (1, "left with exit code 1 and without a record"),
        (255, "left with exit code 255 and without a record"),
        (-signal.SIGKILL, "ended by signal 9 (SIGKILL)"),
        (-signal.SIGBUS, "ended by signal 7 (SIGBUS)"),
        (-99, "ended by signal 99 (unknown)"),
    ],
)
def test_what_cut_a_worker_short_is_recorded(case: Case, code: int, words: str) -> None:
    log = case.job_exits.log(case.job)
    log.parent.mkdir(parents=True)
    log.write_text("famous last words\n")
    assert case.exit_of(code) == "killed"
    failure = case.failure()
    assert failure is not None
    assert (failure.kind, failure.message.removeprefix("the worker was ").removeprefix("the worker ")) == (
        "killed",
        words,
    )
    assert failure.log_tail == "famous last words"


@pytest.mark.parametrize(
    ("code", "kills", "kind"), [(-9, 1, "out_of_memory"), (-9, 0, "killed"), (-11, 1, "killed"), (1, 1, "killed")]
)
def test_kernel_short_of_memory(case: Case, code: int, kills: int, kind: str) -> None:
    case.exit_of(code, memory_kills=kills)
    failure = case.failure()
    assert failure is not None
    assert failure.kind == kind


@pytest.mark.parametrize("code", [-signal.SIGTERM, -signal.SIGKILL])
def test_killing_at_ones_own_wish_is_no_failure(case: Case, code: int) -> None:
    assert case.exit_of(code, stopping=True) == "interrupted"
    assert case.store.attempts(case.job.run_id) == []


def test_run_that_another_process_has_taken_over_meanwhile(case: Case) -> None:
    with case.store.claim(case.job.run_id):
        assert case.exit_of(-signal.SIGKILL) == "elsewhere"
    assert case.store.attempts(case.job.run_id) == []


def test_busy_is_elsewhere_unless_it_has_ended_by_now(case: Case) -> None:
    assert case.exit_of(ExitCode.BUSY) == "elsewhere"
    case.fail()
    assert case.exit_of(ExitCode.BUSY) == "failed"


def test_known_failures_are_those_at_the_launch(store: Store, make_order: MakeOrder) -> None:
    first = Case(store, make_order())
    first.fail()
    again = Case(store, make_order())
    assert again.job_exits.known_failures(again.job) == 1
    again.fail()
    assert again.job_exits.known_failures(again.job) == 1


def test_settled_elsewhere(case: Case) -> None:
    assert case.job_exits.elsewhere(case.job) is None
    case.work()
    assert case.job_exits.elsewhere(case.job) == "done"


def test_failed_elsewhere(case: Case) -> None:
    case.fail()
    assert case.job_exits.elsewhere(case.job) == "failed"


def test_failure_of_a_part_while_the_other_goes_on(case: Case) -> None:
    """One evaluation has failed elsewhere, the next is under way: too early to say."""
    case.fail()
    with case.store.claim(case.job.run_id):
        assert case.job_exits.elsewhere(case.job) is None
    assert case.job_exits.elsewhere(case.job) == "failed"


def test_run_that_was_done_before_is_done_again_if_asked(store: Store, make_order: MakeOrder) -> None:
    Case(store, make_order()).work()
    again = Case(store, make_order())
    assert again.job_exits.elsewhere(again.job) is None
    assert again.exit_of(ExitCode.DONE) == "done"
    assert again.exit_of(-signal.SIGKILL) == "killed"


def test_store_that_takes_nothing(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise StoreError(f"{path}: no space left on the disk; free some and issue the same command again")

    monkeypatch.setattr(exits_module, "write_bytes", full)
    with pytest.raises(StoreError, match="no space left on the disk"):
        case.exit_of(ExitCode.STORE)


def test_store_that_has_recovered_since(case: Case) -> None:
    log = case.job_exits.log(case.job)
    log.parent.mkdir(parents=True)
    log.write_text("error: it was full\nlast line\n")
    with pytest.raises(StoreError, match=r"log\.txt: a worker could not write to the store: error: it was full$"):
        case.exit_of(ExitCode.STORE)
    assert not (case.store.path / ".probe").exists()


@pytest.mark.parametrize(
    ("code", "expected"), [(ExitCode.DONE, "done"), (ExitCode.FAILED, "failed"), (-9, "killed"), (3, "killed")]
)
def test_features_have_their_exit_code_only(store: Store, make_order: MakeOrder, code: int, expected: str) -> None:
    case = Case(store, make_order(features_only=True))
    assert case.exit_of(code) == expected
    assert not case.job_exits.is_claimed(case.job)
    assert store.runs() == []


def test_failed_evaluation_counts_as_a_failure(case: Case) -> None:
    run = fake_work._Run(case.order, case.store, lambda: False)
    run.fit()
    run.evaluate(VIEWS[0])
    case.fail()
    assert case.exit_of(ExitCode.FAILED) == "failed"
    assert case.failure() is None


def test_kernels_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert memory_kills() >= 0
    monkeypatch.setattr(exits_module, "_VMSTAT", tmp_path / "vmstat")
    assert memory_kills() == 0
    (tmp_path / "vmstat").write_text("nr_free 17\noom_kill 4\noom_kill_other 9\n")
    assert memory_kills() == 4
