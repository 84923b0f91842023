"""A real Slurm, where one answers, and the workbench on it."""

from __future__ import annotations

import functools
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slurm_workbench import SlurmLab

from spectral_bench.bench.executors.jobs import Exit, Job
from spectral_bench.bench.executors.slurm.cluster import Slurm, run_command
from spectral_bench.bench.executors.slurm.status import TrackedRun
from spectral_bench.bench.grid.keys import ExecutorBlock
from spectral_bench.common.errors import UserError
from spectral_bench.results.store import Store

PATIENCE_S = 600.0
ROOT = Path(__file__).parents[4]


@functools.cache
def why_not() -> str:
    """Why tests of a cluster are skipped; empty where one answers."""
    try:
        states = Slurm().ask("sinfo", "-h", "-N", "-o", "%T").split()
        Slurm().ask("sacct", "-n", "-j", "1")
    except UserError as error:
        return f"no Slurm cluster answers: {error}"
    return "" if any(state in ("idle", "mixed", "allocated") for state in states) else "no node of Slurm is up"


class Cluster(SlurmLab):
    """Runs that cost nothing on a real cluster."""

    def __init__(self, store: Store, folder: Path) -> None:
        super().__init__(store)
        self.slurm = Slurm(run_command)
        python = folder / "python"
        path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests" / "bench")])
        python.write_text(
            f"#!/bin/sh\nexport PYTHONPATH={path} OMP_NUM_THREADS=1\n"
            f'exec {shlex.quote(sys.executable)} {Path(__file__).with_name("fake_task.py")} "$@"\n'
        )
        python.chmod(0o755)
        self.python = str(python)
        self.configure()

    def configure(self, **settings: Any) -> None:
        self.block = ExecutorBlock(**{"python": self.python, "time": "20m", "mem": "300M", "cpus": 1} | settings)

    def wait(self, *jobs: Job) -> dict[str, Exit]:
        return self.executor(wait=True).run(jobs, self.events.append)

    def newest(self, job: Job) -> TrackedRun | None:
        return self.tracked().newest().get(job.run_id)

    def until(self, what: Callable[[], Any], seconds: float = PATIENCE_S) -> None:
        """Wait for something that must happen."""
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, "it never happened"
            time.sleep(0.3)

    def until_at_work(self, job: Job) -> TrackedRun:
        self.until(lambda: self.store.is_claimed(job.run_id))
        run = self.newest(job)
        assert run is not None
        return run

    def finish(self, *jobs: Job) -> None:
        """Wait until every submission is closed."""

        def closed() -> bool:
            self.record_ended()
            return not self.ledger.open()

        self.until(closed)

    def started(self, job: Job) -> int:
        """How often the fit of a run was begun."""
        path = self.store.run_folder(job.run_id) / "fits"
        return len(path.read_text().splitlines()) if path.exists() else 0


def command(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


def partitions() -> list[str]:
    return Slurm().ask("sinfo", "-h", "-o", "%R").split()


def resume(node: str) -> None:
    """Bring a node back, unless it has come back by itself."""
    subprocess.run(["scontrol", "update", f"NodeName={node}", "State=RESUME"], check=False, capture_output=True)
