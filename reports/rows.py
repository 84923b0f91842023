"""What a row of a grid gave under a protocol, seed by seed: the entries that all tables and figures are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from spectral_bench.reports.costs import RunCost, cost_of
from spectral_bench.reports.own_methods import SYMBOLS, OwnCode, worst
from spectral_bench.reports.table import CellState
from spectral_bench.reports.versions import Version
from spectral_bench.results.class_lists import ClassList
from spectral_bench.results.manifest import ManifestRow
from spectral_bench.results.metrics import Scores
from spectral_bench.results.record import ClassTable, EvaluationRecord, FitRecord
from spectral_bench.results.specification import PER_IMAGE, Protocol, named_by_text
from spectral_bench.results.statistics import replicated

LABELS_SYMBOL = "†"
"""The mark of rows whose methods see labels."""

TEXT_SYMBOL = "‖"
"""The mark of rows whose methods are given the names of the classes as text, and no label."""

PER_IMAGE_SYMBOL = "¶"
"""The mark of rows whose clusters are matched to classes in each image by itself."""


@dataclass(frozen=True)
class SeedResult:
    """What one seed of a row gave under one protocol.

    Attributes:
        seed, run_id: which run.
        state: anything but ``DONE`` means that there are no scores.
        reason: why not, in one line; empty where it is done or was not begun.
        scores: from the stored contingency, with the protocol's class set and matching.
        fit, evaluation: the records, as far as they exist.
        bases: the records of the fits that this one starts from, the nearest first.
        called: the record of the pass that found the mean features by which its clusters are called; None elsewhere.
        changed: modules whose code has changed since, where that was asked for.
        versions: digests of all files that it saw, where any differ from those that newer runs saw; empty elsewhere.
        own_code: whether the code of a method of the user's own passed ``check-method``; empty for methods that ship.
        relisted: whether its counts were made under a list of other classes than the one that it is scored over.
    """

    seed: int
    run_id: str
    state: CellState
    reason: str = ""
    scores: Scores | None = None
    fit: FitRecord | None = None
    evaluation: EvaluationRecord | None = None
    bases: tuple[FitRecord, ...] = ()
    called: EvaluationRecord | None = None
    changed: tuple[str, ...] = ()
    versions: frozenset[Version] = frozenset()
    own_code: OwnCode = ""
    relisted: bool = False

    @cached_property
    def cost(self) -> RunCost:
        """What it cost."""
        return cost_of(self.fit, self.evaluation, self.bases)


@dataclass(frozen=True)
class ScoredRow:
    """A row of a grid under one protocol.

    Attributes:
        grid, note: the grid and its own caption.
        row, protocol: what was asked for.
        seeds: what became of each seed.
        classes: the class list that all seeds are scored over: today's; None where nothing tells of it.
        titles: what identities call a data set of the user's own -> what tables call it.
        asked: the matching that was asked for in place of the protocol's own; empty: its own.
    """

    grid: str
    note: str
    row: ManifestRow
    protocol: Protocol
    seeds: tuple[SeedResult, ...]
    classes: ClassList | None = None
    titles: Mapping[str, str] = field(default_factory=dict)
    asked: str = ""

    @property
    def scored_as(self) -> tuple[str, str]:
        """The name of the protocol and the matching asked for in its place: the same for all rows of an ablation."""
        return self.protocol.name, self.asked

    @property
    def per_image(self) -> bool:
        """Whether clusters are matched to classes in each image by itself: not comparable with any other matching."""
        return self.protocol.scoring.matching in PER_IMAGE

    @property
    def data_title(self) -> str:
        """What tables call the data set that it is evaluated on."""
        return self.titles.get(self.row.data_name or self.row.dataset, self.row.dataset)

    @property
    def train_title(self) -> str:
        """What tables call the data set that it is trained on."""
        return self.titles.get(self.row.train_data_name or self.row.train_dataset, self.row.train_dataset)

    @cached_property
    def done(self) -> tuple[SeedResult, ...]:
        """The seeds that have scores."""
        return tuple(result for result in self.seeds if result.state is CellState.DONE)

    @property
    def runs(self) -> tuple[str, ...]:
        """The run ids of the seeds that have scores."""
        return tuple(result.run_id for result in self.done)

    @property
    def all_runs(self) -> tuple[str, ...]:
        """The run ids of all seeds."""
        return tuple(result.run_id for result in self.seeds)

    @property
    def uses_labels(self) -> bool:
        """Whether the method sees labels, by the grid or by a record, be it of a fit that it starts from."""
        fits = (fit for result in self.seeds for fit in (result.fit, *result.bases))
        return self.row.uses_labels or any(fit is not None and fit.uses_labels for fit in fits)

    @property
    def named_by_text(self) -> bool:
        """Whether the method is given the names of the classes as text, or its clusters are called by it."""
        called = self.protocol.names_by_features
        return called or any(result.fit is not None and named_by_text(result.fit.spec.params) for result in self.seeds)

    @property
    def versions(self) -> frozenset[Version]:
        """The files that its finished seeds saw, where any differ from those that newer runs saw; empty elsewhere."""
        return frozenset().union(*(result.versions for result in self.done))

    @cached_property
    def replicated(self) -> bool:
        """Whether its finished seeds are replicates; see ``results.statistics.replicated``."""
        told = [(one.evaluation.contingency_sha256, one.scores) for one in self.done if one.evaluation]
        if self.protocol.scoring.label_budget is None:
            return replicated([digest for digest, _ in told])
        # Each seed draws labelled images of its own: equal counts give other scores.
        return replicated([digest and f"{digest} {scores and scores.miou}" for digest, scores in told])

    @property
    def own_code(self) -> OwnCode:
        """Whether the code of a method of the user's own passed ``check-method``; empty for methods that ship."""
        return worst([result.own_code for result in self.seeds])

    @property
    def ranked(self) -> bool:
        """Whether it may be compared with others.

        It sees no labels, and no other files than the newest runs, and its code is not known to break a promise.
        """
        return not self.uses_labels and not self.versions and self.own_code != "failed"

    @property
    def marked_title(self) -> str:
        """The title of the row for lists and figures, marked where labels reach the method or might, or each image."""
        marks = [LABELS_SYMBOL] if self.uses_labels else []
        marks += [TEXT_SYMBOL] if self.named_by_text else []
        marks += [SYMBOLS[self.own_code]] if self.own_code in SYMBOLS else []
        marks += [PER_IMAGE_SYMBOL] if self.per_image else []
        return " ".join([self.row.title, *marks])

    @property
    def class_table(self) -> ClassTable | None:
        """The classes that are scored."""
        return None if self.classes is None else self.classes.table

    @property
    def class_set(self) -> str:
        """The name of the class set; the data set's default where the protocol names none."""
        return self.protocol.scoring.classes if self.classes is None else self.classes.name

    @property
    def n_images(self) -> tuple[int, ...]:
        """The numbers of images that the finished seeds were evaluated on: one number, unless something is wrong."""
        counts = {result.evaluation.n_images for result in self.done if result.evaluation is not None}
        return tuple(sorted(counts))
