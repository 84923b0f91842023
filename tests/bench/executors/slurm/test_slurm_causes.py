"""From what Slurm says of jobs to failures in the store, and to what status shows."""

from __future__ import annotations

from typing import Any

import pytest
from slurm_workbench import SlurmLab

from spectral_bench.bench.executors.jobs import Job
from spectral_bench.bench.executors.slurm.causes import record_and_track
from spectral_bench.bench.executors.slurm.cluster import SlurmUnreachable
from spectral_bench.bench.executors.slurm.executor import cancel
from spectral_bench.bench.executors.slurm.status import with_queue
from spectral_bench.bench.executors.slurm.submissions import write_trace
from spectral_bench.bench.grid.keys import ExecutorBlock
from spectral_bench.bench.plan.states import runs_of_store
from spectral_bench.bench.work.progress import ProgressFile
from spectral_bench.common.errors import StoreError


def at_work(lab: SlurmLab, job: Job, index: int = 0) -> None:
    """Let a Slurm job say that it is at work on a run."""
    name = lab.ledger.open()[-1].name
    write_trace(lab.ledger.of(name), index, host="cpu1", job="101", run_id=job.run_id)


def kind(lab: SlurmLab, job: Job) -> str | None:
    failure = lab.failure(job)
    return failure.kind if failure is not None else None


@pytest.mark.parametrize(
    ("state", "facts", "expected"),
    [
        ("TIMEOUT", {}, "time_limit"),
        ("OUT_OF_MEMORY", {}, "out_of_memory"),
        ("FAILED", {"steps": ("OUT_OF_MEMORY",), "code": "1:0"}, "out_of_memory"),
        ("NODE_FAIL", {}, "node_failure"),
        ("CANCELLED by 1000", {}, "cancelled"),
        ("FAILED", {"code": "3:0"}, "killed"),
    ],
)
def test_the_run_at_work_is_blamed_once(slurm_lab: SlurmLab, state: str, facts: dict[str, Any], expected: str) -> None:
    job = slurm_lab.job()
    slurm_lab.launch(job)
    at_work(slurm_lab, job)
    slurm_lab.end(state, **facts)
    slurm_lab.record_ended()
    slurm_lab.record_ended()
    assert kind(slurm_lab, job) == expected
    assert len(slurm_lab.store.attempts(job.run_id)) == 1
    assert slurm_lab.ledger.open() == []


def test_a_dead_job_hides_none_of_its_other_runs(slurm_lab: SlurmLab) -> None:
    """The first was done, the second at work, the third not begun: only the second has failed."""
    slurm_lab.block = ExecutorBlock(runs_per_job=3)
    jobs = [slurm_lab.job(seed) for seed in range(3)]
    slurm_lab.launch(*jobs)
    slurm_lab.work(jobs[0])
    at_work(slurm_lab, jobs[1])
    slurm_lab.end("OUT_OF_MEMORY")
    slurm_lab.record_ended()
    assert [kind(slurm_lab, job) for job in jobs] == [None, "out_of_memory", None]
    assert slurm_lab.launch(jobs[2]) == {jobs[2].run_id: "submitted"}


def test_a_job_that_never_began_fails_all_of_its_runs(slurm_lab: SlurmLab) -> None:
    slurm_lab.block = ExecutorBlock(runs_per_job=2)
    jobs = [slurm_lab.job(seed) for seed in range(2)]
    slurm_lab.launch(*jobs)
    slurm_lab.end("FAILED", code="0:53", nodes="cpu2")
    slurm_lab.record_ended()
    assert [kind(slurm_lab, job) for job in jobs] == ["store", "store"]
    failure = slurm_lab.failure(jobs[0])
    assert failure is not None
    assert failure.message.startswith("job 100_0 on cpu2 left no trace in ")


def test_a_base_that_fails_and_what_needs_it(slurm_lab: SlurmLab) -> None:
    base = slurm_lab.job(0)
    late = slurm_lab.job(1, base)
    slurm_lab.launch(base, late)
    slurm_lab.become(slurm_lab.fake.jobs[0], "FAILED", code="1:0")
    slurm_lab.become(slurm_lab.fake.jobs[1], "CANCELLED by 0")
    slurm_lab.record_ended()
    failure = slurm_lab.failure(late)
    assert failure is not None
    assert (failure.kind, failure.message) == ("dependency", f"job 101_0 needs {base.run_id}, which did not succeed")


def test_a_base_that_failed_in_an_earlier_look(slurm_lab: SlurmLab) -> None:
    base = slurm_lab.job(0)
    late = slurm_lab.job(1, base)
    slurm_lab.launch(base, late)
    slurm_lab.become(slurm_lab.fake.jobs[0], "FAILED", code="1:0")
    slurm_lab.record_ended()
    slurm_lab.become(slurm_lab.fake.jobs[1], "CANCELLED by 0")
    slurm_lab.record_ended()
    assert kind(slurm_lab, late) == "dependency"


@pytest.mark.parametrize(
    ("state", "first", "then"), [("CANCELLED", None, "dependency"), ("CANCELLED by 0", "cancelled", "cancelled")]
)
def test_a_base_that_is_still_completing(slurm_lab: SlurmLab, state: str, first: str | None, then: str) -> None:
    """Slurm gives up what needs a failed job before it has tidied up after that job: why is told afterwards."""
    base = slurm_lab.job(0)
    late = slurm_lab.job(1, base)
    slurm_lab.launch(base, late)
    slurm_lab.become(slurm_lab.fake.jobs[0], "COMPLETING")
    slurm_lab.become(slurm_lab.fake.jobs[1], state)
    slurm_lab.record_ended()
    assert (kind(slurm_lab, base), kind(slurm_lab, late)) == (None, first)
    slurm_lab.become(slurm_lab.fake.jobs[0], "FAILED", code="1:0")
    slurm_lab.record_ended()
    assert (kind(slurm_lab, base), kind(slurm_lab, late)) == ("store", then)


def test_a_base_of_which_nobody_knows_anything(slurm_lab: SlurmLab) -> None:
    base = slurm_lab.job(0)
    late = slurm_lab.job(1, base)
    slurm_lab.launch(base, late)
    slurm_lab.fake.jobs.pop(0)
    slurm_lab.become(slurm_lab.fake.jobs[0], "CANCELLED")
    slurm_lab.record_ended()
    failure = slurm_lab.failure(late)
    assert failure is not None
    assert (failure.kind, failure.message) == ("dependency", f"job 101_0 needs {base.run_id}, which did not succeed")


@pytest.mark.parametrize("code", ["4:0", "140:0", "0:12"])
def test_a_job_that_was_asked_to_stop_blames_nobody(slurm_lab: SlurmLab, code: str) -> None:
    job = slurm_lab.job()
    slurm_lab.launch(job)
    slurm_lab.end("FAILED", code=code)
    slurm_lab.record_ended()
    assert kind(slurm_lab, job) is None
    assert slurm_lab.ledger.open() == []


def test_silence_is_no_failure(slurm_lab: SlurmLab) -> None:
    job = slurm_lab.job()
    slurm_lab.launch(job)
    at_work(slurm_lab, job)
    slurm_lab.end("FAILED", code="3:0")
    slurm_lab.fake.no_accounting = True
    assert slurm_lab.state(job) == "unknown"
    slurm_lab.fake.unreachable = True
    assert slurm_lab.state(job) == "unknown"
    slurm_lab.record_ended()
    assert kind(slurm_lab, job) is None
    slurm_lab.fake.unreachable = slurm_lab.fake.no_accounting = False
    slurm_lab.record_ended()
    assert kind(slurm_lab, job) == "killed"


def test_a_run_that_another_launcher_has_taken_over_does_not_fail(slurm_lab: SlurmLab) -> None:
    job = slurm_lab.job()
    slurm_lab.launch(job)
    slurm_lab.end("TIMEOUT")
    with slurm_lab.store.claim(job.run_id):
        slurm_lab.record_ended()
    assert kind(slurm_lab, job) is None


def test_a_run_that_a_local_launcher_has_done(slurm_lab: SlurmLab) -> None:
    job = slurm_lab.job()
    slurm_lab.launch(job)
    slurm_lab.work(job)
    assert slurm_lab.state(job) is None
    slurm_lab.record_ended()
    assert len(slurm_lab.ledger.open()) == 1  # its job still waits
    slurm_lab.end("COMPLETED")
    slurm_lab.record_ended()
    assert slurm_lab.ledger.open() == []


def test_a_job_that_slurm_does_not_know_is_given_up_by_launchers_only(slurm_lab: SlurmLab) -> None:
    job = slurm_lab.job()
    slurm_lab.launch(job)
    slurm_lab.fake.jobs.clear()
    assert slurm_lab.state(job) == "lost"
    slurm_lab.record_ended()
    assert len(slurm_lab.ledger.open()) == 1
    slurm_lab.record_ended(give_up_lost=True)
    assert slurm_lab.ledger.open() == []
    assert kind(slurm_lab, job) is None


def shown(lab: SlurmLab) -> dict[str, tuple[str, str, str]]:
    tracked = record_and_track(lab.store, lab.slurm)
    found = with_queue(runs_of_store(lab.store), tracked, lab.store)
    return {run.run_id: (run.condition.state, run.condition.reason, run.progress_text) for run in found}


def test_states_of_a_day(slurm_lab: SlurmLab) -> None:
    slurm_lab.block = ExecutorBlock(runs_per_job=2)
    first, second, third = (slurm_lab.job(seed) for seed in range(3))
    slurm_lab.launch(first, second, third)
    slurm_lab.fake.jobs[1].reason = "Resources"
    assert shown(slurm_lab)[third.run_id] == ("pending", "job 100_1 waits: Resources", "")
    slurm_lab.fake.jobs[0].state = "RUNNING"
    assert shown(slurm_lab)[first.run_id] == ("pending", "job 100_0, starting", "")
    at_work(slurm_lab, first)
    ProgressFile(slurm_lab.store.run_folder(first.run_id) / "progress.json").update("fit", 12, 60)
    told = shown(slurm_lab)
    assert told[first.run_id] == ("running", "job 100_0 on cpu1", "fit 12/60")
    assert told[second.run_id] == ("pending", "job 100_0 on cpu1, which carries out others first", "")
    slurm_lab.fake.unreachable = True
    assert shown(slurm_lab)[third.run_id][0] == "unknown"
    slurm_lab.fake.unreachable = False
    slurm_lab.end("TIMEOUT")
    assert shown(slurm_lab)[first.run_id][:1] == ("failed",)
    assert "time_limit: job 100_0" in shown(slurm_lab)[first.run_id][1]


def test_a_store_that_cannot_be_written_is_looked_at_all_the_same(
    slurm_lab: SlurmLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **options: Any) -> None:
        raise StoreError("no space left on the disk")

    slurm_lab.launch(slurm_lab.job())
    slurm_lab.end("TIMEOUT")
    monkeypatch.setattr("spectral_bench.bench.executors.slurm.causes.record_failure", full)
    tracked = record_and_track(slurm_lab.store, slurm_lab.slurm)
    assert tracked is not None
    assert [run.state for run in tracked.runs] == ["ended"]


def test_a_store_without_submissions_asks_nobody(slurm_lab: SlurmLab) -> None:
    assert record_and_track(slurm_lab.store, slurm_lab.slurm) is None
    assert slurm_lab.fake.commands == []


class TestCancel:
    def test_all(self, slurm_lab: SlurmLab) -> None:
        jobs = [slurm_lab.job(seed) for seed in range(2)]
        slurm_lab.launch(*jobs)
        assert cancel(slurm_lab.store, None, slurm_lab.slurm) == sorted(job.run_id for job in jobs)
        assert [kind(slurm_lab, job) for job in jobs] == ["cancelled", "cancelled"]
        assert {state for state, _, _ in shown(slurm_lab).values()} == {"cancelled"}

    def test_one_run_of_a_job_with_several(self, slurm_lab: SlurmLab) -> None:
        slurm_lab.block = ExecutorBlock(runs_per_job=2)
        jobs = [slurm_lab.job(seed) for seed in range(2)]
        slurm_lab.launch(*jobs)
        cancel(slurm_lab.store, [jobs[0].run_id], slurm_lab.slurm)
        assert slurm_lab.fake.asked("scancel") == []
        assert slurm_lab.ledger.is_cancelled(slurm_lab.ledger.open()[0].name, jobs[0].run_id)
        cancel(slurm_lab.store, [jobs[1].run_id], slurm_lab.slurm)
        assert slurm_lab.fake.asked("scancel") == [("scancel", "100_0")]  # nothing is left of the job

    def test_one_job_of_an_array_that_vanishes_from_slurm(self, slurm_lab: SlurmLab) -> None:
        jobs = [slurm_lab.job(seed) for seed in range(2)]
        slurm_lab.launch(*jobs)
        cancel(slurm_lab.store, [jobs[1].run_id], slurm_lab.slurm)
        assert slurm_lab.fake.asked("scancel") == [("scancel", "100_1")]
        del slurm_lab.fake.jobs[1]
        slurm_lab.record_ended()
        assert [kind(slurm_lab, job) for job in jobs] == [None, "cancelled"]
        assert slurm_lab.state(jobs[0]) == "pending"

    def test_a_silent_controller(self, slurm_lab: SlurmLab) -> None:
        slurm_lab.launch(slurm_lab.job())
        slurm_lab.fake.unreachable = True
        with pytest.raises(SlurmUnreachable, match="nothing was cancelled"):
            cancel(slurm_lab.store, None, slurm_lab.slurm)

    def test_nothing_to_cancel(self, slurm_lab: SlurmLab) -> None:
        assert cancel(slurm_lab.store, None, slurm_lab.slurm) == []
        assert slurm_lab.fake.commands == []


@pytest.mark.parametrize("time", ["1970-01-01T00:00:00+00:00", "2099-01-01T00:00:00+00:00"])
def test_a_clock_that_jumped_misleads_nobody(slurm_lab: SlurmLab, time: str) -> None:
    """A submission dated long ago, or to come, whose job is gone: the one that is in the queue counts."""
    job = slurm_lab.job()
    slurm_lab.launch(job)
    (first,) = slurm_lab.ledger.open()
    slurm_lab.ledger.write(first.model_copy(update={"time": time}))
    slurm_lab.fake.jobs.clear()
    slurm_lab.launch(job)
    run = slurm_lab.tracked().newest()[job.run_id]
    assert (run.state, run.submission.name) == ("pending", slurm_lab.fake.jobs[0].name)
    slurm_lab.end("FAILED", code="9:0")
    slurm_lab.record_ended()
    assert kind(slurm_lab, job) == "store"
    assert slurm_lab.ledger.open() == []
