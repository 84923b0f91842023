from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_work
import pytest
from fake_work import STAGES, spec_of
from local_batch import Batch, alive, wait_for

from spectral_bench.bench.executors.jobs import Event, Job, JobExits
from spectral_bench.bench.executors.local import LocalExecutor
from spectral_bench.bench.work.order import StopFlag
from spectral_bench.common.errors import ConfigError, StoreError
from spectral_bench.results.store import Store


class TestOrderly:
    def test_each_run_in_a_process_of_its_own(self, batch: Batch) -> None:
        for seed in range(4):
            batch.add(seed)
        assert batch.run(jobs=2) == ["done"] * 4
        pids = {(batch.store.run_folder(job.run_id) / "fits").read_text() for job in batch.jobs}
        assert len(pids) == 4
        assert str(os.getpid()) not in {pid.strip() for pid in pids}
        assert sorted(batch.order("started")) == sorted(batch.order("finished")) == sorted(j.run_id for j in batch.jobs)
        assert len(batch.store.load_all(verify=True)) == 4

    def test_never_more_than_asked_for(self, batch: Batch) -> None:
        for seed in range(4):
            batch.add(seed, pause=0.05)
        running, most = 0, 0

        def react(event: Event) -> None:
            nonlocal running, most
            running += {"started": 1, "finished": -1}.get(event.kind, 0)
            most = max(most, running)

        assert batch.run(react, jobs=2) == ["done"] * 4
        assert most == 2

    def test_dependents_begin_after_their_base(self, batch: Batch) -> None:
        base = Job("x", Path(), frozenset())
        late = batch.add(1)
        base = batch.add(0, pause=0.05)
        batch.jobs[0] = Job(late.run_id, late.order_path, frozenset({base.run_id}))
        assert batch.run(jobs=2) == ["done", "done"]
        told = [(event.kind, event.run_id) for event in batch.events if event.kind != "tick"]
        assert told.index(("finished", base.run_id)) < told.index(("started", late.run_id))

    def test_failed_base_fails_its_dependents_only(self, batch: Batch) -> None:
        base = batch.add(0, stage="fit", act="raise")
        late = batch.add(1, requires=(base,))
        last = batch.add(2, requires=(late,))
        batch.add(3)
        assert batch.run(jobs=2) == ["failed", "dependency", "dependency", "done"]
        assert batch.failure(base).message == "ValueError: boom: the method is at fault"
        told = batch.failure(late)
        assert (told.kind, told.message.split(",")[0]) == ("dependency", f"needs {base.run_id}")
        assert "boom" in told.log_tail
        assert batch.failure(last).message.startswith(f"needs {late.run_id}")

    def test_failed_features_fail_the_runs_that_share_them(self, batch: Batch) -> None:
        path = batch.make_order(features_only=True, stage="features", act="raise")
        features = Job("features", path)
        batch.jobs.append(features)
        run = batch.add(1, requires=(features,))
        assert batch.run() == ["failed", "dependency"]
        assert "boom" in batch.failure(run).log_tail
        assert batch.store.runs() == sorted({run.run_id, spec_of(stage="features", act="raise").run_id})

    def test_not_converged_is_told_apart(self, batch: Batch) -> None:
        base = batch.add(0, act="diverge")
        batch.add(1, requires=(base,))
        assert batch.run() == ["not_converged", "done"]

    def test_shares_of_the_machine(self, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each process is told its threads and, where there are any, its own GPU."""
        for seed in range(4):
            batch.add(seed)
        assert batch.run(gpus=("0", "GPU-abc"), threads=3, target=tell_environment) == ["killed"] * 4
        told = [json.loads(batch.failure(job).log_tail.splitlines()[-1]) for job in batch.jobs]
        assert {entry["CUDA_VISIBLE_DEVICES"] for entry in told} == {"0", "GPU-abc"}
        assert {entry["OMP_NUM_THREADS"] for entry in told} == {"3"}
        assert all(entry["sid"] == entry["pid"] for entry in told)

    @pytest.mark.parametrize(
        ("options", "message"),
        [({"jobs": 0}, "--jobs 0: expected at least 1"), ({"jobs": 3, "gpus": ("0", "1")}, "more than the 2 devices")],
    )
    def test_options_are_checked(self, store: Store, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            LocalExecutor(store, **options)

    def test_nothing_to_do(self, batch: Batch) -> None:
        assert batch.run() == []


def tell_environment(path: Path, *, known_failures: int | None) -> int:
    """A target that writes what it was told into the log and leaves no record."""
    from spectral_bench.bench.work.order import read_order

    names = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
    told = {name: os.environ.get(name) for name in names} | {"pid": os.getpid(), "sid": os.getsid(0)}
    order = read_order(path)
    log = Store.open(order.store).run_folder(order.spec.run_id) / "log.txt"
    log.parent.mkdir(parents=True)
    log.write_text(json.dumps(told) + "\n")
    time.sleep(0.3)
    return 0


class TestCrashes:
    @pytest.mark.parametrize("stage", STAGES)
    def test_killed_in_any_stage_and_launched_again(self, batch: Batch, stage: str) -> None:
        """One crash leaves the rest alone, is recorded, and the same command ends in the store of a quiet day."""
        victim = batch.add(0, stage=stage, act="kill")
        batch.add(1)
        first = batch.run(jobs=2)
        assert first[1] == "done"
        if stage == "done":  # all of it was stored before
            assert first[0] == "done"
        else:
            assert first[0] == "killed"
            failure = batch.failure(victim)
            assert (failure.kind, failure.message) == ("killed", "the worker was ended by signal 9 (SIGKILL)")
            assert failure.log_tail.splitlines()[-1] == f"now at {stage}"
        assert batch.run(jobs=2) == ["done", "done"]
        run = batch.store.load_run(victim.run_id)
        assert run is not None
        assert run.fit.status == "done"
        assert [record.status for record in run.evaluations.values()] == ["done", "done"]
        assert fake_work.count(batch.store, 1, "fits") == 1
        assert fake_work.count(batch.store, 0, "fits", stage=stage, act="kill") == (
            2 if stage in ("fit", "state") else 1
        )

    @pytest.mark.parametrize(
        ("act", "exit", "words"),
        [
            ("raise", "failed", "ValueError: boom"),
            ("segfault", "killed", "signal 11 (SIGSEGV)"),
            ("exit", "killed", "left with exit code 3 and without a record"),
            ("silent", "killed", "left with exit code 0 and without a record"),
        ],
    )
    def test_other_ends(self, batch: Batch, act: str, exit: str, words: str) -> None:
        bad = batch.add(0, stage="evaluate", act=act)
        batch.add(1)
        assert batch.run(jobs=2) == [exit, "done"]
        failure = batch.failure(bad)
        assert words in failure.message
        if act == "segfault":
            assert "Fatal Python error: Segmentation fault" in failure.log_tail
        assert batch.store.state(bad.run_id) == "done"  # the fit; its evaluation has failed

    def test_out_of_memory_kill_is_named(self, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
        kills = iter(range(100))
        monkeypatch.setattr("spectral_bench.bench.executors.batch.memory_kills", lambda: next(kills))
        bad = batch.add(0, stage="fit", act="kill")
        assert batch.run() == ["killed"]
        assert batch.failure(bad).kind == "out_of_memory"
        assert "very likely by the kernel, which ran out of memory" in batch.failure(bad).message

    def test_helpers_of_a_killed_worker_go_too(self, batch: Batch) -> None:
        job = batch.add(0, stage="fit", act="helper")
        assert batch.run() == ["killed"]
        helper = int((batch.store.run_folder(job.run_id) / "helper").read_text())
        wait_for(lambda: not alive(helper))

    def test_full_disk_stops_the_batch_with_one_clear_line(self, batch: Batch) -> None:
        batch.add(0, stage="state", act="full")
        batch.add(1, stage="fit", act="patient")
        batch.add(2)
        with pytest.raises(
            StoreError, match=r"log\.txt: a worker could not write to the store: .*no space left on the disk"
        ):
            batch.run(jobs=2)
        assert batch.store.load_all() == []
        assert batch.store.state(batch.jobs[1].run_id) == "interrupted"
        assert batch.run() == ["done"] * 3

    def test_listener_that_raises_leaves_no_worker(self, batch: Batch) -> None:
        batch.add(0, stage="fit", act="hang")
        pids: list[int] = []

        def react(event: Event) -> None:
            if event.kind == "started":
                pids.append(int(event.message.split()[1]))
            if event.kind == "tick":
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            batch.run(react)
        wait_for(lambda: not alive(pids[0]))


class TestStopping:
    def _interrupt(self, batch: Batch, job: Job, times: int = 1) -> Callable[[Event], None]:
        """Press Ctrl-C once the job is at its fit."""
        pressed = 0

        def react(event: Event) -> None:
            nonlocal pressed
            if event.kind == "tick" and pressed < times and (batch.store.run_folder(job.run_id) / "was-fit").exists():
                pressed += 1
                os.kill(os.getpid(), signal.SIGINT)

        return react

    def test_ctrl_c_lets_workers_save_and_the_same_command_goes_on(self, batch: Batch) -> None:
        patient = batch.add(0, stage="fit", act="patient")
        batch.add(1)
        base = batch.add(2)
        batch.add(3, requires=(base,))
        handler = signal.getsignal(signal.SIGINT)
        assert batch.run(self._interrupt(batch, patient)) == ["interrupted", "pending", "pending", "pending"]
        assert signal.getsignal(signal.SIGINT) == handler
        assert batch.order("stopping") == [""]
        assert batch.store.state(patient.run_id) == "interrupted"
        assert batch.store.attempts(patient.run_id) == []
        assert batch.run() == ["done"] * 4

    def test_second_ctrl_c_ends_the_deaf(self, batch: Batch) -> None:
        deaf = batch.add(0, stage="fit", act="hang")
        assert batch.run(self._interrupt(batch, deaf, times=2), grace=300) == ["interrupted"]
        kinds = [event.kind for event in batch.events]
        assert kinds[kinds.index("stopping") :].count("tick") < 100, "1500 pass before the grace is over"
        assert batch.store.attempts(deaf.run_id) == []
        assert batch.store.state(deaf.run_id) == "interrupted"
        assert batch.run() == ["done"]

    def test_grace_is_limited(self, batch: Batch) -> None:
        deaf = batch.add(0, stage="fit", act="hang")
        assert batch.run(self._interrupt(batch, deaf), grace=0.3) == ["interrupted"]

    def test_worker_that_was_stopped_alone(self, batch: Batch) -> None:
        """Cancelling one run stops neither the others nor the launcher; what needs it stays pending."""
        alone = batch.add(0, stage="fit", act="patient")
        batch.add(1, requires=(alone,))
        batch.add(2)

        def react(event: Event) -> None:
            if event.kind == "tick" and (batch.store.run_folder(alone.run_id) / "was-fit").exists():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(batch.store.owner(alone.run_id).get("pid", 0)) or 2**22, signal.SIGTERM)

        assert batch.run(react, jobs=2) == ["interrupted", "pending", "done"]


def test_failure_elsewhere_before_this_launch_does_not_count(batch: Batch) -> None:
    job = batch.add(0, stage="fit", act="raise")
    assert batch.run() == ["failed"]
    assert JobExits(batch.store, batch.jobs).elsewhere(job) is None
    assert batch.run() == ["done"]


def test_a_wish_to_stop_without_a_signal_saves_what_runs_and_begins_nothing(batch: Batch) -> None:
    stop = StopFlag()
    for seed, act in ((0, {"stage": "fit", "act": "patient"}), (1, {})):
        batch.add(seed, **act)

    def react(event: Event) -> None:
        if event.kind == "tick" and not stop() and (batch.store.run_folder(batch.jobs[0].run_id) / "fits").exists():
            stop.request()

    assert batch.run(react, jobs=1, stop=stop) == ["interrupted", "pending"]
