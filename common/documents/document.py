"""A document: plain values, and beside them a table that tells where in the file each of them stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

KeyPath = tuple[str | int, ...]
"""Keys and indices from the top of a document to a value, such as ``("runs", 1, "matrix", "k")``; empty at the top."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands, in the words of a message.

    Attributes:
        where: ``file:line``, or ``--set key=value`` for a value from the command line.
        path: the key path from the top of the file, such as ``runs[1].matrix.k``; empty at the top.
    """

    where: str
    path: str = ""

    def below(self, key: str | int) -> Place:
        """The place of a child that stands on the same line."""
        return Place(self.where, join(self.path, key))


Places = Mapping[KeyPath, Place]
"""The place of every value of a document by its key path; the top itself stands under the empty one."""


@dataclass(frozen=True)
class Document:
    """Plain values, and where each of them stands. Changes make copies.

    Attributes:
        value: a scalar, a list or a dictionary, as YAML says it.
        places: where each value stands; a key path is in it if and only if the document states a value there.
    """

    value: Any
    places: Places

    @property
    def place(self) -> Place:
        """Of the top."""
        return self.places[()]

    @cached_property
    def items(self) -> Mapping[str, Document]:
        """The children by key; empty for anything that is no mapping."""
        return {key: self.part((key,)) for key in self.value} if isinstance(self.value, dict) else {}

    @cached_property
    def elements(self) -> tuple[Document, ...]:
        """The children of a list; empty for anything that is no list."""
        return tuple(self.part((i,)) for i in range(len(self.value))) if isinstance(self.value, list) else ()

    def states(self, path: KeyPath) -> bool:
        """Whether there is a value at a key path, be it ``null``."""
        return path in self.places

    def get(self, path: KeyPath) -> Any:
        """The value at a key path, or None."""
        found, value = locate(self.value, path)
        return value if found == path else None

    def part(self, path: KeyPath) -> Document:
        """The document that stands at a key path of this one, which there is."""
        value = self.get(path)
        return Document(value, {below: self.places[(*path, *below)] for below in _paths(value)})

    def with_part(self, path: KeyPath, part: Document) -> Document:
        """A copy in which ``part`` stands at a key path; what it is below has to be a mapping or a list there."""
        return self.with_parts({path: part})

    def with_parts(self, parts: Mapping[KeyPath, Document]) -> Document:
        """As ``with_part``, of several at once."""
        value, places = self.value, dict(self.places)
        for path, part in parts.items():
            _forget(places, path, value)
            places |= {(*path, *below): place for below, place in part.places.items()}
            value = _with_value(value, path, part.value)
        return Document(value, places)

    def without(self, key: str) -> Document:
        """A copy of a mapping without ``key``."""
        places = dict(self.places)
        _forget(places, (key,), self.value)
        return Document({other: child for other, child in self.value.items() if other != key}, places)

    def overlaid(self, own: Document, merges: Callable[[KeyPath], bool] = lambda path: True) -> Document:
        """This document with the values of ``own`` in place of its own.

        Args:
            own: the values that take precedence.
            merges: whether mappings at a key path are merged key by key; others are replaced as a whole.
        """
        places = dict(self.places)

        def merge(path: KeyPath, below: Any, above: Any) -> Any:
            if merges(path) and isinstance(below, dict) and isinstance(above, dict):
                both = {key: merge((*path, key), below[key], above[key]) for key in above if key in below}
                return {**below, **above, **both}
            for lost in _paths(below):
                places.pop((*path, *lost), None)
            return above

        value = merge((), self.value, own.value)
        return Document(value, {**places, **own.places})

    def moved(self, place: Place) -> Document:
        """A copy whose top is said to stand at ``place``, and whose values stand where they stood."""
        return replace(self, places={**self.places, (): place})


def join(path: str, key: str | int) -> str:
    """The key path of a child: ``runs`` and 1 give ``runs[1]``, ``runs[1]`` and ``k`` give ``runs[1].k``."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def standing_at(place: Place, value: Any) -> Document:
    """A document of scalars, lists and dictionaries that all stand on one line, or come with one ``--set``."""
    places: dict[KeyPath, Place] = {(): place}
    for path in _paths(value):
        if path:
            places[path] = places[path[:-1]].below(path[-1])
    return Document(value, places)


def locate(value: Any, path: KeyPath) -> tuple[KeyPath, Any]:
    """The deepest value on the way along ``path``, and its key path; steps that lead nowhere are left out."""
    found: KeyPath = ()
    for key in path:
        inside = isinstance(key, int) and isinstance(value, list) and 0 <= key < len(value)
        if inside or (isinstance(value, dict) and key in value):
            found, value = (*found, key), value[key]
    return found, value


def place_of(path: KeyPath, places: Places) -> Place:
    """The place of a value, or of the deepest one on the way to where nothing stands; as ``locate`` goes."""
    found: KeyPath = ()
    for key in path:
        found = (*found, key) if (*found, key) in places else found
    return places[found]


def _paths(value: Any) -> Iterator[KeyPath]:
    """The key paths of a value and of all that it holds, each after the one that holds it."""
    yield ()
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        for below in _paths(child):
            yield (key, *below)


def _forget(places: dict[KeyPath, Place], path: KeyPath, value: Any) -> None:
    """Drop the places of what ``value`` holds at a key path, if it holds anything there."""
    found, lost = locate(value, path)
    for below in _paths(lost) if found == path else ():
        places.pop((*path, *below), None)


def _with_value(value: Any, path: KeyPath, new: Any) -> Any:
    if not path:
        return new
    first, *rest = path
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[first] = _with_value(copy[first] if rest else None, tuple(rest), new)
    return copy
