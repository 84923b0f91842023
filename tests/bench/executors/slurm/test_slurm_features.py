"""The extraction of shared features as jobs of its own."""

from __future__ import annotations

from typing import NoReturn

import pytest
from slurm_workbench import SlurmLab

from spectral_bench.bench.executors.jobs import Job
from spectral_bench.bench.executors.slurm.status import order_path
from spectral_bench.bench.executors.slurm.submissions import write_trace
from spectral_bench.bench.executors.slurm.submit import features_first
from spectral_bench.bench.grid.keys import ExecutorBlock, SlurmSettings
from spectral_bench.bench.plan.estimate import wanted_caches
from spectral_bench.bench.work.order import read_order
from spectral_bench.bench.work.worker import ExitCode
from spectral_bench.bench.work.worker import main as work
from spectral_bench.common.errors import DataError
from spectral_bench.results.specification import BackboneSpec, Features, Resize, TrainingData, Transform

BACKBONE = BackboneSpec(name="efficientnet_lite0", options={"weights": "random"}, weights="0" * 16)


def sharing(lab: SlurmLab, count: int, *, subset: int = 4, first: int = 0, mode: str = "cache") -> list[Job]:
    """Runs that read the same features."""
    jobs = []
    for seed in range(first, first + count):
        job = lab.job(seed)
        order = read_order(job.order_path)
        size = Transform(resize=Resize(mode="exact", size=(32, 32)))
        changes = {
            "features": Features.model_validate({"mode": mode}),
            "backbone": BACKBONE,
            "data": TrainingData(dataset="synthetic", subset=subset, transform=size),
        }
        order = order.model_copy(update={"spec": order.spec.model_copy(update=changes)})
        run_id = order.spec.run_id
        path = lab.store.run_folder(run_id) / "order-shared.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(order.model_dump_json())
        jobs.append(Job(run_id, path))
    return jobs


def split(lab: SlurmLab, jobs: list[Job]) -> tuple[list[Job], list[Job]]:
    orders = {job.run_id: read_order(job.order_path) for job in jobs}
    extracting, waiting = features_first(jobs, orders, lab.store)
    assert all(orders[job.run_id].features_only for job in extracting)
    assert all(read_order(job.order_path) == orders[job.run_id] for job in extracting)
    return extracting, waiting


def test_shared_features_are_extracted_once(slurm_lab: SlurmLab) -> None:
    jobs = sharing(slurm_lab, 3)
    (extraction,), waiting = split(slurm_lab, jobs)
    assert [job.run_id for job in waiting] == [job.run_id for job in jobs]
    assert all(job.requires == {extraction.run_id} for job in waiting)
    assert len(read_order(extraction.order_path).views) == 2


def test_each_cache_is_written_by_one_job(slurm_lab: SlurmLab) -> None:
    """Two groups see other training images and are evaluated on the same: the second extraction leaves those out."""
    jobs = [*sharing(slurm_lab, 2), *sharing(slurm_lab, 2, subset=3, first=5)]
    (first, second), waiting = split(slurm_lab, jobs)
    assert [len(read_order(job.order_path).views) for job in (first, second)] == [2, 0]
    assert [job.requires for job in waiting[:2]] == [{first.run_id}] * 2
    assert [job.requires for job in waiting[2:]] == [{first.run_id, second.run_id}] * 2


@pytest.mark.parametrize(("count", "mode"), [(1, "cache"), (3, "online")])
def test_nothing_to_share(slurm_lab: SlurmLab, count: int, mode: str) -> None:
    extracting, waiting = split(slurm_lab, sharing(slurm_lab, count, mode=mode))
    assert extracting == []
    assert all(job.requires == frozenset() for job in waiting)


def test_features_that_are_there_are_not_extracted_again(slurm_lab: SlurmLab) -> None:
    jobs = sharing(slurm_lab, 2)
    order = read_order(jobs[0].order_path)
    for cache in wanted_caches(order.spec, fitted=False, missing=order.views):
        folder = slurm_lab.store.path / "features" / cache.key
        folder.mkdir(parents=True)
        (folder / "meta.json").touch()
    assert split(slurm_lab, jobs)[0] == []


def test_they_are_submitted_first_with_settings_of_their_own(slurm_lab: SlurmLab) -> None:
    slurm_lab.block = ExecutorBlock(features=SlurmSettings(partition="gpu", gpus=1), runs_per_job=2)
    jobs = sharing(slurm_lab, 2)
    assert set(slurm_lab.launch(*jobs)) == {job.run_id for job in jobs}
    extraction, runs = slurm_lab.fake.jobs
    assert "--partition=gpu" in extraction.script
    assert "--partition" not in runs.script
    assert "#SBATCH --dependency=afterok:100_0" in runs.script
    assert [event.kind for event in slurm_lab.events] == ["submitted"] * 2


def test_the_same_extraction_of_another_launcher_is_waited_for(slurm_lab: SlurmLab) -> None:
    slurm_lab.launch(*sharing(slurm_lab, 2))
    slurm_lab.launch(*sharing(slurm_lab, 2, first=5))
    assert len(slurm_lab.fake.submitted()) == 3
    assert "afterok:100_0" in slurm_lab.fake.jobs[-1].script


@pytest.mark.parametrize(
    ("state", "code", "said", "kind", "words"),
    [
        ("FAILED", "1:0", None, "store", "job 100_0 left no trace in "),
        ("OUT_OF_MEMORY", "0:125", "", "out_of_memory", "ask for more with --mem"),
        ("FAILED", "127:0", "", "setup", "job 100_0 could not start Python"),
        ("FAILED", "2:0", "error: execve(): /no/python: No such file or directory", "setup", "--python"),
        ("FAILED", "2:0", "error: x on n1: no submission here; this node does not see the store", "store", "--out"),
        ("NODE_FAIL", "0:0", "", "node_failure", "lost its node"),
        ("CANCELLED by 0", "0:0", "", "cancelled", "outside of bench"),
    ],
)
def test_why_an_extraction_failed_is_told_by_those_that_need_it(
    slurm_lab: SlurmLab, state: str, code: str, said: str | None, kind: str, words: str
) -> None:
    """It has no record of its own."""
    jobs = sharing(slurm_lab, 2)
    slurm_lab.launch(*jobs)
    extraction = slurm_lab.fake.jobs[0]
    if said is not None:
        (slurm_lab.ledger.of(extraction.name) / "100_0_0_log.out").write_text(said)
    slurm_lab.become(extraction, state, code=code)
    slurm_lab.end("CANCELLED")
    slurm_lab.record_ended()
    for failure in map(slurm_lab.failure, jobs):
        assert failure is not None
        assert failure.kind == kind
        assert failure.message.startswith("features were not extracted: job 100_0 ")
        assert words in failure.message
    assert slurm_lab.ledger.open() == []


def test_an_extraction_that_could_still_speak_tells_why(slurm_lab: SlurmLab) -> None:
    jobs = sharing(slurm_lab, 2)
    slurm_lab.launch(*jobs)
    extraction = slurm_lab.fake.jobs[0]
    submission = slurm_lab.ledger.read(extraction.name)
    assert submission is not None
    (run,) = submission.units[0].entries
    write_trace(slurm_lab.ledger.of(extraction.name), 0, host="n1", job="7", run_id=run.run_id)

    def corrupt(*args: object, **kwargs: object) -> NoReturn:
        raise DataError("x.png: cannot be read")

    assert work(order_path(run, slurm_lab.store), execute=corrupt, set_up=lambda order: None) == ExitCode.FAILED
    slurm_lab.become(extraction, "FAILED", code="1:0")
    slurm_lab.end("CANCELLED")
    slurm_lab.record_ended()
    failures = [slurm_lab.failure(job) for job in jobs]
    assert [(one.kind, one.message) for one in failures if one] == [
        ("data", "features were not extracted: x.png: cannot be read")
    ] * 2


def test_an_extraction_that_sbatch_refuses(slurm_lab: SlurmLab) -> None:
    executor = slurm_lab.executor()
    executor.check(["fake"])
    slurm_lab.fake.refuse = "Job violates accounting/QOS policy"
    jobs = sharing(slurm_lab, 2)
    assert set(executor.run(jobs, slurm_lab.events.append).values()) == {"failed"}
    for failure in map(slurm_lab.failure, jobs):
        assert failure is not None
        assert failure.kind == "rejected"
        assert "QOS policy" in failure.message
