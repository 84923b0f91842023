"""Scores from stored counts, over today's class list. All that reports print of accuracy comes from here."""

from __future__ import annotations

import marshal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectral_bench.common.errors import UserError
from spectral_bench.common.names import few, unknown
from spectral_bench.common.seeds import SeedStreams, labelled_images
from spectral_bench.reports.source import Source
from spectral_bench.results.class_lists import ClassList, ClassLists, same_classes, uncounted
from spectral_bench.results.contingency import Contingency
from spectral_bench.results.kept_scores import KeptScores, ScoreKey
from spectral_bench.results.matching import TEXT
from spectral_bench.results.metrics import Scores, score
from spectral_bench.results.naming import nearest_words
from spectral_bench.results.record import ClassTable, EvaluationRecord, FitRecord
from spectral_bench.results.specification import Protocol, View, named_by_text, named_in, shared

_LISTED = 4
_BY_VALUE = 2  # the version of marshal that writes equal values alike, whoever else refers to them


class Reader:
    """The records of a store, each read once and slim, and the scores that it keeps.

    Args:
        source: the store.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.kept = KeptScores(source.scores_folder)
        self.fit = cache(self._fit)
        self.evaluation = cache(self._evaluation)
        self._parts: dict[bytes, Any] = {}

    def _fit(self, run_id: str) -> FitRecord | None:
        record = self.source.fit_record(run_id)
        if record is not None:
            record.environment, record.code = self._shared(record.environment), self._shared(record.code)
        return record

    def _evaluation(self, run_id: str, view_id: str) -> EvaluationRecord | None:
        record = self.source.evaluation_record(run_id, view_id)
        if record is not None:
            record.environment, record.code = self._shared(record.environment), self._shared(record.code)
            record.view, record.class_sets = shared(record.view), self._shared_classes(record.class_sets)
        return record

    def bases(self, fit: FitRecord) -> Iterator[FitRecord]:
        """The fits that a fit starts from, the nearest first, as far as the store holds them."""
        base = self.fit(fit.base) if fit.base is not None else None
        if base is not None:
            yield base
            yield from self.bases(base)

    def _shared(self, part: dict[str, Any]) -> dict[str, Any]:
        """One object for all parts of records that are equal: two thirds of what thousands of records take."""
        found: dict[str, Any] = self._parts.setdefault(marshal.dumps(part, _BY_VALUE), part)
        return found

    def _shared_classes(self, class_sets: dict[str, ClassTable]) -> dict[str, ClassTable]:
        told = {name: (table.classes, table.raw_ids, table.palette) for name, table in class_sets.items()}
        found: dict[str, ClassTable] = self._parts.setdefault(marshal.dumps(told, _BY_VALUE), class_sets)
        return found


def todays_lists(readers: Sequence[Reader]) -> ClassLists:
    """The class lists that everything in some stores is scored over; see ``results.class_lists``."""
    manifests = [manifest for reader in readers for manifest in reader.source.manifests()]
    told = ClassLists(manifests)
    return ClassLists(manifests, [record for reader in readers for record in _untold(reader, told)])


def _untold(reader: Reader, told: ClassLists) -> Iterator[EvaluationRecord]:
    """The evaluations of rows whose class list no manifest tells of."""
    for manifest in reader.source.manifests():
        for row in manifest.rows:
            for protocol in row.protocols:
                if told.find(protocol.view.data_name, protocol.scoring.classes) is None:
                    found = (reader.evaluation(run_id, protocol.view.view_id) for run_id in row.runs.values())
                    yield from (record for record in found if record is not None)


def run_scores(reader: Reader, run_id: str, protocol: Protocol, classes: ClassList | None, lists: ClassLists) -> Scores:
    """The scores of a finished evaluation over a class list.

    Raises:
        UserError: there is no class set of this name, the matching's own split is not evaluated, no pixel is valid, or
            clusters are to keep the names of a text, and have none of these classes.
    """
    if classes is None:
        names = lists.names(protocol.view.data_name)
        raise UserError(f"{run_id}: {unknown('class set', protocol.scoring.classes, names)}")
    _require_names(reader, run_id, protocol, classes)
    counted, fit_view = reader.evaluation(run_id, protocol.view.view_id), protocol.fit_view
    fitted = None if fit_view is None else reader.evaluation(run_id, fit_view.view_id)
    if fit_view is not None and fitted is None:
        raise UserError(f"the split that the matching is fitted on ({fit_view.split}) is not evaluated")
    named = _naming(reader, run_id, protocol)
    digests = [record.contingency_sha256 for record in (counted, fitted, named) if record is not None]
    budget = protocol.scoring.label_budget
    draw = [] if budget is None else [f"labels of {budget} images, seed {_seed(run_id)}"]
    words = [f"words {protocol.scoring.names.text_digest}"] if named and protocol.scoring.names else []
    key = ScoreKey((*digests, *draw, *words), classes.table, protocol.scoring.matching) if all(digests) else None
    scores = reader.kept.find(key) if key else None
    if scores is None:
        fit_on = matched_on(reader.source, run_id, protocol, classes.table)
        counts = counts_over(reader.source, run_id, protocol.view, classes.table)
        own = called(reader.source, run_id, protocol, classes.table)
        scores = score(counts, classes.table, protocol.scoring.matching, fit_on=fit_on, names=own)
        if key:
            reader.kept.add(key, scores)
    if not scores.n_pixels:
        raise UserError("no pixel of the evaluated images belongs to a class")
    return scores


def _require_names(reader: Reader, run_id: str, protocol: Protocol, classes: ClassList) -> None:
    """Refuse the matching ``text`` for clusters that have no names, or others than the classes of today's list."""
    if protocol.scoring.matching != TEXT or protocol.names_by_features:
        return
    fit, counted = reader.fit(run_id), reader.evaluation(run_id, protocol.view.view_id)
    if fit is None or not named_by_text(fit.spec.params):
        raise UserError(
            "matching text is for methods that are named by text: these clusters have no names; a protocol with "
            "scoring: {names: FILE} finds some"
        )
    if counted is not None and (
        counted.n_clusters != len(classes.table.classes) or counted_otherwise(counted, protocol, classes)
    ):
        raise UserError(f"matching text: its clusters are named after other classes than those of {classes.name}")


def _naming(reader: Reader, run_id: str, protocol: Protocol) -> EvaluationRecord | None:
    """The record of what clusters are named by; None where the matching looks at no such thing.

    Raises:
        UserError: it is not there.
    """
    if not protocol.names_by_features or protocol.name_view is None:
        return None
    record = reader.evaluation(run_id, protocol.name_view.view_id)
    if record is None or record.status == "failed":
        failure = None if record is None else record.failure
        why = "not there yet; bench run finds them" if failure is None else failure.in_a_line
        raise UserError(f"matching text: the mean features of its clusters are missing ({why})")
    return record


def called(source: Source, run_id: str, protocol: Protocol, table: ClassTable) -> NDArray[np.int64] | None:
    """The class that each cluster is called as by its mean feature; None where the matching looks at no such thing.

    Raises:
        StoreError: what is stored for it is missing or torn.
        UserError: the words are of other classes than those that are scored.
    """
    names = protocol.scoring.names
    if not protocol.names_by_features or protocol.name_view is None or names is None:
        return None
    words = source.words(names.text_digest)
    if list(words.classes) != list(table.classes):
        raise UserError(f"matching text: text {names.text} is of other classes than today's list")
    return nearest_words(source.cluster_vectors(run_id, protocol.name_view.view_id), words)


def matched_on(source: Source, run_id: str, protocol: Protocol, table: ClassTable) -> Contingency | None:
    """The counts that the matching is fitted on, those of the images of a label budget alone; None: the scored ones.

    Raises:
        UserError: the budget exceeds the images of that split.
    """
    if protocol.fit_view is None:
        return None
    counts = counts_over(source, run_id, protocol.fit_view, table)
    budget = protocol.scoring.label_budget
    if budget is None:
        return counts
    if budget > counts.n_images:
        split = protocol.fit_view.split
        raise UserError(f"label_budget = {budget}: expected at most the {counts.n_images} images of {split}")
    return counts.chosen(labelled_images(counts.n_images, budget, SeedStreams(_seed(run_id))))


def _seed(run_id: str) -> int:
    return named_in(run_id)[1]


def counted_otherwise(record: EvaluationRecord, protocol: Protocol, classes: ClassList) -> bool:
    """Whether an evaluation was counted under a list of other classes than ``classes``, as far as it tells."""
    own = record.class_sets.get(protocol.scoring.classes or record.default_classes)
    return bool(record.class_sets) and (own is None or not same_classes(own, classes.table))


def counts_over(source: Source, run_id: str, view: View, table: ClassTable) -> Contingency:
    """The counts of a finished evaluation, over all raw ids of a class list.

    Ids beyond those that were counted have no pixel: counting refuses any label that is not among its ids.
    """
    counts = source.contingency(run_id, view.view_id)
    return replace(counts, n_labels=max([counts.n_labels, *(value + 1 for value in uncounted(table, counts.n_labels))]))


def lacking(record: EvaluationRecord, table: ClassTable) -> str:
    """In words, which raw ids of a class list an evaluation did not count; empty where it counted all."""
    strange = uncounted(table, record.n_raw_labels)
    ids = few([str(value) for value in strange], _LISTED)
    return f"today's class list has raw ids that its labels ended before: {ids}" if strange else ""
