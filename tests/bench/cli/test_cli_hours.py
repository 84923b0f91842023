"""``run --max-hours``: what is begun, when it stops, and what is said of the rest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cli_lab import Bench
from plan_lab import Lab

from spectral_bench.bench.cli import run as module
from spectral_bench.bench.cli.launch import Launch
from spectral_bench.bench.cli.run import TIME_UP, Hours
from spectral_bench.bench.executors import InlineExecutor
from spectral_bench.bench.executors.jobs import Event, Job
from spectral_bench.bench.plan.prediction import Prediction
from spectral_bench.bench.plan.states import Plan
from spectral_bench.bench.work.worker import ExitCode
from spectral_bench.common.files import write_bytes
from spectral_bench.results.record import Failure
from spectral_bench.results.runs import CHECKPOINT_FILE


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def plan_of(lab: Lab, *seconds: float | None, machine: str = "m") -> Plan:
    """A plan whose runs take these times."""
    plan = lab.plan()
    predicted = [
        None if each is None else Prediction({"fit": each}, each, each, 1, None, machine, "runs") for each in seconds
    ]
    runs = tuple(replace(run, prediction=one) for run, one in zip(plan.runs, predicted, strict=True))
    return replace(plan, runs=runs)


def job(plan: Plan, index: int) -> Job:
    return Job(plan.runs[index].run_id, Path("order.json"))


def test_a_cohort_takes_what_all_of_its_runs_take(lab: Lab, clock: Clock) -> None:
    plan = plan_of(lab, 1000.0, 3000.0, 500.0, None)
    first, second, third, _ = (run.run_id for run in plan.runs)
    together = Hours(1, plan, {first: "a", second: "a", third: "b"})
    assert [together.admits(job(plan, index)) for index in range(4)] == [False, False, True, True]
    assert all(Hours(1, plan, {}).admits(job(plan, index)) for index in range(4))


def test_what_does_not_fit_any_more_is_not_begun(lab: Lab, clock: Clock) -> None:
    plan = plan_of(lab, 1000.0, 3000.0, 4000.0, None)
    hours = Hours(1, plan, {})
    assert [hours.admits(job(plan, index)) for index in range(4)] == [True, True, False, True]
    clock.now += 1000
    assert [hours.admits(job(plan, index)) for index in range(4)] == [True, False, False, True]
    hours.watch(Event("tick"))
    assert not hours.stop()
    clock.now += 2600
    assert [hours.admits(job(plan, index)) for index in range(4)] == [False] * 4
    hours.watch(Event("tick"))
    hours.watch(Event("tick"))
    assert hours.stop.count == 1  # a second would end the workers at once


def test_the_rest_is_told_with_its_reason(lab: Lab, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_of(lab, 3000.0, 2000.0, 4000.0, None, machine="GPU H9")
    hours = Hours(1, plan, {}, gpus=2)
    hours.announce()
    clock.now += 3000
    for index in range(4):
        hours.admits(job(plan, index))
    hours.watch(Event("tick"))
    clock.now += 60  # in which tables are printed
    exits = dict(zip([run.run_id for run in plan.runs], ("interrupted", "pending", "pending", "pending"), strict=True))
    write_bytes(lab.store.run_folder(plan.runs[0].run_id) / CHECKPOINT_FILE, b"x")
    hours.say_rest(Launch(exits, {}))
    told = capsys.readouterr().out.splitlines()
    assert told == [
        "--max-hours 1: the plan takes 2.5 h on one worker; 1 run of a kind not seen before: begun while there is time "
        "(bench plan --probe tells)",
        "GPU-hours: at most 2, of which the plan takes 2.5",
        "GPU-hours spent: 1.7",
        "stopped after 50 min: kmeans, input=last, seed 0: goes on from what it has saved",
        "left out: kmeans, input=last_l2, seed 0: takes 33 min, and 10 min were left",
        "left out: kmeans, input=last, seed 1: takes 67 min, more than --max-hours 1 in all",
        "left out: kmeans, input=last_l2, seed 1: the hours were up before its turn",
    ]


def test_what_had_saved_nothing_begins_anew(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_of(lab, 3000.0, 2000.0, 4000.0, None)
    Hours(1, plan, {}).say_rest(Launch({plan.runs[0].run_id: "interrupted"}, {}))
    assert capsys.readouterr().out.endswith(": kmeans, input=last, seed 0: begins anew, since it had saved nothing\n")


@pytest.mark.parametrize(
    ("exits", "by_signal", "code"),
    [
        ({"a": "done", "b": "pending"}, False, TIME_UP),
        ({"a": "interrupted"}, False, TIME_UP),
        ({"a": "interrupted"}, True, 1),
        ({"a": "failed", "b": "pending"}, False, 1),
        ({"a": "done"}, False, 0),
    ],
)
def test_exit_codes(lab: Lab, exits: dict[str, str], by_signal: bool, code: int) -> None:
    hours = Hours(1, lab.plan(), {})
    hours.stop.request(2 if by_signal else None)
    failures = {run: Failure(kind="exception", message="m") for run, how in exits.items() if how == "failed"}
    assert hours.exit_code(Launch(exits, failures)) == code  # type: ignore[arg-type]


def test_an_executor_leaves_out_what_is_not_admitted_and_what_waits_for_it(lab: Lab) -> None:
    from spectral_bench.bench.cli.launch import write_job
    from spectral_bench.bench.plan.states import plan_orders
    from spectral_bench.bench.work.order import Execution

    plan = lab.plan("runs: [{method: neuralef_kmeans}, {method: kmeans}]")
    jobs = [write_job(order, lab.store) for order in plan_orders(plan, Execution(), [])]
    begun: list[str] = []

    def work(path: Path, *, known_failures: int | None) -> int:
        begun.append(path.parent.name)
        return ExitCode.INTERRUPTED

    refused = jobs[0].run_id
    assert jobs[1].requires == {refused}
    executor = InlineExecutor(lab.store, target=work, admits=lambda one: one.run_id != refused)
    exits = executor.run(jobs, lambda event: None)
    assert begun == [jobs[2].run_id]
    assert exits == {jobs[0].run_id: "pending", jobs[1].run_id: "pending", jobs[2].run_id: "interrupted"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--max-hours", "0"), "--max-hours 0: expected a number above 0"),
        (("--max-hours", "-1"), "--max-hours -1: expected a number above 0"),
        (("--max-hours", "nan"), "--max-hours nan: expected a number above 0"),
        (("--max-hours", "2", "--executor", "slurm"), "--max-hours 2: with Slurm, --time says how long a job takes"),
    ],
)
def test_hours_that_are_none_are_refused(bench: Bench, lab: Lab, options: tuple[str, ...], says: str) -> None:
    result = bench("run", "--grid", lab.write("runs: [{method: kmeans}]"), "--out", lab.out, *options)
    assert (result.code, result.err) == (2, f"error: {says}\n")
