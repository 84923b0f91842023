"""The records of a store at one moment, read once for everything that planning asks of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from spectral_bench.bench.work.order import order_files
from spectral_bench.results.record import Failure, HealthCheck, SawFiles, Status
from spectral_bench.results.state import RunState, StoredRun, run_state
from spectral_bench.results.store import Store


class Recorded(SawFiles, Protocol):
    """What a record and its summary both tell."""

    @property
    def status(self) -> Status:
        """How it ended."""

    @property
    def failure(self) -> Failure | None:
        """Why it did not end well."""

    @property
    def health(self) -> list[HealthCheck]:
        """Its numerical health."""

    @property
    def code(self) -> dict[str, str]:
        """Module -> fingerprint of what it was made with."""

    @property
    def costs(self) -> Sequence[Cost]:
        """What its stages took."""

    @property
    def started(self) -> str:
        """When it began, UTC, ISO 8601."""

    @property
    def finished(self) -> str:
        """When it ended, UTC, ISO 8601."""

    @property
    def execution(self) -> dict[str, Any]:
        """How it was executed: device, threads, ..."""

    @property
    def environment(self) -> dict[str, Any]:
        """Where."""

    @property
    def dataset(self) -> str:
        """What it looked at."""

    @property
    def split(self) -> str:
        """Which part of it."""


class Cost(Protocol):
    """What one stage took."""

    @property
    def stage(self) -> str:
        """Its name."""

    @property
    def wall_s(self) -> float:
        """Seconds on the wall clock."""

    @property
    def reused(self) -> bool:
        """Whether another run had paid for it."""

    @property
    def peak_rss(self) -> int:
        """Peak resident bytes; 0 where nobody looked."""

    @property
    def peak_device(self) -> int | None:
        """Peak bytes on the CUDA device; None on a CPU."""

    @property
    def items(self) -> int | None:
        """The images that it went over."""


class RecordedEvaluation(Recorded, Protocol):
    """The record of an evaluation, or its summary."""

    @property
    def view_id(self) -> str:
        """The identity of the view."""

    @property
    def view(self) -> Any:
        """What it looked at: a ``View``, or the same as plain values."""


class RecordedFit(Recorded, Protocol):
    """The record of a fit, or its summary."""

    @property
    def spec(self) -> Any:
        """What was fitted: a ``FitSpec``, or the same as plain values."""

    @property
    def method(self) -> str:
        """The method."""

    @property
    def seed(self) -> int:
        """The seed."""

    @property
    def uses_labels(self) -> bool:
        """Whether the method saw labels."""

    @property
    def configuration_id(self) -> str:
        """The hash of the specification without its seed."""

    @property
    def family(self) -> tuple[Any, ...]:
        """What fits that cost about the same have in common."""


class PastRun(Protocol):
    """A fit with its evaluations."""

    @property
    def run_id(self) -> str:
        """The run's identity."""

    @property
    def fit(self) -> RecordedFit:
        """The record of the fit."""

    @property
    def evaluations(self) -> Mapping[str, RecordedEvaluation]:
        """View id -> record."""


class Snapshot:
    """All runs that left a record, and who is at work.

    Args:
        store: the store; None where there is none yet.
        verify: read each contingency to see that it is the one its record vouches for; else only that it exists.
        only: the id of the one run that is asked about; None: all runs.

    Raises:
        StoreError: a newer release wrote a record.
    """

    def __init__(self, store: Store | None, *, verify: bool = False, only: str | None = None) -> None:
        self._store = store
        self._known = frozenset(store.runs() if only is None else [only]) if store else frozenset()
        self._past: dict[str, PastRun] = {run.run_id: run for run in _past(store, verify, only)} if store else {}

    @property
    def past(self) -> Iterable[PastRun]:
        """All runs with a record of their fit."""
        return self._past.values()

    @property
    def store(self) -> Store | None:
        """The store that was read."""
        return self._store

    @property
    def known(self) -> frozenset[str]:
        """The ids of all runs that left anything."""
        return self._known

    def run(self, run_id: str) -> PastRun | None:
        """The records of a run; None while its fit has none."""
        return self._past.get(run_id)

    def stored(self, run_id: str, views: Iterable[str]) -> StoredRun[Recorded]:
        """The records of a run, of what is wanted of it: evaluations on the views with these ids."""
        past = self._past.get(run_id)
        if past is None:
            return StoredRun(None, dict.fromkeys(views))
        return StoredRun(past.fit, {view: past.evaluations.get(view) for view in views})

    def state(self, run_id: str, stored: StoredRun[Recorded]) -> RunState:
        """How far a run is, by its records and by who is at work on it now; code and data are not looked at.

        Args:
            run_id: the run.
            stored: what is stored of what is wanted of it.
        """
        if self._store is None or run_id not in self._known:
            return run_state(stored)
        # Neither checkpoint nor orders matter beside a record, and to look for them takes time in a large store.
        if run_id in self._past:
            return run_state(stored, claimed=self._store.is_claimed(run_id))
        return run_state(
            stored,
            claimed=self._store.is_claimed(run_id),
            checkpoint=self._store.has_checkpoint(run_id),
            ordered=bool(order_files(self._store.run_folder(run_id))),
        )


def _past(store: Store, verify: bool, only: str | None) -> Sequence[PastRun]:
    if only is not None:
        run = store.load_run(only, verify=verify)
        return [] if run is None else [run]
    # Summaries are a fraction of the records: a store of thousands is read in a moment.
    return store.load_all(verify=True) if verify else store.summaries()


@dataclass(frozen=True)
class Try:
    """One failed try of a run, by its record among the attempts.

    Attributes:
        kind: of the failure.
        message: what it says.
        finished: when, UTC, ISO 8601.
        memory: MB that its job of Slurm asked for; None where it was none, or does not tell.
        minutes: likewise of its time limit.
    """

    kind: str
    message: str
    finished: str = ""
    memory: int | None = None
    minutes: int | None = None

    @property
    def in_words(self) -> str:
        """Such as ``asked for 2048 MB and 15 min: out_of_memory``."""
        parts = [f"{self.memory} MB"] * bool(self.memory) + [f"{self.minutes} min"] * bool(self.minutes)
        return f"asked for {' and '.join(parts)}: {self.kind}" if parts else self.kind


def tries_of(store: Store, run_id: str) -> list[Try]:
    """The failed tries of a run, oldest first; a file that cannot be read is passed over."""
    found = []
    for name in store.attempts(run_id):
        try:
            record = json.loads((store.run_folder(run_id) / "attempts" / f"{name}.json").read_bytes())
            failure, asked = record["failure"], (record.get("environment") or {}).get("slurm") or {}
            memory, minutes = asked.get("mem_mb"), asked.get("minutes")
            found.append(Try(failure["kind"], failure["message"], record.get("finished", ""), memory, minutes))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return sorted(found, key=lambda one: one.finished)
