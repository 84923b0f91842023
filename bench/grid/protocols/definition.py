"""Protocols as they are written, before they are resolved for a data set: by name, by path, or in a grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from spectral_bench.common.documents.document import Document, Place, standing_at
from spectral_bench.common.documents.problems import Problems, describe, validate
from spectral_bench.common.documents.reading import read_document
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import unknown

FOLDER = Path(__file__).parent
Clusters = Literal["any", "classes"]


@dataclass(frozen=True)
class Definition:
    """A protocol for any data set.

    Attributes:
        name: its name in tables.
        note: one line about it.
        clusters: ``classes`` where K must be the number of classes.
        document: all of its keys, those of the protocol that it extends included.
    """

    name: str
    note: str
    clusters: Clusters
    document: Document

    def part(self, key: Literal["view", "scoring"], dataset: str) -> Document:
        """The view or the scoring for one data set, its own values merged into the common ones."""
        common = standing_at(Place(self.document.place.where, key), {})
        if self.document.states((key,)):
            common = self.document.part((key,))
        own = ("datasets", dataset, key)
        return common.overlaid(self.document.part(own)) if self.document.states(own) else common


def names() -> tuple[str, ...]:
    """The protocols that ship with the harness."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def load(reference: Document, folder: Path) -> Definition:
    """The protocol that a grid refers to.

    Args:
        reference: a name, the path of a YAML file (relative to ``folder``), or a mapping with the protocol's keys.
        folder: the folder of the grid.

    Raises:
        ConfigError: there is no such protocol (the nearest is suggested), or it is not valid.
    """
    if isinstance(reference.value, dict):
        return _define(reference, folder, ())
    problems = Problems(reference.places)
    if isinstance(reference.value, str):
        with problems.at(()):
            return find(reference.value, folder)
    else:
        found = describe(reference.value)
        problems.add((), f"expected the name of a protocol, a path or a mapping, got {found}")
    problems.check()
    raise AssertionError("unreachable")


def find(name: str, folder: Path, users: tuple[str, ...] = ()) -> Definition:
    """The protocol of a name or path; ``users`` are the protocols that extend it, outermost first.

    Raises:
        ConfigError: as for ``load``.
    """
    if name in users:
        raise ConfigError(f"protocol {users[0]} extends itself: {' -> '.join((*users, name))}")
    if "/" in name or name.endswith((".yaml", ".yml")):
        path = folder / Path(name).expanduser()
        return _define(read_document(path), path.parent, (*users, name))
    return _shipped(name, users)


@cache
def _shipped(name: str, users: tuple[str, ...]) -> Definition:
    if name not in names():
        raise ConfigError(f"{unknown('protocol', name, names())} (or the path of a YAML file)")
    return _define(read_document(FOLDER / f"{name}.yaml"), FOLDER, (*users, name))


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    note: str = ""
    extends: str | None = None
    view: dict[str, Any] = {}
    scoring: dict[str, Any] = {}
    clusters: Clusters = "any"
    datasets: dict[str, dict[str, dict[str, Any]]] = {}


def _define(document: Document, folder: Path, users: tuple[str, ...]) -> Definition:
    """The definition that a document writes down, on top of the one that it extends."""
    problems = Problems(document.places)
    extended = document.get(("extends",))
    base = None
    if isinstance(extended, str):
        with problems.at("extends"):
            base = find(extended, folder, users)
    keys = validate(_Keys, document.value, problems)
    _check_datasets(document.get(("datasets",)), problems)
    problems.check()
    assert keys is not None
    clusters = keys.clusters if base is None or document.states(("clusters",)) else base.clusters
    note = keys.note or (base.note if base else "")
    return Definition(keys.name, note, clusters, base.document.overlaid(document) if base else document)


def _check_datasets(datasets: Any, problems: Problems) -> None:
    for dataset, parts in datasets.items() if isinstance(datasets, dict) else ():
        for key in parts if isinstance(parts, dict) else ():
            if key not in ("view", "scoring"):
                problems.add(("datasets", dataset, key), 'expected "view" or "scoring" below a data set')
