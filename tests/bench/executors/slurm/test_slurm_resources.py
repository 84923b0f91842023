"""What jobs ask for where nobody says it, and what they ask for after a try that was not enough."""

from __future__ import annotations

import pytest
from slurm_workbench import SlurmLab

from spectral_bench.bench.executors.slurm import wait as waiting
from spectral_bench.bench.executors.slurm.cluster import Partition, Slurm, ask_rules
from spectral_bench.bench.executors.slurm.resources import Limits, Sizer, limits_of
from spectral_bench.bench.grid.keys import ExecutorBlock, SlurmSettings
from spectral_bench.bench.plan.estimate import parts_of_order
from spectral_bench.bench.plan.prediction import Measurement, Measurements
from spectral_bench.bench.plan.records import tries_of
from spectral_bench.bench.work.order import read_order

ROOMY = Limits(10**6, None)


def measured(lab: SlurmLab, job: object, *, seconds: float, host: int) -> Measurements:
    """As if every part of the run had been measured."""
    parts = parts_of_order(read_order(job.order_path), lab.store)  # type: ignore[attr-defined]
    return Measurements(Measurement(part, {"fit": seconds}, host=host, machine="m") for part in parts)


def test_what_is_predicted_with_a_margin(slurm_lab: SlurmLab) -> None:
    job = slurm_lab.job(views=0)
    orders = {job.run_id: read_order(job.order_path)}
    known = measured(slurm_lab, job, seconds=2400.0, host=4 * 2**30)
    asked = Sizer(slurm_lab.store, orders, lambda partition: ROOMY, known)([job], SlurmSettings())
    assert asked.chosen == ("mem", "time")
    assert asked.settings.mem == "6G"  # 4 GiB, a quarter more, and 1 GiB
    assert asked.settings.time == "2h"  # 40 min times e^0.2, half as much again, and 10 min
    assert "predicted from runs" in asked.why
    stated = Sizer(slurm_lab.store, orders, lambda partition: ROOMY, known)([job], SlurmSettings(mem="2G", time="1h"))
    assert (stated.chosen, stated.settings) == ((), SlurmSettings(mem="2G", time="1h"))


def test_what_was_never_measured_and_what_the_partition_has(slurm_lab: SlurmLab) -> None:
    job = slurm_lab.job()
    orders = {job.run_id: read_order(job.order_path)}
    none = Measurements(())
    asked = Sizer(slurm_lab.store, orders, lambda partition: ROOMY, none)([job], SlurmSettings())
    assert (asked.settings.mem, asked.settings.time) == ("4G", "4h")
    small = Limits(3000, 60)
    asked = Sizer(slurm_lab.store, orders, lambda partition: small, none)([job], SlurmSettings())
    assert (asked.settings.mem, asked.settings.time) == ("3000M", "1h")
    assert "and 3000M is the most" in asked.why
    asked = Sizer(slurm_lab.store, orders, lambda partition: ROOMY, none)([job], SlurmSettings(max_mem="2G"))
    assert asked.settings.mem == "2G"


@pytest.mark.parametrize(
    ("block", "state", "options"),
    [
        (ExecutorBlock(time="20m"), "OUT_OF_MEMORY", ["--mem=4G", "--mem=8000M"]),
        (ExecutorBlock(mem="1G", time="20m", max_mem="3G"), "OUT_OF_MEMORY", ["--mem=1G", "--mem=2G", "--mem=3G"]),
        (ExecutorBlock(mem="1G", time="20m", max_time="30m"), "TIMEOUT", ["--time=20", "--time=30"]),
        (ExecutorBlock(mem="1G", time="20m"), "OUT_OF_MEMORY", ["--mem=1G"]),
    ],
)
def test_a_waiting_launcher_tries_again_with_twice_as_much(
    slurm_lab: SlurmLab, monkeypatch: pytest.MonkeyPatch, block: ExecutorBlock, state: str, options: list[str]
) -> None:
    monkeypatch.setattr(waiting, "STORE_S", 0.0)
    monkeypatch.setattr(waiting, "SLURM_S", (0.0, 0.0))
    slurm_lab.block = block
    job = slurm_lab.job()

    def on_event(event: object) -> None:
        if getattr(event, "kind", "") == "tick":
            slurm_lab.end(state)

    assert slurm_lab.executor(wait=True).run([job], on_event)[job.run_id] == "failed"
    name = options[0].partition("=")[0]
    found = [next(one for one in call if one.startswith(name)) for call in slurm_lab.fake.submitted()]
    assert found == options
    tries = tries_of(slurm_lab.store, job.run_id)
    assert len(tries) == len(options)
    assert all(one.memory and one.minutes for one in tries)


def test_a_later_launch_tries_again_with_twice_as_much(slurm_lab: SlurmLab) -> None:
    slurm_lab.block = ExecutorBlock(time="20m")
    job = slurm_lab.job()
    slurm_lab.launch(job)
    slurm_lab.end("OUT_OF_MEMORY")
    slurm_lab.record_ended()
    # What nobody stated is no setting that a retry would start from.
    assert slurm_lab.ledger.last_settings().mem is None
    slurm_lab.block = slurm_lab.ledger.last_settings()
    slurm_lab.launch(job)
    assert [any(one.startswith("--mem=8000M") for one in call) for call in slurm_lab.fake.submitted()] == [False, True]


def test_rules_of_partitions() -> None:
    class Told:
        def __call__(self, command: object) -> object:
            from spectral_bench.bench.executors.slurm.cluster import Answer

            if "config" in command:  # type: ignore[operator]
                return Answer(0, "DefMemPerCPU            = 128\n")
            return Answer(0, "PartitionName=a MaxTime=1-00:00:00 MaxMemPerNode=2000 State=UP TotalNodes=2\n")

    found = ask_rules(Slurm(Told()), {"a": Partition("a", 4, 8000), "b": Partition("b", 4, 9000)})  # type: ignore[arg-type]
    assert (found["a"].minutes, found["a"].most_mem, found["a"].default_mem) == (1440, 2000, "128 MB a processor")
    assert limits_of("a", found, None) == Limits(2000, 1440)
    assert limits_of("a,b", found, None) == Limits(9000, None)
    assert limits_of(None, found, None) == Limits()
