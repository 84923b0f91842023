"""A launcher that waits, on a Slurm that tests move along."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
from slurm_workbench import SlurmLab

from spectral_bench.bench.executors.jobs import Exit, Job
from spectral_bench.bench.executors.slurm import wait as waiting
from spectral_bench.bench.executors.slurm.cluster import Answer
from spectral_bench.bench.grid.keys import ExecutorBlock

Step = Callable[[], object]


@pytest.fixture
def lab(slurm_lab: SlurmLab, monkeypatch: pytest.MonkeyPatch) -> SlurmLab:
    monkeypatch.setattr(waiting, "STORE_S", 0.0)
    monkeypatch.setattr(waiting, "SLURM_S", (0.0, 0.0))
    slurm_lab.block = ExecutorBlock(mem="4G", time="4h")  # as stated, and never more
    return slurm_lab


def wait(lab: SlurmLab, jobs: list[Job], *steps: Step) -> list[Exit]:
    """Launch and wait; one step is taken at each tick."""
    left = list(steps)

    def on_event(event: object) -> None:
        lab.events.append(event)  # type: ignore[arg-type]
        if getattr(event, "kind", "") == "tick" and left:
            left.pop(0)()

    exits = lab.executor(wait=True).run(jobs, on_event)
    assert not left
    return [exits[job.run_id] for job in jobs]


def told(lab: SlurmLab, kind: str) -> list[str]:
    return [event.run_id for event in lab.events if event.kind == kind]


def test_until_all_have_ended(lab: SlurmLab) -> None:
    jobs = [lab.job(0), lab.job(1)]

    def end() -> None:
        lab.work(jobs[0])
        lab.become(lab.fake.jobs[0], "COMPLETED")
        lab.become(lab.fake.jobs[1], "TIMEOUT")

    assert wait(lab, jobs, end) == ["done", "failed"]
    assert sorted(told(lab, "finished")) == sorted(job.run_id for job in jobs)
    assert lab.ledger.open() == []


def test_runs_that_are_done_are_not_submitted(lab: SlurmLab) -> None:
    jobs = [lab.job(0), lab.job(1)]
    lab.work(jobs[0])
    assert wait(lab, jobs, lambda: lab.work(jobs[1])) == ["done", "done"]
    assert len(lab.fake.jobs) == 1


def test_a_run_that_another_has_taken_along_is_submitted_again(lab: SlurmLab) -> None:
    job = lab.job(0)

    def interrupted() -> None:
        lab.end("FAILED", code="4:0")

    assert wait(lab, [job], interrupted, lambda: None, lambda: lab.work(job)) == ["done"]
    assert len(lab.fake.submitted()) == 2


def test_a_job_that_slurm_forgets_is_submitted_again_but_not_for_ever(lab: SlurmLab) -> None:
    job = lab.job(0)
    steps = [lab.fake.jobs.clear] * (waiting.PATIENCE * (waiting.ROUNDS + 1))
    assert wait(lab, [job], *steps) == ["pending"]
    assert len(lab.fake.submitted()) == 1 + waiting.ROUNDS


def test_silence_is_told_once_and_waited_out(lab: SlurmLab) -> None:
    job = lab.job(0)

    def fall_silent() -> None:
        lab.fake.unreachable = True

    def speak() -> None:
        lab.fake.unreachable = False
        lab.work(job)

    assert wait(lab, [job], fall_silent, *[lambda: None] * 5, speak) == ["done"]
    messages = [event.message for event in lab.events if event.kind == "stopping"]
    assert len(messages) == 1
    assert messages[0].startswith("Slurm does not answer, the runs go on")


def test_ctrl_c_stops_the_waiting_only(lab: SlurmLab) -> None:
    job = lab.job(0)
    assert wait(lab, [job], lambda: os.kill(os.getpid(), signal.SIGINT)) == ["submitted"]
    assert lab.fake.jobs[0].state == "PENDING"


@pytest.mark.parametrize("reason", ["launch failed requeued held", "launch_failed_requeued_held"])
def test_a_job_that_slurm_holds_for_its_own_fault_is_released_a_few_times(lab: SlurmLab, reason: str) -> None:
    job = lab.job(0)

    def hold() -> None:
        lab.fake.jobs[0].reason = reason

    assert wait(lab, [job], hold, *[lambda: None] * 6, lambda: lab.work(job)) == ["done"]
    assert lab.fake.asked("scontrol").count(("scontrol", "release", "100_0")) == 3


def test_a_run_of_which_slurm_says_nothing_here_is_waited_for_and_told_once(lab: SlurmLab) -> None:
    """Another user's: it is neither given up nor submitted again."""
    job = lab.job(0)

    def elsewhere() -> None:
        (submission,) = lab.ledger.open()
        lab.ledger.write(submission.model_copy(update={"user": "ana", "uid": os.getuid() + 1}))
        lab.fake.private = True

    assert wait(lab, [job], elsewhere, *[lambda: None] * 6, lambda: lab.work(job)) == ["done"]
    (message,) = [event.message for event in lab.events if event.kind == "stopping"]
    assert message.startswith("waiting for a run of which Slurm says nothing here: it was submitted by ana")
    assert len(lab.fake.submitted()) == 1


def test_a_run_at_work_is_told(lab: SlurmLab) -> None:
    job = lab.job(0)
    claim = lab.store.claim(job.run_id)

    def begin() -> None:
        lab.fake.jobs[0].state = "RUNNING"
        claim.__enter__()

    def end() -> None:
        claim.__exit__(None, None, None)
        lab.work(job)

    assert wait(lab, [job], begin, lambda: None, end) == ["done"]
    assert told(lab, "started") == [job.run_id]


def test_a_refusal_at_the_second_time(lab: SlurmLab, monkeypatch: pytest.MonkeyPatch) -> None:
    job = lab.job(0)

    def interrupted() -> None:
        lab.end("FAILED", code="4:0")
        monkeypatch.setattr(lab.fake, "sbatch", lambda given: Answer(1, "", "sbatch: error: no more today"))

    assert wait(lab, [job], interrupted, lambda: None) == ["failed"]
    failure = lab.failure(job)
    assert failure is not None
    assert (failure.kind, failure.message) == ("rejected", "sbatch: no more today")
