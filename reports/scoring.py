"""Scores from stored counts, over today's class list. All that reports print of accuracy comes from here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


class OtherList(UserError):
    """The class list has raw ids that the stored counts did not look at."""


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
                if told.find(protocol.view.dataset, protocol.scoring.classes) is None:
                    found = (reader.evaluation(run_id, protocol.view.view_id) for run_id in row.runs.values())
                    yield from (record for record in found if record is not None)


def run_scores(reader: Reader, run_id: str, protocol: Protocol, classes: ClassList | None, lists: ClassLists) -> Scores:
    """The scores of a finished evaluation over a class list.

    Raises:
        OtherList: the counts did not look at a raw id of the list.
        UserError: there is no class set of this name, the matching's own split is not evaluated, or no pixel is valid.
    """
    if classes is None:
        names = lists.names(protocol.view.dataset)
        raise UserError(f"{run_id}: {unknown('class set', protocol.scoring.classes, names)}")
    fit_on = None
    if protocol.fit_view is not None:
        if reader.evaluation(run_id, protocol.fit_view.view_id) is None:
            raise UserError(f"the split that the matching is fitted on ({protocol.fit_view.split}) is not evaluated")
        fit_on = _counts(reader, run_id, protocol.fit_view, classes.table)
    counts = _counts(reader, run_id, protocol.view, classes.table)
    scores = score(counts, classes.table, protocol.scoring.matching, fit_on=fit_on)
    if not scores.n_pixels:
        raise UserError("no pixel of the evaluated images belongs to a class")
    return scores


def counted_otherwise(record: EvaluationRecord, protocol: Protocol, classes: ClassList) -> bool:
    """Whether an evaluation was counted under a list of other classes than ``classes``, as far as it tells."""
    own = record.class_sets.get(protocol.scoring.classes or record.default_classes)
    return bool(record.class_sets) and (own is None or not same_classes(own, classes.table))


def _counts(reader: Reader, run_id: str, view: View, table: ClassTable) -> Contingency:
    counts = reader.source.contingency(run_id, view.view_id)
    if strange := uncounted(table, counts.n_labels):
        ids = few([str(value) for value in strange], _LISTED)
        plural = "s" if len(strange) > 1 else ""
        raise OtherList(
            f"today's class list has the raw id{plural} {ids}; this run was evaluated when they ended at "
            f"{counts.n_labels - 1}"
        )
    return counts
