"""Carry out jobs one after the other in the calling process, for debugging: output stays on the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from spectral_bench.bench.executors.exits import JobExits
from spectral_bench.bench.executors.interface import Event, Exit, Job, OnEvent, Target
from spectral_bench.bench.executors.schedule import Schedule
from spectral_bench.bench.work import worker
from spectral_bench.bench.work.launch import begin_sitting
from spectral_bench.results.store import Store


def _work(path: Path, *, known_failures: int | None) -> int:
    return worker.main(path, known_failures=known_failures, log=False)


class InlineExecutor:
    """Carries out jobs in this process. A crash of one is a crash of all; Ctrl-C stops after a checkpoint.

    Args:
        store: the store of all jobs.
        target: what carries out an order file.
    """

    name = "inline"

    def __init__(self, store: Store, *, target: Target = _work) -> None:
        self._store = store
        self._target = target

    def run(self, jobs: Iterable[Job], on_event: OnEvent) -> dict[str, Exit]:
        """Carry out ``jobs``: see ``Executor.run``. Runs of other launchers are left to them, not waited for."""
        begin_sitting()
        jobs = list(jobs)
        schedule, job_exits = Schedule(jobs), JobExits(self._store, jobs)
        while ready := schedule.ready():
            job = ready[0]
            how = job_exits.elsewhere(job) or self._do(job, job_exits, on_event)
            if how == "elsewhere":
                schedule.defer(job)
                on_event(Event("elsewhere", job.run_id))
                continue
            on_event(Event("finished", job.run_id, how))
            for lost, lacking in schedule.finish(job, how):
                job_exits.record_dependency(lost, lacking)
                on_event(Event("finished", lost.run_id, "dependency", f"needs {lacking}"))
            if how == "interrupted":
                on_event(Event("stopping"))
                break
        return schedule.rest()

    def _do(self, job: Job, job_exits: JobExits, on_event: OnEvent) -> Exit:
        on_event(Event("started", job.run_id))
        code = self._target(job.order_path, known_failures=job_exits.known_failures(job))
        return job_exits.exit_of(job, code, stopping=False, memory_kills=0)
