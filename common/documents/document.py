"""Reading YAML: plain values, and where in the file each of them stands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from spectral_bench.common.errors import ConfigError
from spectral_bench.common.missing import no_such

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


MAX_NODES = 100_000
_COLLECTIONS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")

_RESOLVERS: tuple[tuple[str, str, str], ...] = (
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+(?:_[0-9]+)*", "-+0123456789"),
    # YAML 1.1 takes 1e-3 for a text, as it has no point. Everyone who writes it means a number.
    ("float", r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
)


class _Loader(yaml.SafeLoader):
    """A safe loader without the surprises of YAML 1.1: ``no`` and ``12:30`` are texts, ``1e-3`` is a number."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own class attribute


for _tag, _pattern, _first in _RESOLVERS:
    # An empty text resolves by the empty first character, which PyYAML writes as "".
    _firsts = ["" if character == "\0" else character for character in _first]
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _firsts)


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    # Decimal, always: YAML 1.1 reads 010 as eight.
    return int(node.value.replace("_", ""))


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)


def read_document(path: Path) -> Node:
    """Read a YAML file.

    Raises:
        ConfigError: the file is missing, unreadable or no valid YAML, or a mapping has a key twice; with its line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(no_such(path)) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: expected text in UTF-8 ({error})") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read as a text file ({error})") from None
    return parse_document(text, str(path))


def parse_document(text: str, name: str) -> Node:
    """Parse YAML text; ``name`` stands for the file in positions.

    Raises:
        ConfigError: the text is no valid YAML, or a mapping has a key twice; with its line.
    """
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return Node(None, f"{name}:1")
        return _Converter(loader, name).convert(root, "")
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        said = " ".join(filter(None, (error.context, error.problem)))
        raise ConfigError(f"{name}:{line}: not valid YAML: {said}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{name}: not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ConfigError(f"{name}: not valid YAML: nested too deeply") from None


def parse_value(text: str) -> Any:
    """The plain value of a piece of YAML, such as ``[0, 1]`` or ``1e-3``."""
    return parse_document(text, "value").plain()


class _Converter:
    """Turns PyYAML's nodes into ours; aliases are expanded, up to a bound that keeps bombs out."""

    def __init__(self, loader: _Loader, name: str) -> None:
        self._loader = loader
        self._name = name
        self._count = 0
        self._open: set[int] = set()

    def convert(self, node: yaml.Node, path: str) -> Node:
        """The node of our own that a YAML node at a path becomes."""
        where = f"{self._name}:{node.start_mark.line + 1}"
        self._count += 1
        if self._count > MAX_NODES or id(node) in self._open:
            raise ConfigError(f"{where}: {path}: an alias that contains itself, or more than {MAX_NODES} values")
        self._open.add(id(node))
        converted = Node(self._content(node, path), where, path)
        self._open.discard(id(node))
        return converted

    def _content(self, node: yaml.Node, path: str) -> Any:
        if not isinstance(node, yaml.ScalarNode) and node.tag not in _COLLECTIONS:
            raise yaml.MarkedYAMLError(problem=f"the tag {node.tag} has no meaning here", problem_mark=node.start_mark)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return tuple(self.convert(child, join(path, index)) for index, child in enumerate(node.value))
        return self._loader.construct_object(node)

    def _mapping(self, node: yaml.MappingNode, path: str) -> dict[str, Node]:
        found: dict[str, Node] = {}
        for key_node, value_node in node.value:
            where = f"{self._name}:{key_node.start_mark.line + 1}"
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError(f"{where}: {path or 'top'}: a key must be a plain word")
            key = str(key_node.value)
            if key == "<<":
                raise ConfigError(f"{where}: {path or 'top'}: merge keys (<<) are not supported; write the keys out")
            if key in found:
                raise ConfigError(f"{where}: {join(path, key)}: the key stands here twice, first on {found[key].where}")
            found[key] = self.convert(value_node, join(path, key))
        return found
