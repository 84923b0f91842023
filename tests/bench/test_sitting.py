"""Which launch a run comes from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spectral_bench.bench.executors import InlineExecutor, LocalExecutor
from spectral_bench.bench.work.order import VARIABLE, begin_sitting, sitting
from spectral_bench.results.store import Store

ASK = "from spectral_bench.bench.work.order import sitting; print(sitting('local'))"


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (VARIABLE, "SLURM_JOB_ID", "SLURM_RESTART_COUNT"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def ask_a_worker() -> str:
    return subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True).stdout.strip()


def test_the_workers_of_a_launcher_share_its_sitting() -> None:
    begin_sitting()
    mine = sitting("local")
    assert f"process {os.getpid()} of" in mine
    begin_sitting()
    assert [ask_a_worker(), ask_a_worker(), sitting("inline")] == [mine] * 3


def test_a_launcher_is_a_sitting_of_its_own_whoever_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "that of a process above")
    begin_sitting()
    assert sitting("local") != "that of a process above"


def test_a_worker_that_nobody_launched_is_a_sitting_of_its_own() -> None:
    assert ask_a_worker() != ask_a_worker()


def test_a_job_of_a_batch_system_is_a_sitting(monkeypatch: pytest.MonkeyPatch) -> None:
    begin_sitting()  # handed down to jobs with the rest of the environment
    monkeypatch.setenv("SLURM_JOB_ID", "815")
    assert sitting("slurm") == "slurm job 815"
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    assert sitting("slurm") == "slurm job 815, restart 2"
    assert "process" in sitting("local")  # several launches inside of one job


@pytest.mark.parametrize("executor", [InlineExecutor, LocalExecutor])
def test_executors_on_this_machine_begin_a_sitting(
    tmp_path: Path, executor: type[InlineExecutor | LocalExecutor]
) -> None:
    assert executor(Store.open(tmp_path / "store", create=True)).run([], print) == {}
    assert os.environ[VARIABLE] == sitting("local")
