"""Commands called in this process, and an executor that only pretends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from plan_lab import evaluation_record, failure, fit_record

from spectral_bench.bench.executors.jobs import Event, Exit, Job, OnEvent
from spectral_bench.bench.work.order import Order
from spectral_bench.results.contingency import Contingency, ContingencyBuilder
from spectral_bench.results.record import ClassTable
from spectral_bench.results.store import Store


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        return self.err.splitlines()


Bench = Callable[..., Result]


def counted() -> Contingency:
    """One image of two classes, told apart by two clusters."""
    builder = ContingencyBuilder(8, 2)
    labels = np.arange(16).reshape(4, 4) % 2
    builder.add("a", labels, labels)
    return builder.build()


TABLE = ClassTable(classes=["a", "b"], raw_ids=[[0], [1]])


@dataclass
class FakeExecutor:
    """Writes records without computing anything; ``endings`` says how the runs of a method end."""

    store: Store
    endings: dict[str, Any] = field(default_factory=dict)
    carried_out: list[str] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    cohorts: dict[str, str] = field(default_factory=dict)
    name: str = "fake"

    def run(self, jobs: Iterable[Job], on_event: OnEvent) -> dict[str, Exit]:
        exits: dict[str, Exit] = {}
        for job in jobs:
            order = Order.model_validate_json(job.order_path.read_bytes())
            assert order.spec.run_id == job.run_id
            assert all(name in exits or self.store.fit_record(name) for name in job.requires)
            self.orders.append(order)
            self.cohorts[job.run_id] = job.cohort
            ending = self.endings.get(order.spec.method, "done")
            if ending == "pending":
                exits[job.run_id] = "pending"
                continue
            on_event(Event("started", job.run_id))
            self.carried_out.append(job.run_id)
            exits[job.run_id] = self._end(order, ending)
            on_event(Event("finished", job.run_id, exits[job.run_id]))
        return exits

    def _end(self, order: Order, ending: Any) -> Exit:
        if ending != "done":
            self.store.write_fit(fit_record(order.spec, "failed", failure=failure(*ending)))
            return "failed"
        fit = self.store.fit_record(order.spec.run_id)
        if fit is None or fit.status == "failed":
            self.store.write_fit(fit_record(order.spec, code={}))
        for view in order.views:
            record = evaluation_record(
                order.spec, view, code={}, n_clusters=8, n_raw_labels=2, class_sets={"2": TABLE}, default_classes="2"
            )
            self.store.write_evaluation(record, counted())
        return "done"


Launcher = Callable[..., tuple[Result, FakeExecutor]]
