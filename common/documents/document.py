"""Reading YAML: plain values, and beside them a table that tells where in the file each of them stands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from spectral_bench.common.errors import ConfigError
from spectral_bench.common.missing import no_such

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


MAX_NODES = 100_000
_SCALARS = (type(None), bool, int, float, str)
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


def read_document(path: Path) -> Document:
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


def parse_document(text: str, name: str) -> Document:
    """Parse YAML text; ``name`` stands for the file in positions.

    Raises:
        ConfigError: the text is no valid YAML, or a mapping has a key twice; with its line.
    """
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return Document(None, {(): Place(f"{name}:1")})
        converter = _Converter(loader, name)
        return Document(converter.convert(root, (), ""), converter.places)
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
    return parse_document(text, "value").value


def _meaningless(node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=f"the tag {node.tag} has no meaning here", problem_mark=node.start_mark)


class _Converter:
    """Turns PyYAML's nodes into plain values; aliases are expanded, up to a bound that keeps bombs out.

    ``places`` tells where the values stand that have been converted so far.
    """

    def __init__(self, loader: _Loader, name: str) -> None:
        self.places: dict[KeyPath, Place] = {}
        self._loader = loader
        self._name = name
        self._open: set[int] = set()

    def convert(self, node: yaml.Node, path: KeyPath, shown: str) -> Any:
        """The plain value of a YAML node at a key path, which messages show as ``shown``."""
        where = f"{self._name}:{node.start_mark.line + 1}"
        self.places[path] = Place(where, shown)
        if len(self.places) > MAX_NODES or id(node) in self._open:
            raise ConfigError(f"{where}: {shown}: an alias that contains itself, or more than {MAX_NODES} values")
        self._open.add(id(node))
        value = self._content(node, path, shown)
        self._open.discard(id(node))
        return value

    def _content(self, node: yaml.Node, path: KeyPath, shown: str) -> Any:
        if not isinstance(node, yaml.ScalarNode) and node.tag not in _COLLECTIONS:
            raise _meaningless(node)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, shown)
        if isinstance(node, yaml.SequenceNode):
            return [self.convert(child, (*path, i), join(shown, i)) for i, child in enumerate(node.value)]
        value = self._loader.construct_object(node)
        if not isinstance(value, _SCALARS):  # !!binary, !!timestamp, !!set: PyYAML makes objects of them
            raise _meaningless(node)
        return value

    def _mapping(self, node: yaml.MappingNode, path: KeyPath, shown: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            where = f"{self._name}:{key_node.start_mark.line + 1}"
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError(f"{where}: {shown or 'top'}: a key must be a plain word")
            key = str(key_node.value)
            below, name = (*path, key), join(shown, key)
            if key == "<<":
                raise ConfigError(f"{where}: {shown or 'top'}: merge keys (<<) are not supported; write the keys out")
            if key in found:
                first = self.places[below].where
                raise ConfigError(f"{where}: {name}: the key stands here twice, first on {first}")
            found[key] = self.convert(value_node, below, name)
        return found
