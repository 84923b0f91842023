"""What every executor offers: it carries out orders, and the records in the store are the only result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import how_many

Exit = Literal[
    "done",
    "not_converged",
    "failed",  # the failure is in the store
    "killed",  # the worker was cut short; the executor has put that into the store
    "dependency",  # a run that it needs did not succeed; the executor has put that into the store
    "interrupted",  # asked to stop in the middle; goes on when launched again
    "elsewhere",  # another launcher was at work on it when this one stopped
    "pending",  # not begun when the executor stopped
    "submitted",  # handed to a batch system that carries on without the launcher
]
"""How a job ended, as far as the launcher can tell."""

SUCCESSES: frozenset[Exit] = frozenset({"done", "not_converged"})
"""Exits that leave a fit behind, which other runs can start from."""

FAILURES: frozenset[Exit] = frozenset({"failed", "killed", "dependency"})
"""Exits with a failure in the store."""


@dataclass(frozen=True)
class Job:
    """One order to carry out.

    Attributes:
        run_id: the run; for an order that only prepares features, a name that no other job has.
        order_path: the JSON file of the ``bench.work.order.Order``.
        requires: jobs of the same batch that must succeed first. Names of no job in the batch count as done.
    """

    run_id: str
    order_path: Path
    requires: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Event:
    """What a launcher learns while jobs are carried out.

    Attributes:
        kind: ``submitted`` to a batch system; ``started``; ``finished`` (see ``exit``); ``elsewhere``: another
            launcher is at work on the run, which is waited for; ``stopping``: the jobs were asked to stop; ``tick``:
            nothing new, time to look at the progress files.
        run_id: the job, where it is about one.
        exit: how it ended, where it has.
        message: for people, one line.
    """

    kind: Literal["submitted", "started", "finished", "elsewhere", "stopping", "tick"]
    run_id: str = ""
    exit: Exit | None = None
    message: str = ""


OnEvent = Callable[[Event], None]


class Target(Protocol):
    """What carries out an order file in a worker: ``bench.work.worker.main``."""

    def __call__(self, path: Path, /, *, known_failures: int | None) -> int:
        """Returns a ``bench.work.worker.ExitCode``; ``known_failures`` as in ``bench.work.worker.main``."""
        ...


class Executor(Protocol):
    """Carries out a batch of jobs."""

    name: str

    def run(self, jobs: Iterable[Job], on_event: OnEvent) -> dict[str, Exit]:
        """Carry out ``jobs``, each after those it requires, and report on the way.

        A job that ends badly leaves the others alone. A job that another launcher carries out is waited for.

        Args:
            jobs: in the order of preference.
            on_event: called in this thread; what it raises ends the batch.

        Returns:
            How each job ended, by run id.

        Raises:
            ConfigError: two jobs have one name, or they require each other in a circle.
            StoreError: the store cannot be written; the other jobs were asked to stop.
        """
        ...


def require_gpu_each(jobs: int, gpus: Sequence[str]) -> None:
    """Refuse more jobs at a time than there are GPUs to hand out; nothing is asked where none are.

    Raises:
        ConfigError: as said.
    """
    if gpus and jobs > len(gpus):
        raise ConfigError(f"--jobs {jobs}: more than the {how_many(len(gpus), 'device')} of --gpus {','.join(gpus)}")
