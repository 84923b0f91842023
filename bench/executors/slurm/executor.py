"""Hand runs to Slurm, and come back later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from spectral_bench.bench.executors.interface import Event, Exit, Job, OnEvent
from spectral_bench.bench.executors.schedule import Schedule
from spectral_bench.bench.executors.slurm.board import Board, look, order_path
from spectral_bench.bench.executors.slurm.checks import check_cluster, check_settings
from spectral_bench.bench.executors.slurm.cluster import Cluster
from spectral_bench.bench.executors.slurm.commands import Slurm, SlurmUnreachable
from spectral_bench.bench.executors.slurm.features import features_first
from spectral_bench.bench.executors.slurm.held import release_held
from spectral_bench.bench.executors.slurm.ledger import Ledger
from spectral_bench.bench.executors.slurm.packing import Array, pack
from spectral_bench.bench.executors.slurm.script import refuse_unwritable
from spectral_bench.bench.executors.slurm.settle import settle
from spectral_bench.bench.executors.slurm.submitting import Submitter
from spectral_bench.bench.executors.slurm.waiting import wait_for
from spectral_bench.bench.executors.verdict import Verdicts
from spectral_bench.bench.grid.executor import SlurmSettings
from spectral_bench.bench.order import Order
from spectral_bench.bench.outstanding import read_order, settled
from spectral_bench.results.store import Store

SettingsOf = Callable[[str | None], SlurmSettings]
"""The settings of the jobs of a method; None: of those that extract features."""


class SlurmExecutor:
    """Submits runs as job arrays, the features that they share first.

    The jobs go on without the launcher. What was submitted is kept in the store, so that any machine that sees the
    store and can ask Slurm finds them again.

    Args:
        store: the store of all jobs, on a file system that the nodes share.
        settings: what the jobs of a method ask for.
        slurm: whom to ask.
        wait: come back only when all runs have ended.
    """

    name = "slurm"

    def __init__(self, store: Store, settings: SettingsOf, *, slurm: Slurm | None = None, wait: bool = False) -> None:
        self._store, self._settings, self._wait = store, settings, wait
        self._slurm = slurm or Slurm()
        self._ledger = Ledger(store)
        self._cluster: Cluster | None = None

    def check(self, methods: Iterable[str]) -> None:
        """See that Slurm is there and could carry out the jobs of some methods, before anything is written.

        Raises:
            UserError: as ``check_cluster`` and ``check_settings`` say.
        """
        refuse_unwritable(self._ledger.folder)
        self._cluster = check_cluster(self._slurm)
        check_settings(self._slurm, [self._settings(None), *(self._settings(method) for method in methods)])

    def run(self, jobs: Iterable[Job], on_event: OnEvent) -> dict[str, Exit]:
        """Submit ``jobs`` that are not in the queue yet: see ``Executor.run``.

        A run whose very order waits or runs already is left alone; of a run that waits or runs for another order (of
        fewer views, say) the new job waits until nobody owns it.

        Raises:
            UserError: Slurm is not there, does not answer, or has no such nodes; nothing was submitted, or what was
                stands in the store and is found again.
        """
        jobs = list(jobs)
        Schedule(jobs)  # for its checks
        verdicts = Verdicts(self._store, jobs)
        exits = self.submit(jobs, on_event)
        if not self._wait:
            return exits
        return wait_for(
            jobs, exits, verdicts, ledger=self._ledger, slurm=self._slurm, again=self.submit, on_event=on_event
        )

    def submit(self, jobs: Sequence[Job], on_event: OnEvent) -> dict[str, Exit]:
        """Submit those of ``jobs`` that are not in the queue; ``submitted``, or ``failed`` where Slurm refused."""
        if not jobs:
            return {}
        orders = {job.run_id: read_order(job.order_path) for job in jobs}
        if self._cluster is None:
            self.check({order.spec.method for order in orders.values()})
        exits: dict[str, Exit] = {
            job.run_id: how for job in jobs if (how := settled(orders[job.run_id], self._store)) is not None
        }
        with self._ledger.locked():
            board = settle(look(self._ledger, self._slurm), give_up_lost=True)
            if board.known.silent:
                raise SlurmUnreachable(board.known.silent)
            release_held(board, self._slurm, Counter())
            exits |= dict.fromkeys(self._in_queue(board, jobs) - exits.keys(), "submitted")
            todo = [job for job in jobs if job.run_id not in exits]
            submitter = self._submitter(board, orders)
            for array in self._arrays(todo, orders, submitter, write=True):
                _tell(array, submitter.submit(array), submitter, exits, on_event)
        return {job.run_id: exits[job.run_id] for job in jobs}

    def scripts(self, jobs: Sequence[Job], orders: dict[str, Order]) -> list[str]:
        """What sbatch would be given, without a question to Slurm and without a file in the store."""
        orders = dict(orders)
        submitter = Submitter(self._ledger, self._slurm, orders, cluster=Cluster())
        return [submitter.show(array) for array in self._arrays(jobs, orders, submitter, write=False)]

    def _arrays(
        self, jobs: Sequence[Job], orders: dict[str, Order], submitter: Submitter, *, write: bool
    ) -> list[Array]:
        longest = submitter.cluster.longest
        extracting, waiting = features_first(jobs, orders, self._store, queued=submitter.positions.keys(), write=write)
        return pack([*extracting, *waiting], self._of(orders), frozenset(submitter.positions), longest)

    def _of(self, orders: dict[str, Order]) -> Callable[[Job], SlurmSettings]:
        def settings(job: Job) -> SlurmSettings:
            """What the job's method, or its features, ask for."""
            order = orders[job.run_id]
            return self._settings(None if order.features_only else order.spec.method)

        return settings

    def _in_queue(self, board: Board, jobs: Sequence[Job]) -> set[str]:
        """The jobs whose order waits or runs already."""
        paths = {job.run_id: job.order_path.absolute() for job in jobs}
        return {
            place.entry.run_id
            for place in board.places
            if place.live and paths.get(place.entry.run_id) == order_path(place.entry, self._store).absolute()
        }

    def _submitter(self, board: Board, orders: dict[str, Order]) -> Submitter:
        live = [place for place in board.places if place.stand in ("pending", "running")]
        return Submitter(
            self._ledger,
            self._slurm,
            orders,
            self._cluster or Cluster(),
            positions={place.entry.run_id: (place.submission.name, place.index) for place in live},
            job_ids={place.submission.name: place.job.rpartition("_")[0] for place in live},
        )


def _tell(array: Array, job_id: str | None, submitter: Submitter, exits: dict[str, Exit], on_event: OnEvent) -> None:
    for index, unit in enumerate(array.units):
        for job in unit:
            exits[job.run_id] = "failed" if job_id is None else "submitted"
            if submitter.orders[job.run_id].features_only:
                continue
            why = submitter.rejected.get(job.run_id) if job_id is None else None
            job_name = f"job {job_id}_{index}"
            on_event(Event("submitted" if why is None else "finished", job.run_id, exits[job.run_id], why or job_name))
