"""What a job does with its runs, in this process and with workers that cost nothing."""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import fake_work
import pytest
from fake_slurm import FakeSlurm
from slurm_workbench import SlurmLab

from spectral_bench.bench.executors.jobs import Job
from spectral_bench.bench.executors.slurm import job as task
from spectral_bench.bench.executors.slurm.causes import TimeLimits, mark_of
from spectral_bench.bench.executors.slurm.cluster import Answer, Slurm, seconds_of
from spectral_bench.bench.executors.slurm.job import ran_out_of_time, requeue
from spectral_bench.bench.grid.keys import ExecutorBlock
from spectral_bench.bench.work.order import read_order
from spectral_bench.bench.work.progress import ProgressFile
from spectral_bench.bench.work.worker import ExitCode


@pytest.fixture
def lab(slurm_lab: SlurmLab) -> SlurmLab:
    slurm_lab.block = ExecutorBlock(runs_per_job=9)
    return slurm_lab


def carry_out(lab: SlurmLab) -> int:
    name = lab.ledger.open()[-1].name
    return task.main(lab.ledger.of(name), 0, target=fake_work.target, preload=["fake_work"])


@pytest.mark.parametrize("name", ["job", "task"])  # the latter in the scripts that earlier releases have submitted
def test_the_names_that_scripts_call_it_by(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    module = f"spectral_bench.bench.executors.slurm.{name}"
    monkeypatch.setattr("sys.argv", [module, str(tmp_path), "--index", "3"])
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(SystemExit) as left:
        runpy.run_module(module, run_name="__main__")
    assert left.value.code == ExitCode.BAD_ORDER
    assert "no submission here" in capfd.readouterr().err


def kinds(lab: SlurmLab, *jobs: Job) -> list[str | None]:
    return [failure.kind if (failure := lab.failure(job)) else None for job in jobs]


def test_each_run_in_a_process_of_its_own_whatever_the_others_do(lab: SlurmLab) -> None:
    jobs = [lab.job(0), lab.job(1, stage="fit", act="raise"), lab.job(2, stage="fit", act="kill"), lab.job(3)]
    lab.launch(*jobs)
    assert carry_out(lab) == ExitCode.FAILED
    assert kinds(lab, *jobs) == [None, "exception", "killed", None]
    assert len(lab.store.load_all(verify=True)) == 4
    trace = lab.ledger.trace(lab.ledger.open()[0].name, 0)
    assert trace is not None
    assert trace.run_id == jobs[3].run_id


def test_started_again_it_does_nothing_twice_and_tries_no_failure_again(lab: SlurmLab) -> None:
    """As after a node failure: what has ended stays as it is."""
    jobs = [lab.job(0), lab.job(1, stage="fit", act="raise")]
    lab.launch(*jobs)
    assert [carry_out(lab) for _ in range(2)] == [ExitCode.FAILED] * 2
    assert kinds(lab, *jobs) == [None, "exception"]
    assert len(lab.store.attempts(jobs[1].run_id)) == 1
    assert all(len((lab.store.run_folder(job.run_id) / "fits").read_text().splitlines()) == 1 for job in jobs)


def test_success(lab: SlurmLab) -> None:
    lab.launch(lab.job(0), lab.job(1, act="diverge"))
    assert carry_out(lab) == ExitCode.DONE


def test_a_run_that_another_launcher_has_in_hand_comes_last_and_is_waited_for(lab: SlurmLab) -> None:
    jobs = [lab.job(0), lab.job(1)]
    lab.launch(*jobs)
    held = threading.Event()

    def hold() -> None:
        with lab.store.claim(jobs[0].run_id):
            held.set()
            while lab.store.fit_record(jobs[1].run_id) is None:
                time.sleep(0.01)

    other = threading.Thread(target=hold, daemon=True)
    other.start()
    assert held.wait(600)
    assert carry_out(lab) == ExitCode.DONE
    other.join()
    assert len(lab.store.load_all(verify=True)) == 2


def test_a_run_that_was_cancelled_is_passed_over(lab: SlurmLab) -> None:
    jobs = [lab.job(0), lab.job(1)]
    lab.launch(*jobs)
    lab.ledger.mark_cancelled(lab.ledger.open()[0].name, jobs[0].run_id)
    assert carry_out(lab) == ExitCode.FAILED
    assert kinds(lab, *jobs) == ["cancelled", None]
    assert not (lab.store.run_folder(jobs[0].run_id) / "fits").exists()


def test_a_run_that_is_cancelled_at_work_saves_and_makes_way(lab: SlurmLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "LOOK_S", 0.0)
    jobs = [lab.job(0, stage="fit", act="patient"), lab.job(1)]
    lab.launch(*jobs)
    name = lab.ledger.open()[0].name
    asked: list[str] = []

    def is_cancelled(self: Any, of: str, run_id: str) -> bool:
        began = (lab.store.run_folder(jobs[0].run_id) / "was-fit").exists()
        asked.append(run_id)
        return began and run_id == jobs[0].run_id and of == name

    monkeypatch.setattr("spectral_bench.bench.executors.slurm.submissions.Ledger.is_cancelled", is_cancelled)
    assert carry_out(lab) == ExitCode.FAILED
    assert kinds(lab, *jobs) == ["cancelled", None]
    assert (lab.store.run_folder(jobs[0].run_id) / "checkpoint.pt").exists()


def test_a_worker_that_slurm_signals_before_its_job(lab: SlurmLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slurm signals one process after the other: the job is told after its worker has left, and goes back too."""
    monkeypatch.setattr(task, "LAG_S", 600.0)
    job = lab.job(0, stage="fit", act="patient")
    lab.launch(job)
    put_back: list[float] = []
    monkeypatch.setattr(task, "requeue", lambda slurm, patience: put_back.append(patience))

    def signal_both() -> None:
        while not (lab.store.run_folder(job.run_id) / "was-fit").exists():
            time.sleep(0.01)
        os.kill(lab.store.owner(job.run_id)["pid"], signal.SIGUSR2)
        while lab.store.is_claimed(job.run_id):
            time.sleep(0.01)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGUSR2)

    before = signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # for a job that listens no more
    other = threading.Thread(target=signal_both, daemon=True)
    other.start()
    try:
        assert carry_out(lab) == ExitCode.INTERRUPTED
        other.join()
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert len(put_back) == 1


def test_a_run_that_somebody_stops_alone_has_not_failed(lab: SlurmLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "LAG_S", 0.1)
    jobs = [lab.job(0, stage="fit", act="patient"), lab.job(1)]
    lab.launch(*jobs)

    def stop() -> None:
        while not (lab.store.run_folder(jobs[0].run_id) / "was-fit").exists():
            time.sleep(0.01)
        os.kill(lab.store.owner(jobs[0].run_id)["pid"], signal.SIGTERM)

    other = threading.Thread(target=stop, daemon=True)
    other.start()
    assert carry_out(lab) == ExitCode.INTERRUPTED
    other.join()
    assert kinds(lab, *jobs) == [None, None]
    assert lab.store.fit_record(jobs[1].run_id) is not None


def test_a_store_that_the_node_does_not_see(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert task.main(tmp_path / "slurm" / "bench-1", 0) == ExitCode.BAD_ORDER
    assert "this node does not see the store" in capfd.readouterr().err


def test_a_store_that_takes_nothing(lab: SlurmLab, capfd: pytest.CaptureFixture[str]) -> None:
    lab.launch(lab.job(0, stage="begun", act="full"))
    assert carry_out(lab) == ExitCode.STORE
    assert "could not write to the store" in capfd.readouterr().err


class TestLimits:
    def order_and_folder(self, lab: SlurmLab) -> tuple[Any, Path]:
        job = lab.job(0)
        return read_order(job.order_path), lab.store.run_folder(job.run_id)

    def test_no_progress_is_counted_across_restarts(self, lab: SlurmLab, tmp_path: Path) -> None:
        order, folder = self.order_and_folder(lab)
        assert [TimeLimits(tmp_path, 0).met(order, lab.store) for _ in range(3)] == [1, 2, 3]
        (folder / "checkpoint.pt").touch()
        ProgressFile(folder / "progress.json", every=0).update("fit", 5, 60)
        assert TimeLimits(tmp_path, 0).met(order, lab.store) == 0
        assert TimeLimits(tmp_path, 0).met(order, lab.store) == 1
        ProgressFile(folder / "progress.json", every=0).update("features", 7, 9)
        assert TimeLimits(tmp_path, 0).met(order, lab.store) == 2

    def test_records_are_progress(self, lab: SlurmLab) -> None:
        job = lab.job(0)
        order = read_order(job.order_path)
        assert mark_of(order, lab.store) == (0, 0)
        lab.work(job)
        assert mark_of(order, lab.store) == (3, 0)
        assert mark_of(order.model_copy(update={"features_only": True}), lab.store) == (0, 0)


class TestTime:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [("1:00", 60), ("4:00:00", 14400), ("1-02:00:00", 93600), ("UNLIMITED", None), ("INVALID", None)],
    )
    def test_durations(self, text: str, expected: float | None) -> None:
        assert seconds_of(text) == expected

    @pytest.mark.parametrize(
        ("limits", "elapsed", "expected"),
        [
            ("4:00:00 N/A", 14300, True),
            ("4:00:00 N/A", 600, False),
            ("4:00:00 2026-01-01T00:00:00", 14300, False),
            ("UNLIMITED N/A", 1e9, False),
            ("1:00 N/A", 5, True),
        ],
    )
    def test_limit_or_preemption(self, limits: str, elapsed: float, expected: bool) -> None:
        slurm = Slurm(FakeSlurm(limits=limits))
        assert ran_out_of_time(slurm, elapsed, delay=90, limit=3600) is expected

    def test_the_limit_that_counts_is_that_of_this_very_job(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Asked about the array, squeue tells the limit of each of its jobs."""
        monkeypatch.setenv("SLURM_JOB_ID", "77")
        monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "77")
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "5")

        def squeue(command: tuple[str, ...]) -> Answer:
            return Answer(0, "1:00 N/A\n" if command[command.index("-j") + 1] == "77_5" else "4:00:00 N/A\n" * 3)

        assert ran_out_of_time(Slurm(squeue), elapsed=30, delay=10, limit=14400)

    @pytest.mark.parametrize(("elapsed", "expected"), [(3600 - 95, True), (60, False)])
    def test_without_an_answer_the_limit_that_was_asked_for_counts(self, elapsed: float, expected: bool) -> None:
        assert ran_out_of_time(Slurm(FakeSlurm(unreachable=True)), elapsed, delay=90, limit=3600) is expected

    def test_back_into_the_queue(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in {"SLURM_JOB_ID": "77", "SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": "5"}.items():
            monkeypatch.setenv(name, value)
        fake = FakeSlurm()
        assert requeue(Slurm(fake), patience=0)
        assert fake.commands == [("scontrol", "requeue", "77_5")]  # 77 alone would be all jobs of the array
        assert not requeue(Slurm(FakeSlurm(unreachable=True)), patience=-1)

    def test_a_node_may_lack_the_commands(self, capfd: pytest.CaptureFixture[str]) -> None:
        def absent(command: tuple[str, ...]) -> Answer:
            raise FileNotFoundError(command[0])

        assert ran_out_of_time(Slurm(absent), 3600 - 95, delay=90, limit=3600)
        assert not ran_out_of_time(Slurm(absent), 60, delay=90, limit=3600)
        assert not requeue(Slurm(absent), patience=600)
        told = capfd.readouterr()
        assert "not put back into the queue: no scontrol on the path" in told.out + told.err
