"""What is submitted, what is not, and what is kept of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from slurm_workbench import SlurmLab

from spectral_bench.bench.executors.jobs import Job
from spectral_bench.bench.executors.slurm.cluster import Answer, SlurmUnreachable
from spectral_bench.bench.grid.keys import ExecutorBlock, SlurmSettings
from spectral_bench.common.errors import ConfigError, StoreError
from spectral_bench.results.documents import names_in


def test_what_was_submitted_is_in_the_store(slurm_lab: SlurmLab) -> None:
    slurm_lab.block = ExecutorBlock(runs_per_job=2, time="20m", mem="4G")
    jobs = [slurm_lab.job(seed) for seed in range(3)]
    assert slurm_lab.launch(*jobs) == {job.run_id: "submitted" for job in jobs}
    (submission,) = slurm_lab.ledger.open()
    assert submission.job_id == "100"
    assert submission.cluster == "fake"
    assert [[run.run_id for run in unit.entries] for unit in submission.units] == [
        [jobs[0].run_id, jobs[1].run_id],
        [jobs[2].run_id],
    ]
    assert submission.settings["minutes"] == 20
    told = json.loads((slurm_lab.ledger.of(submission.name) / "submission.json").read_text())
    assert told["units"][1]["entries"][0]["order"] == f"records/{jobs[2].run_id}/order-2.json"
    assert [event.message for event in slurm_lab.events] == ["job 100_0", "job 100_0", "job 100_1"]


def test_the_script_says_what_was_asked_for(slurm_lab: SlurmLab) -> None:
    settings = SlurmSettings(
        partition="gpu",
        gpus=1,
        cpus=4,
        mem="4G",
        time="8h",
        setup="source env/activate",
        sbatch={"mail-type": "END"},
    )
    slurm_lab.block = ExecutorBlock(**settings.model_dump(exclude_unset=True))
    slurm_lab.launch(slurm_lab.job())
    script = slurm_lab.fake.jobs[0].script
    for line in (
        "#SBATCH --partition=gpu",
        "#SBATCH --gpus-per-node=1",
        "#SBATCH --cpus-per-task=4",
        "#SBATCH --mem=4G",
        "#SBATCH --time=480",
        "#SBATCH --mail-type=END",
        "#SBATCH --requeue",
        "#SBATCH --kill-on-invalid-dep=yes",
        "#SBATCH --signal=USR2@90",
        "source env/activate",
    ):
        assert line in script.splitlines()
    assert "--wckey" not in script
    assert re.search(
        r"^srun .*--cpus-per-task=4 .* -m spectral_bench\.bench\.executors\.slurm\.job ", script, re.MULTILINE
    )


def test_nothing_is_submitted_twice(slurm_lab: SlurmLab) -> None:
    job = slurm_lab.job()
    slurm_lab.launch(job)
    assert slurm_lab.launch(job) == {job.run_id: "submitted"}
    assert len(slurm_lab.fake.submitted()) == 1


def test_another_order_of_the_same_run_is_submitted(slurm_lab: SlurmLab) -> None:
    slurm_lab.launch(slurm_lab.job(views=1))
    slurm_lab.launch(slurm_lab.job(views=2))
    assert len(slurm_lab.fake.submitted()) == 2


def test_bases_first_and_dependents_after_them(slurm_lab: SlurmLab) -> None:
    base = slurm_lab.job(0)
    dependents = [slurm_lab.job(seed, base) for seed in (1, 2)]
    slurm_lab.block = ExecutorBlock(runs_per_job=5)
    slurm_lab.launch(base, *dependents)
    first, second = slurm_lab.ledger.open()
    assert "--dependency" not in slurm_lab.fake.jobs[0].script
    assert "#SBATCH --dependency=afterok:100_0" in slurm_lab.fake.jobs[1].script
    assert second.after == {first.name: (0,)}


def test_a_base_that_is_in_the_queue_already_is_waited_for(slurm_lab: SlurmLab) -> None:
    base = slurm_lab.job(0)
    slurm_lab.launch(base)
    slurm_lab.launch(slurm_lab.job(1, base))
    assert "#SBATCH --dependency=afterok:100_0" in slurm_lab.fake.jobs[1].script


def test_a_refusal_is_the_failure_of_its_runs_and_of_those_that_need_them(slurm_lab: SlurmLab) -> None:
    executor = slurm_lab.executor()
    executor.check(["fake"])
    slurm_lab.fake.refuse = "Job violates accounting/QOS policy"
    base = slurm_lab.job(0)
    late = slurm_lab.job(1, base)
    assert executor.run([base, late], slurm_lab.events.append) == {base.run_id: "failed", late.run_id: "failed"}
    failures = [slurm_lab.failure(job) for job in (base, late)]
    assert [failure.kind if failure else None for failure in failures] == ["rejected", "dependency"]
    assert failures[0] is not None
    assert "QOS policy" in failures[0].message
    assert slurm_lab.ledger.open() == []


def test_nothing_is_written_where_the_settings_do_not_fit(slurm_lab: SlurmLab) -> None:
    slurm_lab.block = ExecutorBlock(mem="900G")
    job = slurm_lab.job()
    with pytest.raises(ConfigError, match="largest node"):
        slurm_lab.launch(job)
    assert names_in(slurm_lab.ledger.folder) == []
    assert slurm_lab.failure(job) is None


def test_a_launcher_that_dies_before_it_learns_the_id(slurm_lab: SlurmLab, monkeypatch: pytest.MonkeyPatch) -> None:
    job = slurm_lab.job()
    monkeypatch.setattr(
        "spectral_bench.bench.executors.slurm.submit.run_sbatch",
        lambda slurm, script, folder: (_ for _ in ()).throw(KeyboardInterrupt()),
    )
    with pytest.raises(KeyboardInterrupt):
        slurm_lab.launch(job)
    monkeypatch.undo()
    (submission,) = slurm_lab.ledger.open()
    assert submission.job_id is None
    # Slurm had taken it: the name finds it, and the next launcher submits nothing.
    slurm_lab.fake.sbatch([_script(slurm_lab, submission.name)])
    assert slurm_lab.launch(job) == {job.run_id: "submitted"}
    assert len(slurm_lab.fake.submitted()) == 0
    assert slurm_lab.ledger.open()[0].job_id == "100"


def test_a_launcher_that_dies_before_slurm_is_told(slurm_lab: SlurmLab) -> None:
    job = slurm_lab.job()
    slurm_lab.launch(job)
    slurm_lab.fake.jobs.clear()  # as if sbatch had never been called
    slurm_lab.launch(job)
    assert len(slurm_lab.fake.submitted()) == 2
    assert len(slurm_lab.ledger.open()) == 1


def test_a_controller_that_falls_silent_leaves_what_was_submitted(slurm_lab: SlurmLab) -> None:
    job = slurm_lab.job()
    slurm_lab.launch(job)
    executor = slurm_lab.executor()
    executor.check(["fake"])
    slurm_lab.fake.unreachable = True
    with pytest.raises(SlurmUnreachable):
        executor.run([job], slurm_lab.events.append)
    slurm_lab.fake.unreachable = False
    assert slurm_lab.launch(job) == {job.run_id: "submitted"}
    assert len(slurm_lab.fake.submitted()) == 1


def test_an_answer_of_sbatch_that_makes_no_sense(slurm_lab: SlurmLab, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = slurm_lab.executor()
    executor.check(["fake"])
    monkeypatch.setattr(slurm_lab.fake, "sbatch", lambda given: Answer(0, "hello"))
    job = slurm_lab.job()
    assert executor.run([job], slurm_lab.events.append) == {job.run_id: "failed"}


def test_scripts_are_shown_without_a_trace(slurm_lab: SlurmLab) -> None:
    from spectral_bench.bench.work.order import read_order

    base = slurm_lab.job(0)
    jobs = [base, slurm_lab.job(1, base)]
    scripts = slurm_lab.executor().scripts(jobs, {job.run_id: read_order(job.order_path) for job in jobs})
    assert len(scripts) == 2
    assert re.search(r"--dependency='?afterok:<id of bench-\w+>_0", scripts[1])
    assert slurm_lab.fake.commands == []
    assert not slurm_lab.ledger.folder.exists()


def test_settings_of_methods(slurm_lab: SlurmLab) -> None:
    slurm_lab.block = ExecutorBlock(time="1h", methods={"slow": SlurmSettings(time="9h")})
    slurm_lab.launch(slurm_lab.job(0), slurm_lab.job(1, method="slow"))
    assert ["--time=60" in job.script or "--time=540" not in job.script for job in slurm_lab.fake.jobs] == [True, False]
    again = slurm_lab.ledger.last_settings()
    assert (again.settings("fake").time, again.settings("slow").time) == ("1h", "9h")


def test_a_submission_of_a_newer_release_is_refused(slurm_lab: SlurmLab) -> None:
    slurm_lab.launch(slurm_lab.job())
    (submission,) = slurm_lab.ledger.open()
    path = slurm_lab.ledger.of(submission.name) / "submission.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 99}))
    with pytest.raises(StoreError, match="schema 99"):
        slurm_lab.ledger.open()


def test_what_a_newer_release_adds_is_passed_over(slurm_lab: SlurmLab) -> None:
    slurm_lab.launch(slurm_lab.job())
    (submission,) = slurm_lab.ledger.open()
    path = slurm_lab.ledger.of(submission.name) / "submission.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"mood": "good"}))
    assert slurm_lab.ledger.open() == [submission]


def test_a_full_disk_submits_nothing(slurm_lab: SlurmLab, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise StoreError(f"{path}: no space left on the disk; free some and issue the same command again")

    monkeypatch.setattr("spectral_bench.bench.executors.slurm.submissions.write_bytes", full)
    with pytest.raises(StoreError, match="no space left on the disk"):
        slurm_lab.launch(slurm_lab.job())
    assert slurm_lab.fake.submitted() == []


def test_a_clock_that_jumps_changes_nothing(slurm_lab: SlurmLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later submissions bear earlier times: what is live still counts before what is over."""
    for year in ("2040", "1999", "2026"):
        now = f"{year}-01-01T00:00:00+00:00"
        monkeypatch.setattr("spectral_bench.bench.executors.slurm.submissions.now", lambda now=now: now)
        slurm_lab.end("TIMEOUT")
        job = slurm_lab.job()
        assert slurm_lab.launch(job) == {job.run_id: "submitted"}
        assert slurm_lab.state(job) == "pending"
    assert len(slurm_lab.store.attempts(job.run_id)) == 2


def test_circles_are_refused(slurm_lab: SlurmLab) -> None:
    one, other = slurm_lab.job(0), slurm_lab.job(1)
    jobs = [
        Job(one.run_id, one.order_path, frozenset({other.run_id})),
        Job(other.run_id, other.order_path, frozenset({one.run_id})),
    ]
    with pytest.raises(ConfigError, match="circle"):
        slurm_lab.launch(*jobs)


def test_nothing_to_launch(slurm_lab: SlurmLab) -> None:
    assert slurm_lab.launch() == {}
    assert slurm_lab.fake.commands == []


def _script(slurm_lab: SlurmLab, name: str) -> str:
    path = slurm_lab.ledger.of(name) / "submission.sh"
    path.write_text(f"#SBATCH --array=0-0%1\n#SBATCH --job-name={name}\n")
    return str(path)
