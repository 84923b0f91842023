"""What a job asks for where nobody has said it: what plan predicts with a margin, and twice as much after a failed try.

All of it is about memory and time. What is stated stands, unless ``max_mem`` or ``max_time`` lets it grow after a run
that needed more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from spectral_bench.bench.executors.jobs import Job
from spectral_bench.bench.executors.slurm.causes import NOT_EXTRACTED
from spectral_bench.bench.executors.slurm.cluster import Partition
from spectral_bench.bench.features.cache.meta import gigabytes
from spectral_bench.bench.grid.keys import SlurmSettings, megabytes, minutes
from spectral_bench.bench.plan.build import held_bytes, predicted_bytes
from spectral_bench.bench.plan.estimate import parts_of_order
from spectral_bench.bench.plan.measured import is_gpu, measurements, read_probes
from spectral_bench.bench.plan.prediction import Measurements, Prediction, predict
from spectral_bench.bench.plan.records import Snapshot, Try, tries_of
from spectral_bench.bench.plan.today import CurrentData
from spectral_bench.bench.work.order import Order
from spectral_bench.common.errors import UserError
from spectral_bench.common.names import duration
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.results.store import Store

# Of memory: a quarter more than the predicted peak of a run, and what surrounds it. Slurm adds up what all processes of
# a job hold: the launcher and the server that workers are forked from took 0.8 GB (22.05, RSS of all processes).
MEMORY_MARGIN, AROUND_MB = 1.25, 1024
CUDA_MB = 3072  # of a process that uses a GPU, where memory was measured without one
LEAST_UNKNOWN_MB = 4096  # where nothing was measured
# Of time: half as much again as the upper end of what is predicted, and what starting takes on a busy file system.
TIME_MARGIN, START_MINUTES = 1.5, 10
MARGINS = (
    "memory: the predicted peak, a quarter more, and 1 GB for what surrounds a run; time: the upper end of the "
    "prediction, half as much again, and 10 min"
)

_TIMES = (15, 30, 60, 120, 240, 480, 720, 1440)  # minutes: few different ones, as jobs that ask alike share an array

OPTIONS = {"out_of_memory": "mem", "time_limit": "time"}
"""Kind of failure -> the setting that was too small."""


@dataclass(frozen=True)
class Limits:
    """The most that a job may ask for: memory in MB, time in minutes; None: nobody knows of a limit."""

    memory: int | None = None
    minutes: int | None = None


def limits_of(partition: str | None, partitions: Mapping[str, Partition], default: str | None) -> Limits:
    """What the nodes and rules of a partition, or of the roomiest of several, allow."""
    names = partition.split(",") if partition else [default] if default else []
    found = [partitions[name] for name in names if name in partitions]
    if not found:
        return Limits()
    times = [one.minutes for one in found]
    longest = None if None in times else max(filter(None, times), default=None)
    memory = max(min(one.memory, one.most_mem or one.memory) for one in found)
    return Limits(memory or None, longest)


@dataclass(frozen=True)
class Asked:
    """What a job asks for.

    Attributes:
        settings: all of it.
        chosen: the settings that nobody has stated, or that were too small in an earlier try.
        why: in words, for each of these.
    """

    settings: SlurmSettings
    chosen: tuple[str, ...] = ()
    why: str = ""


def as_stated(jobs: Sequence[Job], stated: SlurmSettings) -> Asked:
    """A job that asks for what is stated, and for nothing else."""
    return Asked(stated)


def asked_in_words(settings: SlurmSettings) -> str:
    """Memory and time that a job asks for: ``2G and 15m``, or the time alone."""
    return " and ".join(filter(None, (settings.mem, settings.time)))


class Sizer:
    """Says what jobs ask for.

    Args:
        store: whose records and probes predict.
        orders: of all runs, by run id.
        limits: of a partition.
        measured: all that is known of times and memory; None: the store is read when it is first needed.
        written: extraction of features -> the caches that it writes, by key.
        anew: runs that are to be done again from the start, whatever is stored.
    """

    def __init__(
        self,
        store: Store,
        orders: Mapping[str, Order],
        limits: Callable[[str | None], Limits],
        measured: Measurements | None = None,
        *,
        written: Mapping[str, Collection[str]] | None = None,
        anew: Collection[str] = (),
    ) -> None:
        self._store, self._orders, self._limits = store, orders, limits
        self._known, self._written, self._anew = measured, written or {}, anew
        self._predictions: dict[str, Prediction | None] = {}
        self._data: dict[Hashable, CurrentData] = {}
        self._tries: dict[str, list[Try]] = {}

    @cached_property
    def _measured(self) -> Measurements:
        if self._known is not None:
            return self._known
        return Measurements(chain(measurements(Snapshot(self._store).past), read_probes(self._store.path)))

    def __call__(self, jobs: Sequence[Job], stated: SlurmSettings) -> Asked:
        """What one job asks for.

        Args:
            jobs: the runs that it carries out, those of one cohort side by side and all else one after the other.
            stated: what is said of it.
        """
        limits = self._limits(stated.partition)
        mem, why_mem = self._memory(jobs, stated, limits)
        time, why_time = self._time(jobs, stated, limits)
        values = stated.model_dump(exclude_unset=True)
        chosen = tuple(name for name, why in (("mem", why_mem), ("time", why_time)) if why)
        # By the text that was stated where it stands, so that a job asks for what its user wrote.
        values |= {"mem": _size_text(mem)} if why_mem else {}
        values |= {"time": _time_text(time)} if why_time else {}
        told = f"{why_mem}; {why_time}" if why_mem and why_time else why_mem or why_time
        return Asked(SlurmSettings.model_validate(values), chosen, told)

    def grows(self, jobs: Sequence[Job], stated: SlurmSettings, kind: str) -> Asked | None:
        """What a job asks for in its next try; None where that is no more than in the last one.

        Args:
            jobs, stated: as in a call.
            kind: of the failure that ended the last try.
        """
        if kind not in OPTIONS:
            return None
        asked, tries = self(jobs, stated), [one for job in jobs for one in self._of(job) if one.kind == kind]
        last = max((_amount(one) for one in tries), default=0)
        now = megabytes(asked.settings.mem or "0") if kind == "out_of_memory" else asked.settings.minutes
        return asked if last and now > last else None

    def _memory(self, jobs: Sequence[Job], stated: SlurmSettings, limits: Limits) -> tuple[int, str]:
        given = megabytes(stated.mem) if stated.mem is not None else None
        most = _least(megabytes(stated.max_mem) if stated.max_mem else None, limits.memory)
        floor = self._floor(jobs, "out_of_memory")
        if given is not None:
            # What is stated stays, unless there is room above it and a try has shown that it is not enough.
            grown = min(floor, most or floor) if stated.max_mem and given else 0
            return (
                (grown, f"memory: twice what {_size_text(floor // 2)} was too little for")
                if grown > given
                else (
                    given,
                    "",
                )
            )
        wanted, why = self._predicted_memory(jobs, stated)
        if floor > wanted:
            wanted, why = floor, f"memory: twice the {_size_text(floor // 2)} that were too little"
        return _capped(_rounded_mb(wanted), most, why, "memory", _size_text)

    def _predicted_memory(self, jobs: Sequence[Job], stated: SlurmSettings) -> tuple[int, str]:
        found = [self._prediction(job) for job in jobs]
        hosts = [one.host for one in found if one is not None and one.host]
        if len(hosts) < len(jobs):
            by_rule = max(self._by_rule(part) for part in _parts(jobs))
            mb = int(MEMORY_MARGIN * by_rule / 2**20) + AROUND_MB
            return max(mb, LEAST_UNKNOWN_MB), "memory: by a rule of thumb, as it was never measured"
        peak = max(self._side_by_side(part) for part in _parts(jobs))
        on_gpu = stated.n_gpus > 0 and not any(is_gpu(one.machine) for one in found if one is not None)
        mb = int(MEMORY_MARGIN * peak / 2**20) + AROUND_MB + (CUDA_MB if on_gpu else 0)
        return mb, f"memory: {gigabytes(peak)} predicted from {_bases(found)}"

    def _side_by_side(self, part: Sequence[Job]) -> int:
        """Of the largest run, and what the others hold beside it from step to step."""
        hosts = [found.host or 0 for job in part if (found := self._prediction(job)) is not None]
        return max(hosts) + sum(sorted(map(self._held, part))[:-1])

    def _held(self, job: Job) -> int:
        try:
            return held_bytes(self._orders[job.run_id])
        except UserError:  # a method of the user's own, and gone
            return 0

    def _by_rule(self, part: Sequence[Job]) -> int:
        try:
            return predicted_bytes([self._orders[job.run_id] for job in part])
        except UserError:
            return 0

    def _time(self, jobs: Sequence[Job], stated: SlurmSettings, limits: Limits) -> tuple[int, str]:
        most = _least(minutes(stated.max_time) if stated.max_time else None, limits.minutes)
        floor = self._floor(jobs, "time_limit")
        if "time" in stated.model_fields_set:
            grown = min(floor, most or floor) if stated.max_time else 0
            why = f"time: twice the {_time_text(floor // 2)} that were too short"
            return (grown, why) if grown > stated.minutes else (stated.minutes, "")
        found = [self._prediction(job) for job in jobs]
        known = [one for one in found if one is not None]
        if len(known) < len(found):
            wanted, why = stated.minutes, "time: the default, as it was never measured"
        else:
            seconds = sum(one.seconds for one in known)
            wanted = int(TIME_MARGIN * sum(one.high for one in known) / 60) + 1 + START_MINUTES
            why = f"time: {duration(seconds)} predicted from {_bases(found)}"
        if floor > wanted:
            wanted, why = floor, f"time: twice the {_time_text(floor // 2)} that were too short"
        return _capped(_rounded_minutes(wanted), most, why, "time", _time_text)

    def _prediction(self, job: Job) -> Prediction | None:
        if job.run_id not in self._predictions:
            order = self._orders[job.run_id]
            elsewhere = {key for name in job.requires for key in self._written.get(name, ())}
            try:
                data = self._data.setdefault(order.data_roots, CurrentData(DataRoots(order.data_roots)))
                anew = job.run_id in self._anew
                parts = parts_of_order(order, self._store, elsewhere=elsewhere, anew=anew, data=data)
                self._predictions[job.run_id] = predict(parts, self._measured)
            except UserError:  # a file of the user's own is gone: the run is going to say so
                self._predictions[job.run_id] = None
        return self._predictions[job.run_id]

    def _floor(self, jobs: Sequence[Job], kind: str) -> int:
        """Twice the most that was asked for in a try that this was too little for; 0 where there was none."""
        return 2 * max((_amount(one) for job in jobs for one in self._of(job) if one.kind == kind), default=0)

    def _of(self, job: Job) -> list[Try]:
        """The tries of a run; of an extraction those of runs that waited for it, which tell why it failed."""
        if job.run_id not in self._tries:
            if self._orders[job.run_id].features_only:
                waited = [name for name, one in self._orders.items() if not one.features_only]
                found = [one for name in waited for one in tries_of(self._store, name)]
            else:
                found = tries_of(self._store, job.run_id)
            extracting = self._orders[job.run_id].features_only
            self._tries[job.run_id] = [one for one in found if one.message.startswith(NOT_EXTRACTED) is extracting]
        return self._tries[job.run_id]


def _parts(jobs: Sequence[Job]) -> list[list[Job]]:
    """The runs that are carried out at a time: cohorts, and single ones."""
    found: dict[str, list[Job]] = {}
    for job in jobs:
        found.setdefault(job.cohort or job.run_id, []).append(job)
    return list(found.values())


def _amount(one: Try) -> int:
    # Memory of a GPU has nothing to do with what a job asks for.
    on_device = one.kind == "out_of_memory" and "cuda" in one.message.lower()
    return 0 if on_device else (one.memory if one.kind == "out_of_memory" else one.minutes) or 0


def _bases(found: Sequence[Prediction | None]) -> str:
    kinds = {one.basis for one in found if one is not None}
    return " and ".join({"runs": "runs", "probes": "probes", "similar": "similar runs"}[kind] for kind in sorted(kinds))


def _capped(wanted: int, most: int | None, why: str, what: str, text: Callable[[int], str]) -> tuple[int, str]:
    if most is None or wanted <= most:
        return wanted, why
    return most, f"{why}; {text(wanted)} would be asked for, and {text(most)} is the most"


def _least(*values: int | None) -> int | None:
    return min((value for value in values if value), default=None)


def _rounded_mb(wanted: int) -> int:
    step = 512 if wanted <= 8192 else 1024 if wanted <= 32768 else 4096
    return -(-wanted // step) * step


def _rounded_minutes(wanted: int) -> int:
    return next((one for one in _TIMES if one >= wanted), -(-wanted // 1440) * 1440)


def _size_text(mb: int) -> str:
    return f"{mb // 1024}G" if mb and mb % 1024 == 0 else f"{mb}M"


def _time_text(count: int) -> str:
    return f"{count // 60}h" if count and count % 60 == 0 else f"{count}m"
