"""Today's class lists: which classes a stored count is scored over, whatever list it was counted under.

Counts are of raw label ids, so a class list that was edited since (renamed, merged, split, put in another order) scores
old counts as it scores new ones. Everything that is averaged, compared or put in one table is scored over one list.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from spectral_bench.results.manifest import DataFacts, Manifest
from spectral_bench.results.record import ClassTable, EvaluationRecord


class CountedClasses(Protocol):
    """A class set as a data set describes it."""

    @property
    def classes(self) -> Sequence[str]:
        """Names."""

    @property
    def raw_ids(self) -> Sequence[Sequence[int]]:
        """For each class its raw label ids."""

    @property
    def palette(self) -> Sequence[Sequence[int]]:
        """For each class its colour, RGB of 0 to 255."""


def class_tables(class_sets: Mapping[str, CountedClasses]) -> dict[str, ClassTable]:
    """The class sets of a data set, by name, as records and manifests keep them."""
    return {
        name: ClassTable(
            classes=list(classes.classes),
            raw_ids=[list(ids) for ids in classes.raw_ids],
            palette=[list(colour) for colour in classes.palette],
        )
        for name, classes in class_sets.items()
    }


@dataclass(frozen=True)
class ClassList:
    """The class list that some scores are over: the name of the class set and its classes."""

    name: str
    table: ClassTable


class ClassLists:
    """The class lists of the data sets of one or several stores, as they stand today.

    Today's list is the one that the last launch of any grid told of; where none did (manifests of schema 1), the one of
    the newest evaluation.

    Args:
        manifests: of all grids.
        records: evaluations, for data sets that no manifest tells of, and for class sets that no longer exist.
    """

    def __init__(self, manifests: Iterable[Manifest], records: Iterable[EvaluationRecord] = ()) -> None:
        told = [(manifest.written, name, facts) for manifest in manifests for name, facts in manifest.data.items()]
        counted = [(record.started, record.view.data_name, _facts(record)) for record in records]
        self._told = _newest_first(told)
        self._counted = _newest_first(counted)

    def find(self, dataset: str, name: str = "") -> ClassList | None:
        """Today's list of a class set; None where nothing tells of it.

        Args:
            dataset: its name, as identities of views have it.
            name: the class set; empty: the default one of today.
        """
        known = [*self._told.get(dataset, ()), *self._counted.get(dataset, ())]
        wanted = name or next((facts.default_classes for facts in known if facts.default_classes), "")
        found = next((facts.class_sets[wanted] for facts in known if wanted in facts.class_sets), None)
        return None if found is None else ClassList(wanted, found)

    def title(self, dataset: str) -> str:
        """The title of a data set, as the newest manifest that tells of it has it; its name where none does."""
        titles = (facts.title for facts in self._told.get(dataset, ()) if facts.title)
        return next(titles, dataset)

    def names(self, dataset: str) -> tuple[str, ...]:
        """The class sets of a data set that anything tells of, the newest first."""
        known = (*self._told.get(dataset, ()), *self._counted.get(dataset, ()))
        return tuple(dict.fromkeys(name for facts in known for name in facts.class_sets))


def uncounted(table: ClassTable, n_raw_labels: int) -> list[int]:
    """The raw ids of a class list that a count over ``n_raw_labels`` ids, from 0 on, did not look at, ascending."""
    return sorted(value for ids in table.raw_ids for value in ids if value >= n_raw_labels)


def same_classes(one: ClassTable, other: ClassTable) -> bool:
    """Whether two lists divide the raw ids in the same way, whatever their names, colours and order."""
    return _division(one) == _division(other)


def positions(names: Iterable[str]) -> dict[tuple[str, int], int]:
    """Where each class stands in a list, by its name and, for a name that stands there several times, which it is."""
    return {key: index for index, key in enumerate(numbered(names))}


def numbered(names: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Each name with the number of equal ones before it."""
    seen: dict[str, int] = {}
    for name in names:
        yield name, seen.get(name, 0)
        seen[name] = seen.get(name, 0) + 1


def _division(table: ClassTable) -> frozenset[frozenset[int]]:
    return frozenset(frozenset(ids) for ids in table.raw_ids)


def _facts(record: EvaluationRecord) -> DataFacts:
    return DataFacts(title="", class_sets=record.class_sets, default_classes=record.default_classes)


def _newest_first(told: list[tuple[str, str, DataFacts]]) -> dict[str, list[DataFacts]]:
    by_name: dict[str, list[DataFacts]] = {}
    for _, name, facts in sorted(told, key=lambda one: one[0], reverse=True):
        by_name.setdefault(name, []).append(facts)
    return by_name
