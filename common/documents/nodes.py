"""A value of a YAML document together with where it stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

Content = None | bool | int | float | str


@dataclass(frozen=True)
class Node:
    """One value of a document.

    Attributes:
        value: a scalar, a tuple of nodes, or a dictionary from keys to nodes.
        where: ``file:line``, or ``--set key=value`` for a value from the command line.
        path: the key path from the top of the document, such as ``runs[1].matrix.k``; empty at the top.
    """

    value: Content | tuple[Node, ...] | Mapping[str, Node]
    where: str
    path: str = ""

    @property
    def items(self) -> Mapping[str, Node]:
        """The children by key; empty for anything that is no mapping."""
        return self.value if isinstance(self.value, Mapping) else {}

    @property
    def elements(self) -> tuple[Node, ...]:
        """The children of a list; empty for anything that is no list."""
        return self.value if isinstance(self.value, tuple) else ()

    def plain(self) -> Any:
        """The value without positions: scalars, lists and dictionaries."""
        if isinstance(self.value, Mapping):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, tuple):
            return [child.plain() for child in self.value]
        return self.value

    def child(self, key: str | int) -> Node | None:
        """The child under a key or at an index, or None."""
        if isinstance(key, int):
            return self.elements[key] if 0 <= key < len(self.elements) else None
        return self.items.get(key)

    def locate(self, location: Sequence[str | int]) -> Node:
        """The deepest node on the way along ``location`` (keys and indices); steps that lead nowhere are left out."""
        node = self
        for key in location:
            node = node.child(key) or node
        return node

    def with_item(self, key: str, child: Node) -> Node:
        """A copy of this mapping in which ``key`` is ``child``."""
        return replace(self, value={**self.items, key: child})

    def without(self, key: str) -> Node:
        """A copy of this mapping without ``key``."""
        return replace(self, value={k: v for k, v in self.items.items() if k != key})

    def with_element(self, index: int, child: Node) -> Node:
        """A copy of this list with another element at ``index``."""
        elements = list(self.elements)
        elements[index] = child
        return replace(self, value=tuple(elements))

    def __iter__(self) -> Iterator[Node]:
        """The elements of a list, or the values of a mapping."""
        return iter(self.elements or tuple(self.items.values()))


def join(path: str, key: str | int) -> str:
    """The key path of a child: ``runs`` and 1 give ``runs[1]``, ``runs[1]`` and ``k`` give ``runs[1].k``."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def from_plain(value: Any, where: str, path: str = "") -> Node:
    """A node tree of plain scalars, lists and dictionaries that all stand at ``where``."""
    if isinstance(value, Mapping):
        return Node({str(k): from_plain(v, where, join(path, str(k))) for k, v in value.items()}, where, path)
    if isinstance(value, (list, tuple)):
        return Node(tuple(from_plain(v, where, join(path, i)) for i, v in enumerate(value)), where, path)
    return Node(value, where, path)
