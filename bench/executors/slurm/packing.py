"""Which runs share a job, and which jobs form an array."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from spectral_bench.bench.executors.interface import Job
from spectral_bench.bench.executors.slurm.cluster import LONGEST_ARRAY
from spectral_bench.bench.grid.executor import SlurmSettings

Item = TypeVar("Item")


@dataclass(frozen=True)
class Array:
    """Jobs that are submitted together.

    Attributes:
        settings: what each asks for.
        requires: runs, of this launch or an earlier one, whose jobs must have succeeded before any of these begins.
        units: the runs of each job, in their order.
    """

    settings: SlurmSettings
    requires: frozenset[str]
    units: tuple[tuple[Job, ...], ...]


def pack(
    jobs: Sequence[Job],
    settings: Callable[[Job], SlurmSettings],
    elsewhere: frozenset[str] = frozenset(),
    longest: int = LONGEST_ARRAY,
) -> list[Array]:
    """Put jobs into arrays, so that those that others require come first.

    Jobs of one array ask for the same and wait for the same. A job that others require has a Slurm job of its own:
    whether that succeeds must not depend on its neighbours.

    Args:
        jobs: in the order of preference.
        settings: what each asks for.
        elsewhere: jobs in the queue already, which may be required too.
        longest: jobs that one array may have.
    """
    names = {job.run_id for job in jobs}
    required = {name for job in jobs for name in job.requires}
    groups: dict[tuple[int, str, frozenset[str], bool], list[Job]] = {}
    depths = _depths(jobs, names)
    for job in jobs:
        needs = job.requires & (names | elsewhere)
        key = (depths[job.run_id], settings(job).model_dump_json(), needs, job.run_id in required)
        groups.setdefault(key, []).append(job)
    arrays = []
    for (_, _, needs, alone), members in sorted(groups.items(), key=lambda item: item[0][0]):
        asked = settings(members[0])
        units = [*_chunks(members, 1 if alone else asked.runs_per_job)]
        arrays += [Array(asked, needs, tuple(part)) for part in _chunks(units, longest)]
    return arrays


def _depths(jobs: Iterable[Job], names: set[str]) -> dict[str, int]:
    """How many others stand before each job in a row. Nothing goes in a circle here."""
    depths: dict[str, int] = {}
    left = list(jobs)
    while left:
        for job in [job for job in left if all(name in depths for name in job.requires & names)]:
            depths[job.run_id] = max((1 + depths[name] for name in job.requires & names), default=0)
            left.remove(job)
    return depths


def _chunks(items: Sequence[Item], size: int) -> Iterable[tuple[Item, ...]]:
    return (tuple(items[start : start + size]) for start in range(0, len(items), size))
