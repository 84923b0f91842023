"""What ``bench run`` and ``bench retry`` do where the executor is Slurm."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spectral_bench.bench.cli.output import say, warn
from spectral_bench.bench.grid.executor import ExecutorBlock, SlurmSettings
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import unknown

if TYPE_CHECKING:
    from spectral_bench.bench.executors.slurm.executor import SlurmExecutor
    from spectral_bench.bench.plan.model import Plan
    from spectral_bench.bench.work.order import Execution
    from spectral_bench.results.store import Store


@dataclass(frozen=True)
class SlurmLaunch:
    """How runs are handed to Slurm.

    Attributes:
        block: the grid's settings.
        stated: those of the command line, which take precedence.
        wait: whether to wait for the runs.
    """

    block: ExecutorBlock
    stated: SlurmSettings
    wait: bool

    def settings(self, method: str | None) -> SlurmSettings:
        """The settings of the jobs of a method; None: of those that extract features."""
        return self.block.settings(method, self.stated)

    def executor(self, store: Store) -> SlurmExecutor:
        """The executor."""
        from spectral_bench.bench.executors.slurm.executor import SlurmExecutor

        return SlurmExecutor(store, self.settings, wait=self.wait)

    def check(self, plan: Plan, *, show_only: bool) -> None:
        """See that the settings fit the grid and, unless they are only shown, the cluster.

        Raises:
            UserError: they do not.
        """
        from spectral_bench.results.store import Store

        check_methods(self.block, {run.spec.method for run in plan.runs})
        if plan.unfinished and not show_only:
            warn_of_environment()
            self.executor(Store(plan.store.absolute())).check({run.spec.method for run in plan.unfinished})

    def show(self, plan: Plan, execution: Execution, roots: Sequence[Path]) -> int:
        """Print the scripts that sbatch would be given. Writes nothing."""
        from spectral_bench.bench.cli.launch import job_of
        from spectral_bench.bench.plan.model import plan_orders
        from spectral_bench.results.store import Store

        if not plan.unfinished:
            say("nothing to submit: all runs are done")
            return 0
        warn("this listing is not checked against the cluster; a run is, before anything is submitted")
        store = Store(plan.store.absolute())
        orders = plan_orders(plan, execution, roots)
        jobs = [job_of(order, store) for order in orders]
        for script in self.executor(store).scripts(jobs, {order.spec.run_id: order for order in orders}):
            say(script)
        return 0


def slurm_launch(block: ExecutorBlock, stated: SlurmSettings, gpus: str, wait: bool) -> SlurmLaunch:
    """How to launch, given the options of the command line; ``gpus`` empty: not stated.

    Raises:
        ConfigError: ``gpus`` is no number of GPUs.
    """
    from spectral_bench.bench.cli.slurm_options import stated_settings

    given = stated.model_dump(exclude_unset=True) | ({"gpus": gpus} if gpus else {})
    given |= {"sbatch": [f"{key}={value}" for key, value in stated.sbatch.items()]} if stated.sbatch else {}
    return SlurmLaunch(block, stated_settings(given), wait)


def warn_of_environment() -> None:
    """Name the settings of sbatch in the environment, which jobs do not get."""
    from spectral_bench.bench.executors.slurm.cluster import unheeded

    if names := unheeded(os.environ):
        warn(
            f"{', '.join(names)}: jobs get what the command line and the grid say, and nothing of the environment; "
            "use options such as --partition, or --sbatch KEY=VALUE"
        )


def check_methods(block: ExecutorBlock, used: Iterable[str]) -> None:
    """Refuse settings for a method that does not exist.

    Raises:
        ConfigError: as said.
    """
    from spectral_bench.methods.registry import names

    valid = {*names(), *used}
    for method in block.methods:
        if method not in valid:
            raise ConfigError(f"executor.methods: {unknown('method', method, valid)}")
