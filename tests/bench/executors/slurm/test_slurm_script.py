"""What reaches sbatch, whatever the store is called and whatever the cluster allows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from slurm_workbench import SlurmLab

from spectral_bench.bench.executors.slurm.script import options_in, refuse_unwritable
from spectral_bench.bench.grid.keys import ExecutorBlock
from spectral_bench.bench.work.order import read_order
from spectral_bench.common.errors import ConfigError
from spectral_bench.results.documents import names_in
from spectral_bench.results.store import Store

LINES = ("#SBATCH --array=0-0%1", "#SBATCH --kill-on-invalid-dep=yes", "#SBATCH --comment='store /a b'", "#SBATCH --x")


def test_options_are_on_the_command_line_too(slurm_lab: SlurmLab) -> None:
    """The environment outranks the script, and the command line the environment."""
    slurm_lab.block = ExecutorBlock(
        mem="4G", time="8h", partition="low", sbatch={"mail-type": "END", "exclusive": True}
    )
    slurm_lab.launch(slurm_lab.job())
    script = slurm_lab.fake.jobs[0].script
    stated = re.findall(r"^#SBATCH (--[\w-]+)", script, re.MULTILINE)
    for call in slurm_lab.fake.asked("sbatch"):
        given = [one.partition("=")[0] for one in call[2:-1]]
        assert given == stated, call
        assert {"--time=480", "--partition=low", "--mail-type=END", "--exclusive"} <= set(call)
    (call,) = slurm_lab.fake.submitted()
    assert f"--job-name={slurm_lab.fake.jobs[0].name}" in call
    assert f"--comment=store {slurm_lab.store.path}" in call


def test_options_end_where_the_shell_begins() -> None:
    script = "\n".join(["#!/bin/bash", "", "# Parameters", *LINES, "", "# setup", "#SBATCH --mail='", "echo x"])
    assert options_in(script) == ["--array=0-0%1", "--kill-on-invalid-dep=yes", "--comment=store /a b", "--x"]


def test_what_setup_exports_reaches_the_step(slurm_lab: SlurmLab) -> None:
    slurm_lab.launch(slurm_lab.job())
    assert re.search(r"^srun .* --export=ALL ", slurm_lab.fake.jobs[0].script, re.MULTILINE)


@pytest.mark.parametrize("name", ["100%", "p%j", "%t and %A", "%%", "it's %x", "ä\u2028%"])
def test_a_percent_sign_in_the_path_stands_for_itself(tmp_path: Path, name: str) -> None:
    lab = SlurmLab(Store.open(tmp_path / name, create=True))
    lab.launch(lab.job())
    (call,) = lab.fake.submitted()
    (output,) = (one.removeprefix("--output=") for one in call if one.startswith("--output="))
    log = f"{lab.store.path}/slurm/{lab.fake.jobs[0].name}/".replace("%", "%%")
    assert output == f"{log}%A_%a_0_log.out"
    steps = options_of_srun(lab.fake.jobs[0].script)
    assert f"{log}%A_%a_%t_log.out" in steps
    assert str(lab.ledger.of(lab.fake.jobs[0].name)) in steps  # that Python is given
    assert f"--comment=store {lab.store.path}" in call


def options_of_srun(script: str) -> list[str]:
    import shlex

    return shlex.split(next(line for line in script.split("\n") if line.startswith("srun ")))


@pytest.mark.parametrize(("name", "words"), [("a\\b", "a backslash"), ("a\nb", "a control character")])
def test_a_path_that_slurm_cannot_write_to_is_refused_first(tmp_path: Path, name: str, words: str) -> None:
    lab = SlurmLab(Store.open(tmp_path / name, create=True))
    job = lab.job()
    message = f"--out: .* has {words} in its path"
    with pytest.raises(ConfigError, match=message):
        lab.launch(job)
    with pytest.raises(ConfigError, match=message):
        lab.executor().scripts([job], {job.run_id: read_order(job.order_path)})
    assert lab.fake.commands == []
    assert names_in(lab.ledger.folder) == []
    assert lab.failure(job) is None


def test_a_path_that_is_no_text_is_refused_by_name() -> None:
    """As the file system gives it where its bytes are not UTF-8."""
    with pytest.raises(ConfigError, match=r"--out: '/a\\udce4b' has bytes that are not UTF-8 in its path"):
        refuse_unwritable(Path("/a\udce4b"))


class TestSizeOfArrays:
    def ranges(self, lab: SlurmLab, jobs: int) -> list[str]:
        lab.launch(*(lab.job(seed) for seed in range(jobs)))
        return [one for call in lab.fake.submitted() for one in call if one.startswith("--array")]

    def test_the_highest_index_is_one_below_the_limit(self, slurm_lab: SlurmLab) -> None:
        slurm_lab.fake.longest = 3
        assert self.ranges(slurm_lab, 7) == ["--array=0-2%3", "--array=0-2%3", "--array=0-0%1"]

    def test_jobs_may_be_limited_by_their_number(self, slurm_lab: SlurmLab) -> None:
        slurm_lab.fake.scheduler = "bf_interval=2,max_array_tasks=2,defer"
        assert self.ranges(slurm_lab, 5) == ["--array=0-1%2", "--array=0-1%2", "--array=0-0%1"]

    def test_no_arrays_at_all(self, slurm_lab: SlurmLab) -> None:
        slurm_lab.fake.longest = 0
        with pytest.raises(ConfigError, match=r"takes no job arrays \(MaxArraySize is 0\)"):
            slurm_lab.launch(slurm_lab.job())
        assert slurm_lab.fake.submitted() == []


@pytest.mark.parametrize("limit", ["QOSMaxSubmitJobPerUserLimit", "AssocMaxSubmitJobLimit"])
def test_too_many_jobs_in_the_queue(slurm_lab: SlurmLab, limit: str) -> None:
    executor = slurm_lab.executor()
    executor.check(["fake"])
    slurm_lab.fake.refuse = f"{limit}\nsbatch: error: Batch job submission failed: Job violates accounting/QOS policy"
    job = slurm_lab.job()
    executor.run([job], slurm_lab.events.append)
    failure = slurm_lab.failure(job)
    assert failure is not None
    assert failure.message.endswith(
        "; put more runs into a job with --runs-per-job, or come back when some jobs have ended"
    )
