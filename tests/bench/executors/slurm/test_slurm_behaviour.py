"""On a real cluster: what docs/measurements.md says that Slurm does, and that runs come through it."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from slurm_cluster import Cluster, command, partitions, why_not

from spectral_bench.bench.executors.slurm.cluster import Answer, Slurm, ask_partitions, read_cluster, run_command
from spectral_bench.bench.executors.slurm.executor import cancel
from spectral_bench.bench.executors.slurm.queue import QueueReport, ask
from spectral_bench.results.store import Store

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

NOBODY = 65534
GAPS = "0-60:2,5,9,13,17,21,25,29"
INDICES = {*range(0, 61, 2), 5, 9, 13, 17, 21, 25, 29}


@pytest.fixture(autouse=True)
def _reachable() -> None:
    if reason := why_not():
        pytest.skip(reason)


@pytest.fixture
def slurm() -> Slurm:
    return Slurm(run_command)


@pytest.fixture
def submit(slurm: Slurm) -> Iterator[Callable[..., str]]:
    """Submits a job that sleeps, and cancels it in the end."""
    submitted: list[str] = []

    def sleeping(*options: str) -> str:
        always = ("--parsable", "--mem=20M", "--output=/dev/null", "--time=15")
        submitted.append(slurm.ask("sbatch", *always, *options, "--wrap=sleep 800").strip())
        return submitted[-1]

    yield sleeping
    if submitted:
        slurm.answer("scancel", *submitted)


def until(what: Callable[[], object], seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.2)


def as_nobody(words: Sequence[str]) -> Answer:
    return run_command(["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *words])


def test_long_lists_of_indices_are_read_to_the_end(slurm: Slurm, submit: Callable[..., str]) -> None:
    name = f"bench-gaps-{os.getpid()}"
    job_id = submit("--hold", f"--array={GAPS}", f"--job-name={name}")

    def reported() -> QueueReport:
        return ask(slurm, {name: job_id})

    assert {index for _, index in reported().jobs} == INDICES
    assert all(slurm_job.live for slurm_job in reported().jobs.values())
    slurm.ask("scancel", job_id)
    until(lambda: not any(slurm_job.live for slurm_job in reported().jobs.values()) and reported().jobs)
    told = reported()
    assert {index for _, index in told.jobs} == INDICES
    assert {slurm_job.state for slurm_job in told.jobs.values()} == {"CANCELLED"}
    assert told.accounting_error == ""
    short = Slurm(lambda words: run_command(["env", "-u", "SLURM_BITSTR_LEN", *words]))
    cut = ask(short, {name: job_id})  # as sacct prints it without that variable
    assert "..." in cut.accounting_error
    assert {index for _, index in cut.jobs} < INDICES


def test_a_job_of_an_array_is_held_and_released_and_cancelled_alone(slurm: Slurm, submit: Callable[..., str]) -> None:
    job_id = submit("--hold", "--array=0-2", f"--job-name=bench-alone-{os.getpid()}")

    def states() -> list[str]:
        return [
            line.split()[1]
            for line in sorted(slurm.ask("squeue", "-h", "-r", "-j", job_id, "-o", "%K %T %r").splitlines())
        ]

    until(lambda: states() == ["PENDING"] * 3)
    slurm.ask("scontrol", "release", f"{job_id}_2")
    until(lambda: states() == ["PENDING", "PENDING", "RUNNING"])
    slurm.ask("scontrol", "release", f"{job_id}_0")
    until(lambda: states() == ["RUNNING", "PENDING", "RUNNING"])
    slurm.ask("scancel", f"{job_id}_1")  # the only one that still bears the array's own id
    until(lambda: states() == ["RUNNING", "RUNNING"])


def test_the_highest_index_is_one_below_the_limit(slurm: Slurm) -> None:
    told = slurm.ask("scontrol", "show", "config")
    (size,) = (int(line.split("=")[1]) for line in told.splitlines() if line.startswith("MaxArraySize"))
    trial = ("sbatch", "--test-only", "--mem=20M", "--wrap=true")
    assert slurm.answer(*trial, f"--array={size - 1}").code == 0
    assert "Invalid job array specification" in slurm.answer(*trial, f"--array={size}").err
    assert read_cluster(slurm).longest <= size


def test_an_unknown_user_is_passed_over_with_exit_code_0(slurm: Slurm, submit: Callable[..., str]) -> None:
    job_id = submit("--hold", "--array=0-0", f"--job-name=bench-user-{os.getpid()}")
    for user in ("no-such-user-here", "424242"):
        answer = slurm.answer("squeue", "-h", "-u", user)
        assert (answer.code, answer.out) == (0, "")
        assert "Invalid user" in answer.err
    assert ask(slurm, {f"bench-user-{os.getpid()}": job_id}).jobs


@pytest.mark.skipif(os.getuid() != 0, reason="only root can hide a partition and look as somebody else")
def test_a_hidden_partition_is_known_to_who_may_use_it() -> None:
    if "low" not in partitions():
        pytest.skip("this cluster has no partition low")
    command("scontrol", "update", "PartitionName=low", "Hidden=YES")
    try:
        other = Slurm(as_nobody)
        assert "low" not in other.ask("sinfo", "-h", "-o", "%R").split()
        assert "low" in ask_partitions(other)[0]
    finally:
        command("scontrol", "update", "PartitionName=low", "Hidden=NO")


class TestRuns:
    @pytest.fixture
    def cluster(self, store: Store, tmp_path: Path) -> Iterator[Cluster]:
        cluster = Cluster(store, tmp_path)
        yield cluster
        cancel(store, None, Slurm())

    def test_among_the_variables_of_a_profile_and_of_a_job(
        self, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        around = (
            "SBATCH_TIMELIMIT=5 SBATCH_JOB_NAME=mine SBATCH_EXPORT=NONE SLURM_MEM_PER_CPU=100 SLURM_NTASKS=3 "
            "SLURM_CPU_BIND=quiet,mask_cpu:0x1 SLURM_JOB_ID=1 SQUEUE_STATES=COMPLETED SQUEUE_PARTITION=low LOGNAME=some"
        )
        for name, _, value in (one.partition("=") for one in around.split()):
            monkeypatch.setenv(name, value)
        told = tmp_path / "told"
        python = tmp_path / "telling"
        python.write_text(f'#!/bin/sh\necho "$BY_SETUP $SLURM_JOB_NAME" > {told}\nexec {cluster.python} "$@"\n')
        python.chmod(0o755)
        # That nothing is exported may also be asked for: what setup sets is for the step all the same.
        cluster.configure(
            python=shlex.quote(str(python)),
            setup="export BY_SETUP=heard PATH=/usr/bin:/bin",
            sbatch={"export": "NONE"},
            time="20m",
        )
        job = cluster.job(0)
        cluster.launch(job)
        (submission,) = cluster.ledger.open()
        assert cluster.launch(job) == {job.run_id: "submitted"}
        assert len(cluster.ledger.open()) == 1
        cluster.finish()
        asked = ("sacct", "-n", "-P", "-X", "-j", str(submission.job_id), "-o", "TimelimitRaw")
        until(lambda: cluster.slurm.ask(*asked).split())  # accounting may be told a moment after the job has ended
        assert cluster.slurm.ask(*asked).split() == ["20"]
        assert cluster.failure(job) is None
        assert told.read_text().split() == ["heard", submission.name]

    def test_in_a_store_whose_path_has_percent_signs(self, tmp_path: Path) -> None:
        cluster = Cluster(Store.open(tmp_path / "50% of %j it's", create=True), tmp_path)
        job = cluster.job(0)
        cluster.launch(job)
        cluster.finish()
        assert cluster.failure(job) is None
        (submission,) = cluster.ledger.every()
        (log,) = cluster.ledger.outputs(submission.name, 0)
        assert "1 run on" in log.read_text()
