"""From a plan to the orders that executors carry out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spectral_bench.bench.plan.model import Plan
from spectral_bench.bench.work.order import Execution, Order


def plan_orders(plan: Plan, execution: Execution, roots: Sequence[Path]) -> list[Order]:
    """One order for each unfinished run, in the order of execution.

    Args:
        plan: the plan.
        execution: how runs are executed.
        roots: where data sets lie.
    """
    return [
        Order(
            spec=run.spec,
            views=run.views,
            requires=run.requires,
            store=plan.store.absolute(),
            data_roots=tuple(root.absolute() for root in roots),
            execution=execution,
        )
        for run in plan.unfinished
    ]
