"""Reading YAML: duplicate keys refused, numbers and booleans as in YAML 1.2, every value with its line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from spectral_bench.common.documents.document import Document, KeyPath, Place, join
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.missing import no_such

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


def read_document(path: Path, repeated: list[str] | None = None) -> Document:
    """Read a YAML file.

    Args:
        path: the file.
        repeated: as for ``parse_document``.

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
    return parse_document(text, str(path), repeated)


def parse_document(text: str, name: str, repeated: list[str] | None = None) -> Document:
    """Parse YAML text.

    Args:
        text: the text.
        name: stands for the file in positions.
        repeated: where to note keys that stand twice, a line each, for a caller who goes on to find what else is wrong
            and then raises all of it; the first of them counts. None: raised here.

    Raises:
        ConfigError: the text is no valid YAML, or a mapping has a key twice; with its line.
    """
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return Document(None, {(): Place(f"{name}:1")})
        converter = _Converter(loader, name, repeated)
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

    def __init__(self, loader: _Loader, name: str, repeated: list[str] | None) -> None:
        self.places: dict[KeyPath, Place] = {}
        self._loader = loader
        self._name = name
        self._repeated = repeated
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
        try:
            value = self._loader.construct_object(node)
        except (AttributeError, KeyError) as error:  # PyYAML's answer to "!!bool foo" and "!!timestamp foo"
            raise _meaningless(node) from error
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
                line = f"{where}: {name}: the key stands here twice, first on {self.places[below].where}"
                if self._repeated is None:
                    raise ConfigError(line)
                self._repeated.append(line)
                continue
            found[key] = self.convert(value_node, below, name)
        return found
