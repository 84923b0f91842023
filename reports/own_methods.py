"""Rows of methods of the user's own: whether the code that made them passed ``check-method``, and how that is told.

A record names the code that it was made with, and what was known of it when the run began. Where the store knows more
of that very code today, today's word counts: a check that comes after the runs still speaks of what they ran.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from spectral_bench.reports.source import Source
from spectral_bench.results.record import EvaluationRecord, FitRecord

OwnCode = Literal["", "passed", "failed", "not checked", "not stated"]
"""Of the worst record behind a number; empty where no method of the user's own is behind it."""

UNPROVEN_SYMBOL = "‡"
BROKEN_SYMBOL = "§"
SYMBOLS: dict[OwnCode, str] = {
    "failed": BROKEN_SYMBOL,
    "not checked": UNPROVEN_SYMBOL,
    "not stated": UNPROVEN_SYMBOL,
}
NOTES = {
    UNPROVEN_SYMBOL: "Code of one's own that has not passed check-method: nothing shows that no label reaches it.",
    BROKEN_SYMBOL: "Code of one's own that broke a promise of check-method; kept out of rankings.",
}
LEGEND = f"{UNPROVEN_SYMBOL}: own code, not checked. {BROKEN_SYMBOL}: own code that broke a promise."
"""For captions of figures."""

_WORST_FIRST: tuple[OwnCode, ...] = ("failed", "not checked", "not stated", "passed", "")


def own_code(source: Source, records: Sequence[FitRecord | EvaluationRecord]) -> OwnCode:
    """What is known of the code of the user's own behind some records."""
    return worst([_of_record(source, record) for record in records])


def worst(states: Sequence[OwnCode]) -> OwnCode:
    """The gravest of some states; empty without any."""
    return next((state for state in _WORST_FIRST if state in states), "")


def _of_record(source: Source, record: FitRecord | EvaluationRecord) -> OwnCode:
    check = record.method_check
    if check is None:  # a method that ships, or a record of a release that did not tell
        return "not stated" if isinstance(record, FitRecord) and ".py:" in record.method else ""
    verdict = source.check_state(check.code)
    verdict = check.verdict if verdict == "not_checked" else verdict
    return "not checked" if verdict == "not_checked" else verdict
