from __future__ import annotations

import os
import signal
from pathlib import Path

import fake_work
import pytest
from fake_work import MakeOrder, spec_of

from spectral_bench.bench.executors import Event, InlineExecutor, Job
from spectral_bench.bench.work import worker
from spectral_bench.common.errors import ConfigError
from spectral_bench.results.store import Store

pytestmark = pytest.mark.usefixtures("no_fsync")


def work(path: Path, *, known_failures: int | None = None) -> int:
    options = {"execute": fake_work.execute, "set_up": lambda order: None, "log": False}
    return worker.main(path, known_failures=known_failures, **options)


def jobs_of(*paths: Path) -> list[Job]:
    return [Job(path.stem, path) for path in paths]


def run(store: Store, jobs: list[Job], events: list[Event] | None = None) -> list[str]:
    exits = InlineExecutor(store, target=work).run(jobs, (events if events is not None else []).append)
    return [exits[job.run_id] for job in jobs]


def test_in_this_process_one_after_the_other(
    store: Store, make_order: MakeOrder, capfd: pytest.CaptureFixture[str]
) -> None:
    jobs = jobs_of(make_order(0), make_order(1))
    events: list[Event] = []
    assert run(store, jobs, events) == ["done", "done"]
    assert [event.kind for event in events] == ["started", "finished"] * 2
    assert (store.run_folder(jobs[0].run_id) / "fits").read_text() == f"{os.getpid()}\n"
    assert "now at fit" in capfd.readouterr().out
    assert not (store.run_folder(jobs[0].run_id) / "log.txt").exists()


def test_failure_goes_on_with_the_rest_and_fails_what_depends_on_it(store: Store, make_order: MakeOrder) -> None:
    bad, free = jobs_of(make_order(0, stage="fit", act="raise"), make_order(2))
    late = Job(spec_of(1).run_id, make_order(1), frozenset({bad.run_id}))
    assert run(store, [late, bad, free]) == ["dependency", "failed", "done"]
    record = store.fit_record(late.run_id)
    assert record is not None
    assert record.failure is not None
    assert record.failure.kind == "dependency"


def test_interrupt_stops_the_batch(store: Store, make_order: MakeOrder) -> None:
    jobs = jobs_of(make_order(0, stage="fit", act="patient"), make_order(1))

    fake_work.signal_at_fit(store.run_folder(jobs[0].run_id), signal.SIGINT)
    exits = InlineExecutor(store, target=work).run(jobs, lambda event: None)
    assert [exits[job.run_id] for job in jobs] == ["interrupted", "pending"]
    assert run(store, jobs) == ["done", "done"]


def test_runs_of_others_are_left_to_them(store: Store, make_order: MakeOrder) -> None:
    jobs = jobs_of(make_order(0), make_order(1))
    events: list[Event] = []
    with store.claim(jobs[0].run_id):
        assert run(store, jobs, events) == ["elsewhere", "done"]
    assert [event.run_id for event in events if event.kind == "elsewhere"] == [jobs[0].run_id]


def test_leaving_without_a_record_is_a_failure(store: Store, make_order: MakeOrder) -> None:
    (job,) = jobs_of(make_order(0))
    exits = InlineExecutor(store, target=lambda path, **rest: 0).run([job], lambda event: None)
    assert exits == {job.run_id: "killed"}
    record = store.fit_record(job.run_id)
    assert record is not None
    assert record.failure is not None
    assert record.failure.message == "the worker left with exit code 0 and without a record"


def test_order_that_is_missing(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.json: the order cannot be read"):
        run(store, jobs_of(tmp_path / "none.json"))
