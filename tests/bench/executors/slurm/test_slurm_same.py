"""On a real cluster, real runs: the store is that of the local executor, also after six kills at random moments."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from slurm_cluster import ROOT, why_not

from spectral_bench.bench.executors.slurm.submissions import Ledger
from spectral_bench.results.store import Store

sys.path.insert(0, str(ROOT / "benchmarks"))

import chaos_slurm

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

RESTART = os.environ.get("BENCH_SLURM_RESTART", "")


@pytest.fixture(autouse=True)
def _cluster() -> None:
    if reason := why_not():
        pytest.skip(reason)


def bench(grid: Path, out: Path, *options: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "bench", "run", "--grid", str(grid), "--out", str(out), *options]
    done = subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_three_runs_a_job_give_the_records_of_the_local_executor(tmp_path: Path) -> None:
    grid = tmp_path / "grid.yaml"
    content = yaml.safe_load(chaos_slurm.grid_text(2))
    for row, seeds in zip(content["runs"], ([0, 1, 2], [0], [0]), strict=True):  # a job of three; one waits
        row["seeds"] = seeds
    grid.write_text(yaml.safe_dump(content))
    bench(grid, tmp_path / "slurm", "--executor", "slurm", "--wait")
    bench(grid, tmp_path / "local", "--threads", "1")
    found, expected = (chaos_slurm.content(tmp_path / name) for name in ("slurm", "local"))
    assert len(expected) == 2 * 5
    submissions = Ledger(Store.open(tmp_path / "slurm")).every()
    assert 3 in {len(unit.entries) for one in submissions for unit in one.units}
    assert found == expected


@pytest.mark.nightly
@pytest.mark.skipif(not RESTART, reason="BENCH_SLURM_RESTART names no script that restarts this cluster's daemons")
def test_six_kills_leave_the_store_of_an_undisturbed_day(tmp_path: Path) -> None:
    script = [sys.executable, str(ROOT / "benchmarks" / "chaos_slurm.py")]
    options = ["--kills", "6", "--pause", "3", "--epochs", "2", "--folder", str(tmp_path), "--restart", RESTART]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*script, *options],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
