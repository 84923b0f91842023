"""Which runs saw other files of a data set than newer runs did: their numbers are not comparable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from spectral_bench.common.digests import apart
from spectral_bench.results.record import EvaluationRecord, FitRecord, files_seen

Record = FitRecord | EvaluationRecord

Version = tuple[str, str]
"""Some files, such as ``camvid val labels``, and their digest."""


def versions(runs: Mapping[str, Sequence[Record]]) -> dict[str, frozenset[Version]]:
    """What runs saw that saw other files than the newest record of the same files did.

    Args:
        runs: run -> its fit, the fits that it starts from, and its evaluation.

    Returns:
        Run -> all that it saw; runs that saw what the newest did are left out, as are those that do not say.
    """
    newest: dict[str, tuple[str, str]] = {}
    for what, digest, finished in (seen for records in runs.values() for record in records for seen in _seen(record)):
        newest[what] = max(newest.get(what, ("", "")), (finished, digest))
    found = {
        run: frozenset((what, digest) for record in records for what, digest, _ in _seen(record))
        for run, records in runs.items()
    }
    return {run: seen for run, seen in found.items() if any(apart(newest[what][1], digest) for what, digest in seen)}


def _seen(record: Record) -> Iterator[tuple[str, str, str]]:
    for what, digest in files_seen(record).items():
        yield f"{record.dataset} {record.split} {what}", digest, record.finished
