"""Which row of one set of results belongs to which row of another."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from spectral_bench.reports.collect import distinct
from spectral_bench.reports.rows import ScoredRow

Key = Callable[[ScoredRow], Hashable]


@dataclass(frozen=True)
class Matched:
    """Pairs of rows, and the rows that stand alone."""

    pairs: tuple[tuple[ScoredRow, ScoredRow], ...]
    only_a: tuple[ScoredRow, ...]
    only_b: tuple[ScoredRow, ...]


def match_rows(a: Sequence[ScoredRow], b: Sequence[ScoredRow]) -> Matched:
    """Pair rows under protocols of one name: by grid and title, then by title, then by what was trained and looked at.

    A row is paired at most once. Pairs are in the order of the first set.
    """
    left, right = distinct(a), distinct(b)
    partner: dict[int, ScoredRow] = {}
    for key in (_grid_and_title, _title, _configuration):
        waiting: dict[Hashable, list[ScoredRow]] = {}
        for entry in right:
            waiting.setdefault(key(entry), []).append(entry)
        for index, entry in enumerate(left):
            found = waiting.get(key(entry)) if index not in partner and key(entry) is not None else None
            if found:
                partner[index] = found.pop(0)
        taken = set(map(id, partner.values()))
        right = [entry for entry in right if id(entry) not in taken]
    pairs = tuple((entry, partner[index]) for index, entry in enumerate(left) if index in partner)
    return Matched(pairs, tuple(entry for index, entry in enumerate(left) if index not in partner), tuple(right))


def _grid_and_title(entry: ScoredRow) -> Hashable:
    return (entry.grid, *_title_parts(entry))


def _title(entry: ScoredRow) -> Hashable:
    return _title_parts(entry)


def _title_parts(entry: ScoredRow) -> tuple[str, ...]:
    return (entry.row.title, entry.row.dataset, entry.row.backbone, entry.protocol.name)


def _configuration(entry: ScoredRow) -> Hashable:
    """What was trained and looked at; None where no fit has a record."""
    for result in entry.seeds:
        if result.fit is not None:
            return (result.fit.configuration_id, entry.protocol.view.look_id, entry.protocol.name)
    return None
