"""Hand runs to Slurm, the features that they share first; come back later; or take runs back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from spectral_bench.bench.executors.jobs import Event, Exit, Job, JobExits, OnEvent, Schedule
from spectral_bench.bench.executors.slurm.causes import NOT_EXTRACTED, record_ended
from spectral_bench.bench.executors.slurm.cluster import (
    Cluster,
    Slurm,
    SlurmMissing,
    SlurmRefused,
    SlurmUnreachable,
    ask_partitions,
    ask_rules,
)
from spectral_bench.bench.executors.slurm.resources import (
    Limits,
    Sizer,
    asked_in_words,
    limits_of,
)
from spectral_bench.bench.executors.slurm.script import Partitions, check_cluster, check_settings, refuse_unwritable
from spectral_bench.bench.executors.slurm.status import TrackedRun, TrackedRuns, order_path, release_held, track_runs
from spectral_bench.bench.executors.slurm.submissions import Ledger
from spectral_bench.bench.executors.slurm.submit import Array, Submitter, features_first, pack
from spectral_bench.bench.executors.slurm.wait import wait_for
from spectral_bench.bench.grid.keys import SlurmSettings
from spectral_bench.bench.plan.prediction import Measurements
from spectral_bench.bench.plan.records import tries_of
from spectral_bench.bench.work.order import Order, final_status, read_order
from spectral_bench.common.errors import ConfigError
from spectral_bench.results.state import JobState
from spectral_bench.results.store import Store

SettingsOf = Callable[[str | None], SlurmSettings]
"""The settings of the jobs of a method; None: of those that extract features."""

_FEATURES = "features"  # the name of an extraction that is only asked about

_NO_MATTER = (
    "Invalid job id",  # it has just ended
    "denied",  # it is another user's, and heeds the marks by itself
)


class SlurmExecutor:
    """Submits runs as job arrays, the features that they share first.

    The jobs go on without the launcher. What was submitted is kept in the store, so that any machine that sees the
    store and can ask Slurm finds them again.

    Args:
        store: the store of all jobs, on a file system that the nodes share.
        settings: what the jobs of a method ask for.
        slurm: whom to ask.
        wait: come back only when all runs have ended.
        grow: while it waits, try again with twice as much what ended out of memory or time.
        measured: all that is known of times and memory; None: the store is read for it.
    """

    name = "slurm"

    def __init__(
        self,
        store: Store,
        settings: SettingsOf,
        *,
        slurm: Slurm | None = None,
        wait: bool = False,
        grow: bool = True,
        measured: Measurements | None = None,
    ) -> None:
        self._store, self._settings, self._measured = store, settings, measured
        self._wait, self._grow = wait, grow
        self._slurm = slurm or Slurm()
        self._ledger = Ledger(store)
        self._cluster: Cluster | None = None
        self._partitions: Partitions | None = None

    def check(self, methods: Iterable[str]) -> None:
        """See that Slurm is there and could carry out the jobs of some methods, before anything is written.

        Raises:
            UserError: as ``check_cluster`` and ``check_settings`` say.
        """
        refuse_unwritable(self._ledger.folder)
        _, partitions = self.learn()
        wanted = [self._settings(None), *(self._settings(method) for method in methods)]
        check_settings(self._slurm, [self._within_limits(one) for one in wanted], partitions)

    def learn(self) -> tuple[Cluster, Partitions]:
        """What the cluster is, and what its partitions allow, which jobs keep to from here on.

        Raises:
            UserError: as ``check_cluster`` says.
        """
        self._cluster = check_cluster(self._slurm)
        found, default = ask_partitions(self._slurm)
        self._partitions = ask_rules(self._slurm, found), default
        return self._cluster, self._partitions

    def refusal(self, settings: SlurmSettings) -> str:
        """Why the cluster would not take a job with such settings; empty where it would.

        Raises:
            SlurmMissing, SlurmUnreachable: as said.
        """
        try:
            check_settings(self._slurm, [settings], self._partitions)
        except SlurmMissing:
            raise
        except ConfigError as error:
            return str(error)
        return ""

    def _within_limits(self, stated: SlurmSettings) -> SlurmSettings:
        """Settings whose time, where nobody states it, is no longer than the partition allows."""
        most = self._limits(stated.partition).minutes
        if "time" in stated.model_fields_set or most is None or most >= stated.minutes:
            return stated
        return stated.model_copy(update={"time": f"{most}m"})

    def _limits(self, partition: str | None) -> Limits:
        return limits_of(partition, *self._partitions) if self._partitions is not None else Limits()

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
        job_exits = JobExits(self._store, jobs)
        # After `job_exits`, which counts failures: a run may fail while others are still submitted.
        exits = self.submit(jobs, on_event)
        if not self._wait:
            return exits
        return wait_for(
            jobs,
            exits,
            job_exits,
            ledger=self._ledger,
            slurm=self._slurm,
            again=self.submit,
            larger=self._larger if self._grow else lambda job: "",
            on_event=on_event,
        )

    def submit(self, jobs: Sequence[Job], on_event: OnEvent) -> dict[str, Exit]:
        """Submit those of ``jobs`` that are not in the queue; ``submitted``, or ``failed`` where Slurm refused."""
        if not jobs:
            return {}
        orders = {job.run_id: read_order(job.order_path) for job in jobs}
        if self._cluster is None:
            self.check({order.spec.method for order in orders.values()})
        exits: dict[str, Exit] = {
            job.run_id: how for job in jobs if (how := final_status(orders[job.run_id], self._store)) is not None
        }
        # From the look at the queue to the last sbatch: between the two, another launcher would submit the same runs.
        with self._ledger.locked():
            # What Slurm does not know is lost for good: nobody else can be about to submit it, the lock is ours.
            tracked = record_ended(track_runs(self._ledger, self._slurm), give_up_lost=True)
            # What is in the queue is not known then, and to submit it again would carry it out twice.
            if tracked.report.queue_error:
                raise SlurmUnreachable(tracked.report.queue_error)
            release_held(tracked, self._slurm, Counter())
            exits |= dict.fromkeys(self._in_queue(tracked, jobs) - exits.keys(), "submitted")
            todo = [job for job in jobs if job.run_id not in exits]
            submitter = self._submitter(tracked, orders)
            for array in self._arrays(todo, orders, submitter, write=True):
                _tell(array, submitter.submit(array), submitter, exits, on_event)
        return {job.run_id: exits[job.run_id] for job in jobs}

    def scripts(self, jobs: Sequence[Job], orders: dict[str, Order]) -> list[str]:
        """What sbatch would be given, without a question to Slurm and without a file in the store."""
        orders = dict(orders)
        submitter = Submitter(self._ledger, self._slurm, orders, cluster=Cluster())
        return [submitter.show(array) for array in self._arrays(jobs, orders, submitter, write=False)]

    def preview(self, jobs: Sequence[Job], orders: Mapping[str, Order], anew: Collection[str] = ()) -> list[Array]:
        """The arrays that jobs are going to be submitted as, without a file in the store.

        Args:
            jobs: as for ``run``.
            orders: theirs, by run id.
            anew: runs that are to be done again from the start, whatever is stored.
        """
        every = dict(orders)
        submitter = Submitter(self._ledger, self._slurm, every, cluster=self._cluster or Cluster())
        return self._arrays(jobs, every, submitter, write=False, anew=anew)

    def check_chosen(self, arrays: Iterable[Array]) -> None:
        """See that the cluster, which was checked, takes what jobs ask for by themselves.

        Raises:
            UserError: as ``check_settings`` says.
        """
        check_settings(self._slurm, [one.settings for one in arrays if one.asked.chosen], self._partitions)

    def queued(self, jobs: Sequence[Job]) -> set[str]:
        """The runs of ``jobs`` whose very order is in the queue; none where the cluster was not checked.

        Raises:
            SlurmUnreachable: the queue cannot be seen.
        """
        if self._cluster is None or not self._ledger.open():
            return set()
        tracked = track_runs(self._ledger, self._slurm)
        if tracked.report.queue_error:
            raise SlurmUnreachable(tracked.report.queue_error)
        return self._in_queue(tracked, jobs)

    def _arrays(
        self,
        jobs: Sequence[Job],
        orders: dict[str, Order],
        submitter: Submitter,
        *,
        write: bool,
        anew: Collection[str] = (),
    ) -> list[Array]:
        longest, queued = submitter.cluster.longest, submitter.positions.keys()
        written: dict[str, frozenset[str]] = {}
        extracting, waiting = features_first(jobs, orders, self._store, queued=queued, write=write, written=written)
        size = Sizer(self._store, orders, self._limits, self._measured, written=written, anew=anew)
        every = [*extracting, *waiting]
        return pack(every, self._of(orders), frozenset(submitter.positions), longest, size)

    def _larger(self, job: Job) -> str:
        """What the next try of a run that has failed is going to ask for, in words; empty where that is no more."""
        tries = tries_of(self._store, job.run_id)
        order = read_order(job.order_path)
        if not tries:
            return ""
        # Of an extraction that failed, the runs that waited for it tell; it has settings of its own.
        of_features = tries[-1].message.startswith(NOT_EXTRACTED)
        orders = {job.run_id: order}
        if of_features:
            job = replace(job, run_id=_FEATURES)
            orders[_FEATURES] = order.model_copy(update={"features_only": True})
        stated = self._settings(None if of_features else order.spec.method)
        asked = Sizer(self._store, orders, self._limits, self._measured).grows([job], stated, tries[-1].kind)
        return "" if asked is None else f"{tries[-1].in_words}; {asked_in_words(asked.settings)} in the next try"

    def _of(self, orders: dict[str, Order]) -> Callable[[Job], SlurmSettings]:
        def settings(job: Job) -> SlurmSettings:
            order = orders[job.run_id]
            return self._settings(None if order.features_only else order.spec.method)

        return settings

    def _in_queue(self, tracked: TrackedRuns, jobs: Sequence[Job]) -> set[str]:
        paths = {job.run_id: job.order_path.absolute() for job in jobs}
        return {
            run.run_id
            for run in tracked.runs
            # By its order and not by its run: a job that waits with fewer views does not do.
            if run.live and paths.get(run.run_id) == order_path(run.submitted, self._store).absolute()
        }

    def _submitter(self, tracked: TrackedRuns, orders: dict[str, Order]) -> Submitter:
        # Those whose state nobody knows are not among them: a job that waited for one might never start.
        live = [run for run in tracked.runs if run.state in (JobState.PENDING, JobState.RUNNING)]
        return Submitter(
            self._ledger,
            self._slurm,
            orders,
            self._cluster or Cluster(),
            positions={run.run_id: (run.submission.name, run.index) for run in live},
            job_ids={run.submission.name: run.job.rpartition("_")[0] for run in live},
        )


def _tell(array: Array, job_id: str | None, submitter: Submitter, exits: dict[str, Exit], on_event: OnEvent) -> None:
    for index, unit in enumerate(array.units):
        for job in unit:
            exits[job.run_id] = "failed" if job_id is None else "submitted"
            if submitter.orders[job.run_id].features_only:
                continue
            why = submitter.rejected.get(job.run_id) if job_id is None else None
            asks = f", asks for {asked_in_words(array.settings)}" if array.asked.chosen else ""
            job_name = f"job {job_id}_{index}{asks}"
            on_event(Event("submitted" if why is None else "finished", job.run_id, exits[job.run_id], why or job_name))


def cancel(store: Store, run_ids: Sequence[str] | None, slurm: Slurm | None = None) -> list[str]:
    """Cancel runs that wait or run on Slurm.

    A job of which every run that is left is cancelled is cancelled itself. Else its runs are marked, and the job stops
    the one at work, or passes over it when its turn comes.

    Args:
        store: the store.
        run_ids: which runs; None: all.
        slurm: whom to ask.

    Returns:
        The runs that were cancelled.

    Raises:
        UserError: Slurm does not answer, or the store cannot be written.
    """
    ledger, slurm = Ledger(store), slurm or Slurm()
    if not ledger.open():
        return []
    with ledger.locked():
        tracked = track_runs(ledger, slurm)
        chosen = [run for run in tracked.runs if run.live and _is_meant(run, run_ids)]
        if chosen and tracked.report.queue_error:
            raise SlurmUnreachable(f"nothing was cancelled: {tracked.report.queue_error}")
        for run in chosen:
            # The marks come first: a job that starts before scancel reaches it passes over its runs.
            ledger.mark_cancelled(run.submission.name, run.run_id)
        _cancel_jobs(slurm, tracked, chosen, everything=run_ids is None)
        # Those that only waited are over by now; without a record they would look as if they were lost.
        record_ended(track_runs(ledger, slurm))
    return sorted({run.run_id for run in chosen if not run.submitted.features_only})


def _is_meant(run: TrackedRun, run_ids: Sequence[str] | None) -> bool:
    return run_ids is None or run.run_id in run_ids


def _cancel_jobs(slurm: Slurm, tracked: TrackedRuns, chosen: Sequence[TrackedRun], *, everything: bool) -> None:
    jobs = set()
    seen = [run for run in chosen if run.slurm_job is not None and run.slurm_job.live]
    for run in seen:  # the id of a job that is not shown here may be another one's on this cluster
        left = (other for other in tracked.sharing_job(run) if other.live)
        if everything or all(tracked.ledger.is_cancelled(other.submission.name, other.run_id) for other in left):
            jobs.add(run.job)
    if jobs:
        try:
            slurm.ask("scancel", *sorted(jobs))
        except SlurmRefused as error:
            if not any(words in str(error) for words in _NO_MATTER):
                raise
