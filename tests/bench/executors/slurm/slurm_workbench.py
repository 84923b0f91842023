"""A store, a fake Slurm, and runs that cost nothing."""

from __future__ import annotations

from typing import Any

import fake_work
from fake_slurm import FakeJob, FakeSlurm
from fake_work import VIEWS, spec_of

from spectral_bench.bench.executors.jobs import Event, Exit, Job
from spectral_bench.bench.executors.slurm.causes import record_ended
from spectral_bench.bench.executors.slurm.cluster import Slurm
from spectral_bench.bench.executors.slurm.executor import SlurmExecutor
from spectral_bench.bench.executors.slurm.status import TrackedRuns, track_runs
from spectral_bench.bench.executors.slurm.submissions import Ledger
from spectral_bench.bench.grid.keys import ExecutorBlock
from spectral_bench.bench.work.order import Execution, Order, read_order
from spectral_bench.results.record import Failure
from spectral_bench.results.specification import Features
from spectral_bench.results.state import JobState
from spectral_bench.results.store import Store


class SlurmLab:
    """A store, a fake Slurm, and what is launched on it."""

    def __init__(self, store: Store) -> None:
        self.store, self.ledger = store, Ledger(store)
        self.fake = FakeSlurm()
        self.slurm = Slurm(self.fake)
        self.block = ExecutorBlock()
        self.events: list[Event] = []

    def job(self, seed: int = 0, *requires: Job, method: str = "fake", views: int = 2, **behaviour: Any) -> Job:
        spec = spec_of(seed, **behaviour).model_copy(update={"features": Features(mode="online"), "method": method})
        order = Order(
            spec=spec,
            views=VIEWS[:views],
            store=self.store.path,
            requires=requires[0].run_id if requires else None,
            execution=Execution(executor="slurm"),
        )
        path = self.store.run_folder(spec.run_id) / f"order-{views}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(order.model_dump_json())
        return Job(spec.run_id, path, frozenset(one.run_id for one in requires))

    def executor(self, *, wait: bool = False) -> SlurmExecutor:
        return SlurmExecutor(self.store, lambda method: self.block.settings(method), slurm=self.slurm, wait=wait)

    def launch(self, *jobs: Job) -> dict[str, Exit]:
        return self.executor().run(jobs, self.events.append)

    def work(self, job: Job) -> None:
        """Carry a run out, as its Slurm job would."""
        fake_work.execute(read_order(job.order_path), store=self.store, should_stop=lambda: False)

    def tracked(self) -> TrackedRuns:
        return track_runs(self.ledger, self.slurm)

    def record_ended(self, **options: bool) -> TrackedRuns:
        return record_ended(self.tracked(), **options)

    def state(self, job: Job) -> JobState | None:
        return self.tracked().newest()[job.run_id].state

    def failure(self, job: Job) -> Failure | None:
        record = self.store.fit_record(job.run_id)
        return record.failure if record is not None else None

    def end(self, state: str, **facts: Any) -> None:
        """Let every job that waits or runs end in a state."""
        for job in self.fake.jobs:
            if job.state in ("PENDING", "RUNNING"):
                self.become(job, state, **facts)

    @staticmethod
    def become(job: FakeJob, state: str, **facts: Any) -> None:
        job.state = state
        for name, value in facts.items():
            setattr(job, name, value)
