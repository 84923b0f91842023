"""run, status, logs, cancel and retry where the executor is a Slurm that is a dictionary, and on this machine."""

from __future__ import annotations

import json
import re
import signal
import sys
from pathlib import Path

import pytest
from cli_lab import Bench
from plan_lab import SMALL, Lab, fit_record

sys.path.insert(0, str(Path(__file__).parents[1] / "executors" / "slurm"))  # for fake_slurm

from fake_slurm import FakeSlurm

from spectral_bench.bench.cli.slurm import stated_settings
from spectral_bench.bench.cli.status import follow_file
from spectral_bench.bench.executors.slurm.script import script_text
from spectral_bench.bench.executors.slurm.submissions import Ledger, write_trace
from spectral_bench.common.errors import ConfigError

ONLINE = SMALL + "executor: {runs_per_job: 2, time: 1h}\n"
DOCUMENT = (Path(__file__).parents[3] / "docs" / "slurm.md").read_text(encoding="utf-8")


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    fake = FakeSlurm()
    monkeypatch.setattr("spectral_bench.bench.executors.slurm.cluster.run_command", fake)
    monkeypatch.setattr("spectral_bench.bench.plan.inputs.weights_digest", lambda name, options: "0" * 16)
    return fake


@pytest.fixture
def launch(bench: Bench, lab: Lab, slurm: FakeSlurm) -> Bench:
    return lambda *options: bench(
        "run",
        "--grid",
        lab.write(ONLINE),
        "--out",
        lab.out,
        "--executor",
        "slurm",
        "--set",
        "features.mode=online",
        *options,
    )


def runs(lab: Lab) -> list[str]:
    return [run.run_id for run in lab.plan(ONLINE, "features.mode=online").runs]


def states(bench: Bench, lab: Lab) -> dict[str, str]:
    found = re.findall(r"^(\w+) .*?(kmeans-s\d-\w+)", bench("status", "--out", lab.out).out, re.MULTILINE)
    return {run_id: state for state, run_id in found}


def test_a_day_with_slurm(bench: Bench, lab: Lab, slurm: FakeSlurm, launch: Bench) -> None:
    result = launch("--mem", "2G")
    assert (result.code, result.err) == (0, "")
    assert "4 runs with Slurm; see bench status" in result.out
    assert "| configuration" not in result.out
    assert set(states(bench, lab).values()) == {"pending"}
    assert launch().code == 0
    assert len(slurm.submitted()) == 1
    first = runs(lab)[0]
    assert bench("cancel", first, "--out", lab.out).out == f"{first}: cancelled\n"
    slurm.jobs[1].state, slurm.jobs[1].code = "FAILED", "3:0"
    slurm.jobs[0].state = "CANCELLED by 0"
    assert states(bench, lab)[first] == "cancelled"
    result = bench("retry", "--out", lab.out, "--mem", "4G")
    assert result.code == 0
    assert "to try again with executor slurm" in result.out
    script = slurm.jobs[-1].script
    assert "--mem=4G" in script
    assert "--time=60" in script
    assert "tried again" not in bench("retry", "--out", lab.out).out
    result = bench("cancel", "--all", "--out", lab.out)
    assert result.code == 0
    assert set(states(bench, lab).values()) == {"cancelled"}
    assert bench("cancel", "--all", "--out", lab.out).out == "no run waits or is at work\n"


def test_what_nobody_states_is_asked_for_and_told(bench: Bench, lab: Lab, slurm: FakeSlurm, launch: Bench) -> None:
    result = launch()
    assert result.code == 0
    assert "2 jobs (kmeans): 4G and 1h each; memory: by a rule of thumb, as it was never measured\n" in result.out
    assert "margins: memory: the predicted peak, a quarter more" in result.out
    assert all("--mem=4G" in call for call in slurm.submitted())
    slurm.jobs[0].state = slurm.jobs[1].state = "OUT_OF_MEMORY"
    assert bench("retry", "--out", lab.out).code == 0
    assert any("--mem=8000M" in call for call in slurm.submitted())  # all that a node has


def test_a_budget_counts_what_jobs_ask_for(bench: Bench, lab: Lab, slurm: FakeSlurm, launch: Bench) -> None:
    shown = launch("--budget", "1h", "--print-sbatch", "--mem", "2G")
    assert shown.code == 0
    assert "--array=0-0%" in shown.out
    result = launch("--budget", "1h", "--mem", "2G", "--budget-by", "seeds")
    assert (result.code, result.err) == (3, "")
    told = result.out.splitlines()
    # A job takes both rows of a seed here, and an hour.
    assert told[0] == "--budget 1h, seeds first: 2 runs, whose jobs ask for 60 min"
    assert told[1] == "left out: kmeans, input=last, seed 1: needs 60 min, and 0 s were left"
    assert "all of it needs --budget 2h" in told
    assert len(slurm.jobs) == 1
    # What is in the queue is paid for.
    result = launch("--budget", "1h", "--mem", "2G")
    assert result.code == 0
    assert len(slurm.jobs) == 2
    gpus = launch("--budget", "1.5gpuh", "--mem", "2G", "--gpus", "2", "--partition", "gpu", "--dry-run")
    assert "0 runs, whose jobs ask for 0 GPU-hours" in gpus.out


def test_budgets_that_hold_nothing_or_all_back_are_told(slurm: FakeSlurm, launch: Bench) -> None:
    none = launch("--budget", "1.5gpuh", "--mem", "2G", "--dry-run")
    assert (none.code, "--budget 1.5gpuh: no job asks for a GPU" in none.err) == (2, True)
    small = launch("--budget", "1m", "--mem", "2G", "--print-sbatch")
    assert (small.code, small.out.splitlines()[-1]) == (0, "nothing to submit: no job fits into the budget")
    assert slurm.jobs == []


def test_the_cluster_is_asked_once_before_jobs_are_submitted(slurm: FakeSlurm, launch: Bench) -> None:
    assert launch("--mem", "2G").code == 0
    trials = [call for call in slurm.asked("sbatch") if "--test-only" in call]
    assert len(trials) == len(set(trials)) == 1


class TestDoctor:
    GRID = SMALL + "executor: {runs_per_job: 2, methods: {kmeans: {mem: 12G}}}\n"

    def test_partitions_and_what_a_grid_asks_of_each(self, bench: Bench, lab: Lab, slurm: FakeSlurm) -> None:
        slurm.rules = (
            "PartitionName=debug MaxTime=1-00:00:00 DefaultTime=01:00:00 MaxMemPerNode=6000 State=UP TotalNodes=2\n"
        )
        result = bench("doctor", "--cluster", "--grid", lab.write(self.GRID), "--out", lab.out)
        assert (result.code, result.err) == (0, "")
        assert "cluster fake, controller head1: 4 partitions, arrays of up to 1000 jobs" in result.out
        lines = [line.split() for line in result.out.splitlines()]
        assert ["debug", "*", "UP", "2", "4", "0", "8000M", "6000M", "all", "24.0", "h", "60", "min"] in lines
        fits = [line for line in lines if line[:1] in (["debug"], ["gpu"]) and "kmeans" in line]
        assert [line[1:7] for line in fits] == [["2", "4", "kmeans", "12G", "4h", "-"]] * 2
        assert "no: --mem 12G: the largest node of partition debug has 8000 MB" in " ".join(fits[0])
        assert fits[1][-1] == "yes"
        assert not lab.out.exists()

    def test_as_json(self, bench: Bench, lab: Lab, slurm: FakeSlurm) -> None:
        result = bench("doctor", "--cluster", "--grid", lab.write(self.GRID), "--out", lab.out, "--json")
        told = json.loads(result.out)
        assert told["cluster"]["name"] == "fake"
        by_name = {one["name"]: one for one in told["partitions"]}
        assert by_name["gpu"]["gpus"] == 2
        assert [name for name, one in by_name.items() if one["default"]] == ["debug"]
        kmeans = {one["partition"]: bool(one["why_not"]) for one in told["asks"] if one["what"] == ["kmeans"]}
        assert kmeans == {"debug": True, "low": True, "gpu": False, "quiet": True}

    def test_where_no_partition_takes_it(self, bench: Bench, lab: Lab, slurm: FakeSlurm) -> None:
        grid = lab.write(self.GRID.replace("12G", "99G"))
        assert bench("doctor", "--cluster", "--grid", grid, "--out", lab.out).code == 1

    def test_where_no_slurm_answers(self, bench: Bench, lab: Lab, slurm: FakeSlurm) -> None:
        slurm.unreachable = True
        result = bench("doctor", "--cluster", "--out", lab.out)
        assert (result.code, result.err) == (1, "")
        assert result.out.startswith("no cluster to submit to: scontrol: slurm_load_jobs error: Unable to contact")
        told = json.loads(bench("doctor", "--cluster", "--out", lab.out, "--json").out)
        assert (told["cluster"], told["partitions"]) == (None, [])
        assert "Unable to contact" in told["error"]

    def test_a_grid_alone_is_refused(self, bench: Bench, lab: Lab) -> None:
        result = bench("doctor", "--grid", lab.write(SMALL), "--out", lab.out)
        assert (result.code, result.errors[0][-20:]) == (2, "; give --cluster too")


def test_why_tells_what_each_try_asked_for(bench: Bench, lab: Lab, slurm: FakeSlurm, launch: Bench) -> None:
    assert launch("--time", "20m").code == 0
    for job in slurm.jobs:
        job.state = "OUT_OF_MEMORY"
    assert bench("status", "--out", lab.out).code == 0
    text = bench("why", runs(lab)[0], "--out", lab.out).out
    assert re.search(r"failures behind it: 1 .*\n  \d{4}-\S+: asked for 4096 MB and 20 min: out_of_memory\n", text)
    (one,) = json.loads(bench("why", runs(lab)[0], "--out", lab.out, "--json").out)["tries"]
    assert (one["kind"], one["memory"], one["minutes"]) == ("out_of_memory", 4096, 20)


def test_settings_of_a_profile_are_named(
    bench: Bench, lab: Lab, slurm: FakeSlurm, launch: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would outrank the grid, and jobs could not be found again; who relies on them has to say so."""
    monkeypatch.setenv("SBATCH_ACCOUNT", "mine")
    monkeypatch.setenv("SBATCH_TIMELIMIT", "5")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    result = launch()
    assert result.code == 0
    warnings = [
        "warning: SBATCH_ACCOUNT, SBATCH_TIMELIMIT: jobs get what the command line and the grid say, and nothing of "
        "the environment; use options such as --partition, or --sbatch KEY=VALUE"
    ]
    assert result.errors == warnings
    for job in slurm.jobs:
        job.state, job.code = "FAILED", "9:0"
    assert bench("retry", "--out", lab.out).errors == warnings


def test_a_silent_controller_is_unknown(bench: Bench, lab: Lab, slurm: FakeSlurm, launch: Bench) -> None:
    launch()
    slurm.unreachable = True
    result = bench("status", "--out", lab.out)
    assert result.code == 0
    assert set(states(bench, lab).values()) == {"unknown"}
    assert "Slurm is not reachable" in result.out
    assert bench("retry", "--out", lab.out).out == "nothing to try again\n"
    result = bench("cancel", "--all", "--out", lab.out)
    assert result.code == 2
    assert result.err.startswith("error: nothing was cancelled")


def test_what_would_be_submitted(lab: Lab, slurm: FakeSlurm, launch: Bench) -> None:
    result = launch(
        "--print-sbatch", "--partition", "nowhere", "--sbatch", "mail-type=END", "--setup", "a", "--setup", "b"
    )
    assert result.code == 0
    assert "#SBATCH --partition=nowhere" in result.out
    assert "#SBATCH --mail-type=END" in result.out
    assert "# setup\na\n" in result.out
    assert not lab.out.exists()
    assert slurm.commands == []
    assert result.errors == [
        "warning: this listing is not checked against the cluster; a run is, before anything is submitted"
    ]


@pytest.mark.parametrize("executor", [(), ("--executor", "inline")])
@pytest.mark.parametrize("option", [("--print-sbatch",), ("--wait",), ("--mem", "3G"), ("--sbatch", "mail-type=END")])
def test_what_is_for_slurm_alone_is_refused_elsewhere(
    bench: Bench, lab: Lab, executor: tuple[str, ...], option: tuple[str, ...]
) -> None:
    result = bench("run", "--grid", lab.write(SMALL), "--out", lab.out, *executor, *option)
    assert result.code == 2
    name = executor[-1] if executor else "local"
    assert result.errors == [f"error: {option[0]}: the executor is {name}, and this is for --executor slurm alone"]
    assert not lab.out.exists()


def test_runs_whose_turn_never_came_are_tried_again(bench: Bench, lab: Lab, slurm: FakeSlurm, launch: Bench) -> None:
    """Two jobs of two runs die at their first: nothing is wrong with the second, and nobody is at work on it."""
    launch()
    (submission,) = Ledger(lab.store).open()
    for job, unit in zip(slurm.jobs, submission.units, strict=True):
        job.state, job.code = "FAILED", "9:0"
        folder = lab.out / "slurm" / job.name
        write_trace(folder, job.index, host="n1", job=job.job_id, run_id=unit.entries[0].run_id)
    text = bench("status", "--out", lab.out).out
    assert sorted(states(bench, lab).values()) == ["failed", "failed", "new", "new"]
    assert text.count("ordered, not begun: waits for its launcher, or for bench retry") == 2
    result = bench("retry", "--out", lab.out)
    assert "4 runs to try again" in result.out
    assert "kmeans, input=last, seed 0: submitted" in result.out
    assert set(states(bench, lab).values()) == {"pending"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--mem", "lots"), '--mem: expected memory such as 16G or 4000M, got "lots"'),
        (("--time", "soon"), "--time: expected a time such as"),
        (("--gpus", "a100"), "--gpus: expected a number of GPUs"),
        (("--sbatch", "=x"), "--sbatch: expected KEY=VALUE"),
        (("--jobs", "3"), "--jobs 3: with Slurm, --array-parallelism says"),
        (("--sbatch", "output=/x"), "--sbatch: the option output of sbatch is set by bench itself"),
        (("--partition", "debgu"), 'unknown partition "debgu"; did you mean "debug"?'),
        (("--mem", "900G"), "the largest node of partition debug has 8000 MB"),
        (("--set", "executor.partion=x"), 'unknown key "partion"; did you mean "partition"?'),
        (("--set", "executor.methods.kmeans.tim=1h"), 'unknown key "tim"; did you mean "time"?'),
        (
            ("--set", "executor.methods.kmean.time=1h"),
            'executor.methods: unknown method "kmean"; did you mean "kmeans"?',
        ),
        (("--set", "executor.time=soon"), "executor.time: expected a time such as"),
    ],
)
def test_bad_settings_are_one_line_and_nothing_is_written(
    lab: Lab, launch: Bench, options: tuple[str, ...], message: str
) -> None:
    result = launch(*options)
    assert result.code == 2
    assert message in result.err
    assert len(result.errors) == 1
    assert not lab.out.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--mem", "8G", "--max-mem", "4G"), "mem: 8G is more than max_mem, 4G"),
        (
            ("--set", "executor.methods.kmeans.time=2h", "--max-time", "90m"),
            "time for kmeans: 2h is more than max_time, 90m",
        ),
        (("--set", "executor.methods.kmean.time=1h"), 'executor.methods: unknown method "kmean"'),
    ],
)
def test_a_dry_run_checks_what_jobs_ask_for_and_asks_no_cluster(
    slurm: FakeSlurm, launch: Bench, options: tuple[str, ...], message: str
) -> None:
    result = launch("--dry-run", *options)
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert launch("--dry-run").code == 0
    assert slurm.commands == []


def test_no_sbatch_on_the_path(bench: Bench, lab: Lab, launch: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from spectral_bench.bench.executors.slurm.cluster import Answer

    def missing(command: tuple[str, ...]) -> Answer:
        raise FileNotFoundError(command[0])

    monkeypatch.setattr("spectral_bench.bench.executors.slurm.cluster.run_command", missing)
    result = launch()
    assert result.code == 2
    assert result.err.startswith("error: no sbatch on the path: ")
    assert not lab.out.exists()


def test_a_refusal_is_bad_input(lab: Lab, slurm: FakeSlurm, launch: Bench) -> None:
    def later(given: tuple[str, ...]) -> object:
        slurm.refuse = "" if "--test-only" in given else "no more jobs today"
        return type(slurm).sbatch(slurm, given)

    slurm.sbatch = later  # type: ignore[assignment, method-assign]
    result = launch()
    assert result.code == 2
    assert result.err.strip() == "error: sbatch: no more jobs today"


class TestLogs:
    def test_of_a_run(self, bench: Bench, lab: Lab) -> None:
        run = lab.plan().runs[0]
        lab.store.write_fit(fit_record(run.spec))
        assert "no log yet" in bench("logs", run.run_id, "--out", lab.out).err
        (lab.store.run_folder(run.run_id) / "log.txt").write_text("one\ntwo\n")
        assert bench("logs", run.run_id[:-3], "--out", lab.out).out == "one\ntwo\n"
        assert bench("logs", run.run_id, "--out", lab.out, "--follow").out == "one\ntwo\n"

    def test_of_a_job_whose_run_never_began(self, bench: Bench, lab: Lab, slurm: FakeSlurm, launch: Bench) -> None:
        launch()
        (folder,) = (lab.out / "slurm").glob("bench-*")
        (folder / "100_1_0_log.out").write_text("slurmstepd: error: no such node\n")
        assert bench("logs", runs(lab)[3], "--out", lab.out).out == "slurmstepd: error: no such node\n"
        assert "no log yet" in bench("logs", runs(lab)[0], "--out", lab.out).err

    def test_that_grows(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("spectral_bench.bench.cli.status.POLL_S", 0.0)
        path = tmp_path / "log.txt"
        parts = ["", "one\n", "tw", "o\n"]

        def at_work() -> bool:
            with path.open("a") as file:
                file.write(parts.pop(0))
            return bool(parts)

        follow_file(path, at_work)
        assert capsys.readouterr().out == "one\ntwo\n"


def test_what_is_not_stated_is_not_set() -> None:
    assert stated_settings({"mem": None, "setup": []}).model_fields_set == set()
    with pytest.raises(ConfigError, match=r"--runs-per-job: .* greater than or equal to 1, got 0"):
        stated_settings({"runs_per_job": 0})


def test_the_listing_of_the_page_is_what_sbatch_is_given() -> None:
    from spectral_bench.bench.executors.slurm.submissions import Submission, Unit
    from spectral_bench.bench.grid.keys import SlurmSettings

    listing = re.findall(r"```bash\n(#!/bin/bash.*?)```", DOCUMENT, re.DOTALL)[0]
    name = re.findall(r"--job-name=(\S+)", listing)[0]
    submission = Submission(name=name, units=(Unit(entries=()),) * 4, after={"features": (0,)}, user="me")
    settings = SlurmSettings(cpus=4, mem="16G", time="8h", setup="source /shared/me/env/bin/activate", python="python")
    script = script_text(submission, settings, Path("/shared/me/runs/slurm") / name, {"features": "55518417"})
    assert script.strip() == listing.strip()


def test_every_setting_is_on_the_page() -> None:
    from spectral_bench.bench.grid.keys import SLURM_KEYS

    described = set(re.findall(r"`(\w+)`", DOCUMENT))
    assert set(SLURM_KEYS) <= described
    assert signal.SIGUSR2.name.removeprefix("SIG") in DOCUMENT
