"""Which runs share a job, what they need before, which jobs form an array, and how arrays are handed to Slurm."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from spectral_bench.bench.executors.jobs import Job
from spectral_bench.bench.executors.slurm.cluster import LONGEST_ARRAY, Cluster, Slurm, SlurmRefused
from spectral_bench.bench.executors.slurm.resources import Asked, as_stated
from spectral_bench.bench.executors.slurm.script import run_sbatch, script_text
from spectral_bench.bench.executors.slurm.submissions import (
    CHOSEN,
    JobKey,
    Ledger,
    Submission,
    SubmittedRun,
    Unit,
    new_submission,
)
from spectral_bench.bench.grid.keys import SlurmSettings
from spectral_bench.bench.measure.environment import now
from spectral_bench.bench.plan.budget import Piece
from spectral_bench.bench.plan.estimate import is_present, wanted_caches
from spectral_bench.bench.work.order import Order, fit_missing, missing_views
from spectral_bench.bench.work.worker import record_failure
from spectral_bench.common.files import write_bytes
from spectral_bench.results.identity import digest
from spectral_bench.results.record import Failure
from spectral_bench.results.specification import View
from spectral_bench.results.store import Busy, Store

Item = TypeVar("Item")


@dataclass(frozen=True)
class Array:
    """Jobs that are submitted together.

    Attributes:
        settings: what each asks for.
        requires: runs, of this launch or an earlier one, whose jobs must have succeeded before any of these begins.
        units: the runs of each job, in their order.
        asked: what each asks for, with what of it was not stated, and why.
    """

    settings: SlurmSettings
    requires: frozenset[str]
    units: tuple[tuple[Job, ...], ...]
    asked: Asked

    @property
    def hours(self) -> float:
        """That its jobs ask for, all together."""
        return len(self.units) * self.settings.minutes / 60


def job_pieces(arrays: Iterable[Array], *, of_gpus: bool = False) -> tuple[dict[str, Piece], dict[str, str]]:
    """What jobs ask for, a piece a job.

    Args:
        arrays: in which they are submitted.
        of_gpus: count GPU-hours, of which a job without a GPU asks for none.

    Returns:
        The pieces, by the first run of each, and of each run the name of its piece.
    """
    arrays = list(arrays)
    home = {job.run_id: unit[0].run_id for array in arrays for unit in array.units for job in unit}
    pieces: dict[str, Piece] = {}
    for array in arrays:
        each = array.settings.minutes / 60 * (array.settings.n_gpus if of_gpus else 1)
        needs = frozenset(home[name] for name in array.requires if name in home)
        pieces |= {unit[0].run_id: Piece(each, needs) for unit in array.units}
    return pieces, home


@dataclass(frozen=True)
class _Caches:
    """The caches of one run that are still to be written: those of its training images, and of views."""

    training: frozenset[str]
    views: dict[str, View]

    @property
    def keys(self) -> frozenset[str]:
        return self.training | self.views.keys()


def features_first(
    jobs: Sequence[Job],
    orders: dict[str, Order],
    store: Store,
    *,
    queued: Collection[str] = (),
    write: bool = True,
    written: dict[str, frozenset[str]] | None = None,
) -> tuple[list[Job], list[Job]]:
    """Take the extraction of features that several jobs read out of them.

    Each cache is written by one job: that of the first run that reads it. A cache that a single run reads is left to
    that run, as nothing would be gained.

    Args:
        jobs: runs.
        orders: their orders, by run id; those of the extractions are added.
        store: where caches lie and orders are written.
        queued: extractions that are in the queue already, by name.
        write: whether to write the orders of the extractions.
        written: where to note which caches each extraction writes, those in the queue too.

    Returns:
        The jobs that extract, and the given ones, which now require them.
    """
    caches = {job.run_id: _missing_caches(orders[job.run_id], store) for job in jobs}
    readers: dict[str, int] = {}
    for found in caches.values():
        for key in found.keys:
            readers[key] = readers.get(key, 0) + 1
    shared = {key for key, count in readers.items() if count > 1}
    owner: dict[str, str] = {}
    extracting: list[Job] = []
    waiting: list[Job] = []
    for job in jobs:
        keys = caches[job.run_id].keys & shared
        if missing := keys - owner.keys():
            # Named after what it writes: whoever wants the same finds it in the queue.
            extraction = _job(missing, store)
            owner |= dict.fromkeys(missing, extraction.run_id)
            if written is not None:
                written[extraction.run_id] = frozenset(missing)
            if extraction.run_id not in queued:
                order = _extraction(orders[job.run_id], caches[job.run_id], missing)
                orders[extraction.run_id] = order
                extracting.append(extraction)
                if write:
                    write_bytes(extraction.order_path, (order.model_dump_json(indent=1) + "\n").encode())
        waiting.append(replace(job, requires=job.requires | {owner[key] for key in keys}))
    return extracting, waiting


def _missing_caches(order: Order, store: Store) -> _Caches:
    fitted = not fit_missing(order, store)
    wanted = wanted_caches(order.spec, fitted=fitted, missing=missing_views(order, store))
    missing = [cache for cache in wanted if not is_present(store.path, cache.key)]
    views = {cache.key: cache.source for cache in missing if isinstance(cache.source, View)}
    return _Caches(frozenset(cache.key for cache in missing) - views.keys(), views)


def _extraction(order: Order, caches: _Caches, keys: frozenset[str]) -> Order:
    views = tuple(view for key, view in caches.views.items() if key in keys)
    return order.model_copy(update={"views": views, "features_only": True, "requires": None})


def _job(keys: frozenset[str], store: Store) -> Job:
    name = f"features-{digest(sorted(keys), 8)}"
    return Job(name, store.path / "slurm" / "orders" / f"{name}.json")


def pack(
    jobs: Sequence[Job],
    settings: Callable[[Job], SlurmSettings],
    elsewhere: frozenset[str] = frozenset(),
    longest: int = LONGEST_ARRAY,
    size: Callable[[Sequence[Job], SlurmSettings], Asked] = as_stated,
) -> list[Array]:
    """Put jobs into arrays, so that those that others require come first.

    Jobs of one array ask for the same and wait for the same. A job that others require has a Slurm job of its own:
    whether that succeeds must not depend on its neighbours. A cohort is packed as one: into a job of its own, or, where
    it is said how many runs a job carries out, with others up to that number.

    Args:
        jobs: in the order of preference.
        settings: what each asks for.
        elsewhere: jobs in the queue already, which may be required too.
        longest: jobs that one array may have.
        size: what a job of some runs asks for, given what is stated.
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
    # Those that others require come first: sbatch wants the ids of jobs that are to be waited for.
    for (_, _, needs, alone), members in sorted(groups.items(), key=lambda item: item[0][0]):
        asked = settings(members[0])
        # Whether a job that others require succeeds must not depend on its neighbours.
        units = [*_chunks(members, 1)] if alone else _units(members, asked)
        alike: dict[str, list[tuple[Asked, tuple[Job, ...]]]] = {}
        for unit in units:
            sized = size(unit, asked)
            alike.setdefault(sized.settings.model_dump_json(), []).append((sized, unit))
        for found in alike.values():
            sized = found[0][0]
            parts = _chunks([unit for _, unit in found], longest)
            arrays += [Array(sized.settings, needs, tuple(part), sized) for part in parts]
    return arrays


def _units(jobs: Sequence[Job], asked: SlurmSettings) -> list[tuple[Job, ...]]:
    """The jobs that one Slurm job carries out, cohorts together as far as they fit."""
    # The default of one run a job is no wish to tear cohorts apart; a number that was stated is.
    stated = asked.runs_per_job if "runs_per_job" in asked.model_fields_set else None
    cohorts: dict[str, list[Job]] = {}
    for job in jobs:
        cohorts.setdefault(job.cohort or job.run_id, []).append(job)
    parts = [part for cohort in cohorts.values() for part in _chunks(cohort, stated or len(cohort))]
    units: list[tuple[Job, ...]] = []
    for part in parts:
        if units and stated is not None and len(units[-1]) + len(part) <= stated:
            units[-1] += part
        else:
            units.append(part)
    return units


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


@dataclass
class Submitter:
    """Submits arrays one after the other, each after those that it requires.

    Attributes:
        ledger: where they are kept.
        slurm: who takes them.
        orders: of all runs, by run id.
        cluster: the one that they are submitted on.
        positions: run -> its job, for what is in the queue already; grows.
        job_ids: name of a submission -> id, likewise.
        rejected: run -> why it was not submitted.
    """

    ledger: Ledger
    slurm: Slurm
    orders: dict[str, Order]
    cluster: Cluster
    positions: dict[str, JobKey] = field(default_factory=dict)
    job_ids: dict[str, str] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)

    def submit(self, array: Array) -> str | None:
        """Submit one array; a refusal is recorded as the failure of its runs.

        Returns:
            The job's id; None where it was refused.

        Raises:
            SlurmUnreachable: nobody knows whether it was submitted; the next launcher finds out.
            StoreError: the store cannot be written.
        """
        if missing := sorted(array.requires & self.rejected.keys()):
            if refused := [name for name in missing if self.orders[name].features_only]:
                self._reject(array, "rejected", f"features cannot be extracted: {self.rejected[refused[0]]}")
            else:
                self._reject(array, "dependency", f"needs {', '.join(missing)}, which Slurm did not take")
            return None
        submission = self._submission(array)
        folder = self.ledger.of(submission.name)
        self.ledger.write(submission)  # before Slurm is told: a launcher that dies here leaves the name to look for
        try:
            job_id, cluster = run_sbatch(self.slurm, self.script(submission, array), folder)
        except SlurmRefused as error:
            self._reject(array, "rejected", str(error))
            self.ledger.close(submission)
            return None
        self.ledger.write(submission.model_copy(update={"job_id": job_id, "cluster": cluster or self.cluster.name}))
        self.job_ids[submission.name] = job_id
        return job_id

    def show(self, array: Array) -> str:
        """The script of an array that is not submitted."""
        submission = self._submission(array)
        self.job_ids[submission.name] = f"<id of {submission.name}>"
        return self.script(submission, array)

    def script(self, submission: Submission, array: Array) -> str:
        """What sbatch is given."""
        return script_text(submission, array.settings, self.ledger.of(submission.name), self.job_ids)

    def _submission(self, array: Array) -> Submission:
        units = tuple(Unit(entries=tuple(map(self._submitted, unit))) for unit in array.units)
        after: dict[str, tuple[int, ...]] = {}
        for run_id in sorted(array.requires & self.positions.keys()):
            name, index = self.positions[run_id]
            after[name] = tuple(sorted({*after.get(name, ()), index}))
        settings = array.settings.model_dump(mode="json") | {"minutes": array.settings.minutes}
        settings |= {CHOSEN: list(array.asked.chosen)} if array.asked.chosen else {}
        submission = new_submission(units, after=after, settings=settings, cluster=self.cluster)
        # At once, so that arrays which are submitted next can wait for these.
        for index, unit in enumerate(array.units):
            self.positions |= {job.run_id: (submission.name, index) for job in unit}
        return submission

    def _submitted(self, job: Job) -> SubmittedRun:
        store, order = self.ledger.store, self.orders[job.run_id]
        # More than these when the job begins: somebody has tried the run since, and it is left alone.
        failures = 0 if order.features_only else len(store.attempts(job.run_id))
        return SubmittedRun(
            run_id=job.run_id,
            order=_relative(job.order_path, store.path),
            known_failures=failures,
            features_only=order.features_only,
            cohort=job.cohort,
            method="" if order.features_only else order.spec.method,
        )

    def _reject(self, array: Array, kind: str, why: str) -> None:
        for job in _all(array.units):
            self.rejected[job.run_id] = why
            # An extraction has no record: the runs that wait for it tell why it failed.
            order = self.orders[job.run_id]
            if not order.features_only:
                with contextlib.suppress(Busy), self.ledger.store.claim(job.run_id):
                    failure = Failure(kind=kind, message=why)
                    record_failure(order, self.ledger.store, failure, started=now())


def _all(units: Sequence[Sequence[Job]]) -> Iterator[Job]:
    return (job for unit in units for job in unit)


def _relative(path: Path, store: Path) -> str:
    # Another machine may see the store elsewhere.
    return str(path.absolute().relative_to(store.absolute()))
