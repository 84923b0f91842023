"""How the submissions of a store stand: what its files say, and what Slurm says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from spectral_bench.bench.executors.slurm.cluster import Cluster, User, read_cluster, this_user
from spectral_bench.bench.executors.slurm.commands import Slurm
from spectral_bench.bench.executors.slurm.ledger import Entry, Ledger, Submission
from spectral_bench.bench.executors.slurm.queue import Element, Known, ask
from spectral_bench.bench.executors.slurm.unseen import why_not_seen
from spectral_bench.bench.order import Order
from spectral_bench.bench.outstanding import read_order, settled
from spectral_bench.common.errors import ConfigError, UserError
from spectral_bench.results.runs import FIT_FILE
from spectral_bench.results.store import Store

Stand = Literal["settled", "pending", "running", "ended", "lost", "unknown"]
"""``settled``: its record, or its failure, is in the store. ``pending``, ``running``: its job is. ``ended``: its job is
over, and left no record of it. ``lost``: Slurm answers and knows no such job. ``unknown``: Slurm does not answer, or
may know the job and not show it here."""


@dataclass(frozen=True)
class Place:
    """One run of a submission.

    Attributes:
        submission: which.
        index: of the job in its array.
        entry: the run.
        element: the job, as Slurm describes it; None where it does not.
        stand: how the run stands.
    """

    submission: Submission
    index: int
    entry: Entry
    element: Element | None
    stand: Stand

    @property
    def live(self) -> bool:
        """Whether its job waits or runs, as far as is known."""
        return self.stand in ("pending", "running", "unknown")

    @property
    def job(self) -> str:
        """How Slurm calls its job; the submission's name while the id is not known."""
        job_id = self.submission.job_id or (self.element.job_id if self.element else None)
        return self.submission.name if job_id is None else f"{job_id}_{self.index}"


@dataclass(frozen=True)
class Board:
    """The open submissions of a store at one moment.

    Attributes:
        ledger: where they are kept.
        submissions: oldest first.
        known: what Slurm said of them.
        user: who asked.
        cluster: that was asked; None where it does not say, or need not.
    """

    ledger: Ledger
    submissions: tuple[Submission, ...]
    known: Known
    user: User = field(default_factory=this_user)
    cluster: Cluster | None = None

    @cached_property
    def places(self) -> list[Place]:
        """Every run of every submission."""
        return [place for submission in self.submissions for place in self.places_of(submission)]

    @cached_property
    def _by_name(self) -> dict[str, list[Place]]:
        return {submission.name: list(self._places(submission)) for submission in self.submissions}

    def places_of(self, submission: Submission) -> list[Place]:
        """Every run of one submission."""
        return self._by_name[submission.name]

    def of(self, submissions: Sequence[Submission]) -> Board:
        """The same moment with some of the submissions only, which may know more of themselves by now."""
        board = replace(self, submissions=tuple(submissions))
        board.__dict__["_by_name"] = {one.name: self._by_name[one.name] for one in submissions}
        return board

    def newest(self) -> dict[str, Place]:
        """The last place of each run, live ones before others."""
        found: dict[str, Place] = {}
        for place in self.places:
            before = found.get(place.entry.run_id)
            if before is None or place.live or not before.live:
                found[place.entry.run_id] = place
        return found

    def unit(self, place: Place) -> list[Place]:
        """The runs that share the job of ``place``, itself included."""
        return [other for other in self.places_of(place.submission) if other.index == place.index]

    def _places(self, submission: Submission) -> Iterator[Place]:
        for index, unit in enumerate(submission.units):
            element = self.known.elements.get((submission.name, index))
            for entry in unit.entries:
                yield Place(submission, index, entry, element, self._stand(submission, entry, element))

    def _stand(self, submission: Submission, entry: Entry, element: Element | None) -> Stand:
        if is_settled(entry, self.ledger.store):
            return "settled"
        if element is not None and element.live:
            return "pending" if element.state == "PENDING" else "running"
        if element is not None:
            return "pending" if element.given_up and self._tidies_up(submission) else "ended"
        if self.known.silent or self.known.forgetful:
            return "unknown"
        # A waiting job of an array that is cancelled alone leaves no trace in Slurm.
        if self.ledger.is_cancelled(submission.name, entry.run_id):
            return "ended"
        return "unknown" if self.why_unknown(submission) else "lost"

    def why_unknown(self, submission: Submission) -> str:
        """Why nobody knows how jobs of a submission stand that Slurm does not speak of; empty where they are gone."""
        if found := self.known.silent or self.known.forgetful:
            return found
        return why_not_seen(submission, self.cluster, self.user)

    def _tidies_up(self, submission: Submission) -> bool:
        """Whether a job that another one waited for is not over yet: Slurm may give up the one that waits before."""
        found = (self.known.elements.get((name, index)) for name, after in submission.after.items() for index in after)
        return any(element is not None and element.live for element in found)


def look(ledger: Ledger, slurm: Slurm) -> Board:
    """How the open submissions of a store stand now.

    Raises:
        StoreError: the store cannot be read.
    """
    submissions = tuple(ledger.open())
    asked = {name: other for one in submissions for name in one.after if (other := ledger.read(name)) is not None}
    asked |= {one.name: one for one in submissions}
    jobs = {name: submission.job_id for name, submission in asked.items()}
    known = ask(slurm, jobs)
    every = {(one.name, index) for one in submissions for index in range(len(one.units))}
    cluster = None
    if not (known.silent or known.forgetful) and every - known.elements.keys():
        with contextlib.suppress(UserError):  # nothing is lost then
            cluster = read_cluster(slurm)
    return Board(ledger, submissions, known, cluster=cluster)


def order_of(entry: Entry, store: Store) -> Order | None:
    """The order of a run; None where its file is gone."""
    with contextlib.suppress(ConfigError):
        return read_order(order_path(entry, store))
    return None


def order_path(entry: Entry, store: Store) -> Path:
    """The file of an order."""
    return store.path / entry.order


def is_settled(entry: Entry, store: Store) -> bool:
    """Whether all that was ordered is stored, or the run has failed since it was submitted.

    An extraction of features is never settled: it belongs to no run and has no record.
    """
    if entry.features_only:
        return False
    if len(store.attempts(entry.run_id)) > entry.known_failures:
        return True
    if not (store.run_folder(entry.run_id) / FIT_FILE).exists():  # spares thousands of waiting runs their orders
        return False
    order = order_of(entry, store)
    return order is None or settled(order, store) is not None
