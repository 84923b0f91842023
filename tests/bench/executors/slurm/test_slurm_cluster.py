"""On a real cluster: what becomes of runs, and of those beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_cluster import Cluster, command, partitions, resume, why_not

from spectral_bench.bench.executors.jobs import Job
from spectral_bench.bench.executors.slurm.cluster import Slurm
from spectral_bench.bench.executors.slurm.executor import cancel
from spectral_bench.results.store import Store

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


@pytest.fixture
def cluster(store: Store, tmp_path: Path) -> Iterator[Cluster]:
    if reason := why_not():
        pytest.skip(reason)
    cluster = Cluster(store, tmp_path)
    yield cluster
    cancel(store, None, Slurm())


def kinds(cluster: Cluster, *jobs: Job) -> list[str | None]:
    return [failure.kind if (failure := cluster.failure(job)) else None for job in jobs]


def test_one_dead_run_hides_none_beside_it(cluster: Cluster) -> None:
    """Two jobs of three runs: one raises, one is killed, the others end well; their dependents know."""
    cluster.configure(runs_per_job=3)
    raising = cluster.job(0, stage="fit", act="raise")
    killed = cluster.job(1, stage="fit", act="kill")
    others = [cluster.job(seed) for seed in range(2, 6)]
    base = cluster.job(6, stage="fit", act="raise", pause=0.1)
    good = cluster.job(7)
    late, later = cluster.job(8, base), cluster.job(9, good)
    jobs = [raising, killed, *others, base, good, late, later]
    exits = cluster.wait(*jobs)
    assert kinds(cluster, raising, killed, base, late) == ["exception", "killed", "exception", "dependency"]
    assert {exits[job.run_id] for job in (*others, good, later)} == {"done"}
    assert len(cluster.store.load_all(verify=True)) == len(jobs)
    assert all(cluster.started(job) == 1 for job in jobs if job is not late)
    cluster.finish()  # the last job may be about to end when the last run has


def test_a_signal_before_the_limit_and_the_next_turn(cluster: Cluster) -> None:
    """Asked to stop, the run saves what it has, its job goes back into the queue, and it goes on from there."""
    job = cluster.job(0, stage="fit", act="patient")
    cluster.launch(job)
    run = cluster.until_at_work(job)
    command("scancel", "--signal=USR2", run.job)
    cluster.finish()
    assert kinds(cluster, job) == [None]
    assert cluster.started(job) == 2
    assert len(cluster.fake.jobs) == 0
    record = cluster.store.fit_record(job.run_id)
    assert record is not None
    assert record.status == "done"


def test_the_last_job_of_an_array_goes_back_into_the_queue_alone(cluster: Cluster) -> None:
    """It bears the array's own id, by which Slurm 22.05.8 would put its neighbours back too."""
    jobs = [cluster.job(seed, stage="fit", act="patient") for seed in range(3)]
    cluster.launch(*jobs)
    runs = [cluster.until_at_work(job) for job in jobs]
    array = runs[0].job.partition("_")[0]

    def told(field: str) -> dict[str, str]:
        """What squeue says of each job of the array."""
        lines = cluster.slurm.ask("squeue", "-h", "-r", "-j", array, "-O", f"ArrayTaskID:20,{field}:20").splitlines()
        return {f"{array}_{index}": value for index, value in map(str.split, lines)}

    (last,) = (name for name, job_id in told("JobID").items() if job_id == array)
    command("scancel", "--signal=USR2", last)
    cluster.until(lambda: told("RestartCnt")[last] != "0")
    assert told("RestartCnt") == {run.job: "1" if run.job == last else "0" for run in runs}


def test_a_job_of_a_preemptible_partition_makes_way(cluster: Cluster) -> None:
    if "low" not in partitions():
        pytest.skip("this cluster has no preemptible partition low")
    cluster.configure(partition="low")
    job = cluster.job(0, stage="fit", act="patient")
    cluster.launch(job)
    cluster.until_at_work(job)
    command("sbatch", "-p", "debug", "-N2", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 1")
    cluster.finish()
    assert kinds(cluster, job) == [None]
    assert cluster.started(job) == 2


def test_a_run_that_gets_nowhere_within_its_limit(cluster: Cluster) -> None:
    """Under a limit of a minute every such signal is that of the time limit; the second in a row is one too many."""
    cluster.configure(time="1m", signal_delay=10, requeues=1)
    job = cluster.job(0, stage="begun", act="patient", always=True)
    cluster.launch(job)
    for _ in range(2):
        run = cluster.until_at_work(job)
        command("scancel", "--signal=USR2", run.job)
        cluster.until(lambda: not cluster.store.is_claimed(job.run_id))
    cluster.finish()
    failure = cluster.failure(job)
    assert failure is not None
    assert failure.kind == "time_limit"
    assert failure.message.startswith("no progress in 2 time limits of 1 min in a row")


def test_a_node_that_goes_down(cluster: Cluster) -> None:
    job = cluster.job(0, stage="fit", act="patient")
    cluster.launch(job)
    run = cluster.until_at_work(job)
    assert run.slurm_job is not None
    command("scontrol", "update", f"NodeName={run.slurm_job.nodes}", "State=DOWN", "Reason=test")
    cluster.until(lambda: not cluster.store.is_claimed(job.run_id))
    resume(run.slurm_job.nodes)
    cluster.finish()
    assert kinds(cluster, job) == [None]
    assert cluster.started(job) == 2


def test_more_memory_than_allowed(cluster: Cluster) -> None:
    greedy, modest = cluster.job(0, stage="fit", act="hog"), cluster.job(1)
    exits = cluster.wait(greedy, modest)
    assert kinds(cluster, greedy) == ["out_of_memory"]
    assert exits[modest.run_id] == "done"


def test_cancelled_and_tried_again(cluster: Cluster) -> None:
    """One at work, one waiting in the same job, one in the same array; then all are submitted again."""
    cluster.configure(runs_per_job=2, array_parallelism=1)
    jobs = [cluster.job(0, stage="fit", act="patient"), cluster.job(1), cluster.job(2)]
    cluster.launch(*jobs)
    cluster.until_at_work(jobs[0])
    assert cancel(cluster.store, [jobs[2].run_id]) == [jobs[2].run_id]
    assert cancel(cluster.store, [jobs[0].run_id]) == [jobs[0].run_id]
    cluster.finish()
    assert kinds(cluster, *jobs) == ["cancelled", None, "cancelled"]
    assert set(cluster.wait(*jobs).values()) == {"done"}


def test_features_are_extracted_once_and_first(cluster: Cluster) -> None:
    from test_slurm_features import sharing

    jobs = sharing(cluster, 3)
    cluster.wait(*jobs)
    submissions = cluster.ledger.every()
    assert [run.features_only for run in submissions[0].units[0].entries] == [True]
    assert submissions[1].after == {submissions[0].name: (0,)}
    assert kinds(cluster, *jobs) == [None] * 3
