"""Read the published numbers, with every name in them resolved."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from typing import TypeVar

import yaml
from pydantic import ValidationError

from spectral_bench.common.errors import DataError
from spectral_bench.common.names import unknown
from spectral_bench.results.published.schema import (
    Caveat,
    Fact,
    Published,
    PublishedFile,
    PublishedProtocol,
    PublishedRow,
    RowEntry,
    Source,
)

Value = TypeVar("Value")


_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # some builds of PyYAML lack the fast one


@functools.cache
def load_published(folder: Traversable | None = None) -> Published:
    """All published rows and facts, file by file in alphabetical order; each folder is read once.

    Args:
        folder: holds the YAML files; None: those that ship with the harness.

    Raises:
        DataError: a file does not have the form of ``results.published.schema``, a name in it is unknown, or a name is
            given twice; the message names file and row.
    """
    where = folder or resources.files("spectral_bench.results.published")
    files = {path.name: _read(path) for path in sorted(where.iterdir(), key=_name) if path.name.endswith(".yaml")}
    names = _Names(files)
    rows = [names.row(name, number, row) for name, file in files.items() for number, row in enumerate(file.rows, 1)]
    facts = [
        Fact(about=fact.about, text=fact.text, source=_known(names.sources, "source", fact.source, f"{name}, facts"))
        for name, file in files.items()
        for fact in file.facts
    ]
    return Published(rows=tuple(rows), facts=tuple(facts))


class _Names:
    """What the rows of all files may name."""

    def __init__(self, files: Mapping[str, PublishedFile]) -> None:
        self.sources: dict[str, Source] = {}
        self.caveats: dict[str, Caveat] = {}
        self.protocols: dict[str, PublishedProtocol] = {}
        for name, file in files.items():
            _add(self.sources, {key: Source(key=key, title=title) for key, title in file.sources.items()}, name)
            caveats = {key: Caveat(key=key, **entry.model_dump()) for key, entry in file.caveats.items()}
            _add(self.caveats, caveats, name)
            _add(self.protocols, file.protocols, name)
        self.features = [entry for file in files.values() for entry in file.features]
        for entry in self.features:
            _known(self.sources, "source", entry.source, "features")

    def row(self, name: str, number: int, entry: RowEntry) -> PublishedRow:
        """An entry with its names resolved."""
        place = f"{name}, row {number} ({entry.method})"
        base = _known(self.protocols, "protocol", entry.protocol, place)
        for field in entry.differs:
            _known(PublishedProtocol.model_fields, "field of a protocol", field, place)
        stated: dict[str, str] = {}
        for features in self.features:
            stated |= features.stated if features.tells_of(entry) else {}
        try:
            protocol = PublishedProtocol.model_validate(base.model_dump() | stated | entry.differs)
            return PublishedRow(
                **entry.model_dump(exclude={"protocol", "differs", "source", "caveats"}),
                protocol=protocol,
                source=_known(self.sources, "source", entry.source, place),
                caveats=tuple(_known(self.caveats, "caveat", key, place) for key in entry.caveats),
                file=name.removesuffix(".yaml"),
            )
        except ValidationError as error:
            raise DataError(f"{place}: {_first(error)}") from error


def _read(path: Traversable) -> PublishedFile:
    try:
        return PublishedFile.model_validate(yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader))
    except yaml.YAMLError as error:
        raise DataError(f"{path.name}: not valid YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        raise DataError(f"{path.name}: {_first(error)}") from error


def _add(known: dict[str, Value], new: Mapping[str, Value], name: str) -> None:
    for key, value in new.items():
        if key in known:
            raise DataError(f'{name}: the name "{key}" is given twice')
        known[key] = value


def _known(names: Mapping[str, Value], kind: str, key: str, place: str) -> Value:
    if key not in names:
        raise DataError(f"{place}: {unknown(kind, key, names)}")
    return names[key]


def _first(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"


def _name(path: Traversable) -> str:
    return path.name
