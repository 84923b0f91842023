"""Scores from stored counts, over today's class list. All that reports print of accuracy comes from here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache

from spectral_bench.common.errors import UserError
from spectral_bench.common.names import few, unknown
from spectral_bench.reports.source import Source
from spectral_bench.results.class_lists import ClassList, ClassLists, same_classes, uncounted
from spectral_bench.results.contingency import Contingency
from spectral_bench.results.metrics import Scores, score
from spectral_bench.results.record import ClassTable, EvaluationRecord
from spectral_bench.results.specification import Protocol, View

_LISTED = 4


class Reader:
    """The evaluations of a store, each record read once.

    Args:
        source: the store.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.evaluation = cache(source.evaluation_record)


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
        UserError: there is no class set of this name, the matching's own split is not evaluated, or no pixel is valid.
    """
    if classes is None:
        names = lists.names(protocol.view.data_name)
        raise UserError(f"{run_id}: {unknown('class set', protocol.scoring.classes, names)}")
    fit_on = None
    if protocol.fit_view is not None:
        if reader.evaluation(run_id, protocol.fit_view.view_id) is None:
            raise UserError(f"the split that the matching is fitted on ({protocol.fit_view.split}) is not evaluated")
        fit_on = counts_over(reader.source, run_id, protocol.fit_view, classes.table)
    counts = counts_over(reader.source, run_id, protocol.view, classes.table)
    scores = score(counts, classes.table, protocol.scoring.matching, fit_on=fit_on)
    if not scores.n_pixels:
        raise UserError("no pixel of the evaluated images belongs to a class")
    return scores


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
