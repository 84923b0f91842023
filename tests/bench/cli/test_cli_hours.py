"""``run --max-hours`` and ``--budget``: what is begun, when it stops, and what is said of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from cli_lab import Bench, FakeExecutor, Launcher
from plan_lab import SMALL, Lab

from spectral_bench.bench.cli import hours as module
from spectral_bench.bench.cli.endings import Launch
from spectral_bench.bench.cli.hours import TIME_UP, Hours, fitting_cohorts
from spectral_bench.bench.executors import InlineExecutor
from spectral_bench.bench.executors.jobs import Event, Job
from spectral_bench.bench.plan.budget import Piece
from spectral_bench.bench.plan.prediction import Part, Prediction
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


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--budget", "2"), "--budget 2: expected hours or GPU-hours above 0, such as 90m, 2h, 1.5d or 20gpuh"),
        (("--budget", "0h"), "--budget 0h: expected hours or GPU-hours above 0, such as 90m, 2h, 1.5d or 20gpuh"),
        (("--budget", "-1h"), "--budget -1h: expected hours or GPU-hours above 0, such as 90m, 2h, 1.5d or 20gpuh"),
        (("--budget", "2h", "--max-hours", "3"), "--budget 2h: --max-hours 3 is given, too; give one of them"),
        (
            ("--budget", "2h", "--budget-by", "row"),
            '--budget-by: unknown order "row"; did you mean "rows"? valid: rows, seeds',
        ),
        (("--budget-by", "seeds"), "--budget-by seeds: says in which order a budget is spent; give --budget too"),
        (
            ("--budget", "20gpuh"),
            "--budget 20gpuh: no GPU is named; give --gpus or --device cuda, or a budget in hours",
        ),
    ],
)
def test_budgets_that_are_none_are_refused(bench: Bench, lab: Lab, options: tuple[str, ...], says: str) -> None:
    result = bench("run", "--grid", lab.write("runs: [{method: kmeans}]"), "--out", lab.out, *options)
    assert (result.code, result.err) == (2, f"error: {says}\n")
    assert not lab.out.exists()


def planted(monkeypatch: pytest.MonkeyPatch, *, fit: float | None) -> None:
    """Every cache takes six minutes, and each run as many hours as its part of a fit says."""

    def hours(parts: Sequence[Part], measured: object) -> float | None:
        return 0.1 if [part.kind for part in parts] == ["features"] else fit

    monkeypatch.setattr("spectral_bench.bench.plan.budget._hours", hours)


@pytest.mark.parametrize(
    ("by", "titles", "left"),
    [
        ((), ["input=last, seed 0", "input=last, seed 1"], "kmeans, input=last_l2, seeds 0, 1"),
        (("--budget-by", "seeds"), ["input=last, seed 0", "input=last_l2, seed 0"], "kmeans, input=last, seed 1"),
    ],
)
def test_what_fits_into_a_budget_is_done_and_the_rest_is_told(
    bench: Bench, lab: Lab, monkeypatch: pytest.MonkeyPatch, by: tuple[str, ...], titles: list[str], left: str
) -> None:
    planted(monkeypatch, fit=0.5)
    done: list[FakeExecutor] = []

    def make(*given: object, **options: object) -> FakeExecutor:
        done.append(FakeExecutor(lab.store))
        return done[-1]

    monkeypatch.setattr("spectral_bench.bench.cli.run.make_executor", make)
    wanted = ("run", "--grid", lab.write(SMALL), "--out", lab.out)
    result = bench(*wanted, "--budget", "1.25h", *by)
    assert result.code == TIME_UP
    of = {run.run_id: f"{run.title.removeprefix('kmeans, ')}, seed {run.spec.seed}" for run in lab.plan().runs}
    assert [of[name] for name in done[-1].carried_out] == titles
    lines = result.out.splitlines()
    first = f"--budget 1.25h, {'seeds' if by else 'rows'} first: 2 runs in 72 min of 75 min"
    assert lines[0] == first
    assert lines[1].startswith(f"left out: {left}: needs ")
    assert lines[1].endswith(", and 3 min were left")
    assert "all of it needs --budget 2.2h" in lines
    assert "2 runs left, 2 of them beyond the budget; go on with:" in lines
    # What is done costs nothing any more: the same command goes on, and ends with all of it.
    monkeypatch.setattr(
        "spectral_bench.bench.cli.hours.pieces_of", lambda plan: {r.run_id: Piece(0.5) for r in plan.unfinished}
    )
    assert bench(*wanted, "--budget", "1.25h").code == 0
    assert len(done[-1].carried_out) == 2
    assert len(lab.store.manifests()[0].rows) == 2


def test_a_budget_too_small_for_anything_does_nothing(bench: Bench, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, fit=0.5)
    result = bench("run", "--grid", lab.write(SMALL), "--out", lab.out, "--budget", "10m", "--dry-run")
    assert result.code == TIME_UP
    assert "--budget 10m, rows first: 0 runs in 0 s of 10 min" in result.out
    assert "the next run needs at least --budget 0.7h" in result.out.splitlines()  # its two caches, and itself
    assert not lab.out.exists()


@pytest.mark.parametrize("given", [("--budget", "10m"), ("--budget=10m",)])
def test_how_to_go_on_names_a_budget_that_something_fits_into(
    launch: Launcher, bench: Bench, lab: Lab, monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...]
) -> None:
    planted(monkeypatch, fit=0.5)
    result, executor = launch(SMALL, *given)
    assert (result.code, executor.carried_out) == (TIME_UP, [])
    assert result.out.splitlines()[-2] == "4 runs left, 4 of them beyond the budget; go on with:"
    assert result.out.rstrip().endswith(" ".join(given).replace("10m", "0.7h"))
    done = FakeExecutor(lab.store)
    monkeypatch.setattr("spectral_bench.bench.cli.run.make_executor", lambda *given, **options: done)
    bench("run", "--grid", lab.folder / "g.yaml", "--out", lab.out, "--budget", "0.7h")
    assert len(done.carried_out) == 1


def test_what_saved_nothing_and_is_of_a_kind_not_seen_before_can_be_probed(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_of(lab, None, None, None, None)
    Hours(1, plan, {}).say_rest(Launch({plan.runs[0].run_id: "interrupted"}, {}))
    assert "saved nothing; bench plan --probe tells what it takes" in capsys.readouterr().out


def test_what_nobody_knows_begins_last(bench: Bench, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, fit=None)
    result = bench("run", "--grid", lab.write(SMALL), "--out", lab.out, "--budget", "1h", "--dry-run")
    assert result.code == 0
    assert "--budget 1h, rows first: 4 runs in 12 min of 60 min, as far as known" in result.out
    assert "4 runs of a kind not seen before come last, while there is time (bench plan --probe tells)" in result.out


def test_cohorts_that_would_not_fit_are_torn(lab: Lab) -> None:
    plan = plan_of(lab, 1000.0, 3000.0, 500.0, None)
    names = [run.run_id for run in plan.runs]
    formed = dict(zip(names, "aabb", strict=True))
    assert fitting_cohorts(formed, plan, 1.0) == {names[2]: "b", names[3]: "b"}
    assert fitting_cohorts(formed, plan, 2.0) == formed


@pytest.mark.parametrize(("hours", "told"), [(1.23e-5, "0.000013"), (0.0, "0"), (0.301, "0.31"), (12.01, "13")])
def test_a_budget_that_is_named_can_be_stated(hours: float, told: str) -> None:
    assert module._round_up(hours) == told
    assert not hours or module.read_budget(f"{told}h", None, max_hours=None, executor="local", gpus=0) is not None
