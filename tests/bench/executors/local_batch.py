"""A batch of fake runs for the tests of the local executor."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import fake_work
import psutil
from fake_work import MakeOrder

from spectral_bench.bench.executors.jobs import Event, Job
from spectral_bench.bench.executors.local import LocalExecutor
from spectral_bench.results.record import Failure
from spectral_bench.results.store import Store

PRELOAD = ("spectral_bench.bench.work.worker", "spectral_bench.bench.executors.local", "hypothesis")


class Batch:
    """Orders of fake runs and what became of them."""

    def __init__(self, store: Store, make_order: MakeOrder) -> None:
        self.store, self.make_order = store, make_order
        self.jobs: list[Job] = []
        self.events: list[Event] = []

    def add(self, seed: int = 0, requires: tuple[Job, ...] = (), **behaviour: Any) -> Job:
        path = self.make_order(seed, **behaviour)
        job = Job(path.stem, path, frozenset(other.run_id for other in requires))
        self.jobs.append(job)
        return job

    def run(self, react: Callable[[Event], None] = lambda event: None, **options: Any) -> list[str]:
        executor = LocalExecutor(self.store, **{"target": fake_work.target, "preload": PRELOAD} | options)

        def on_event(event: Event) -> None:
            self.events.append(event)
            react(event)

        exits = executor.run(self.jobs, on_event)
        return [exits[job.run_id] for job in self.jobs]

    def failure(self, job: Job) -> Failure:
        """The failure that the store holds of a job: its fit's, or else that of an evaluation."""
        run = self.store.load_run(job.run_id)
        assert run is not None
        records = [run.fit, *run.evaluations.values()]
        (failure,) = [record.failure for record in records if record.failure is not None]
        return failure

    def order(self, kind: str) -> list[str]:
        return [event.run_id for event in self.events if event.kind == kind]


def wait_for(condition: Callable[[], Any], seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
