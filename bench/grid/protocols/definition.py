"""Protocols as they are written: by name, by path, or in a grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from spectral_bench.common.documents.document import Node, read_document
from spectral_bench.common.documents.problems import Problems, describe, validate
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import unknown

Clusters = Literal["any", "classes"]


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    note: str = ""
    extends: str | None = None
    view: dict[str, Any] = {}
    scoring: dict[str, Any] = {}
    clusters: Clusters = "any"
    datasets: dict[str, dict[str, dict[str, Any]]] = {}


@dataclass(frozen=True)
class Definition:
    """A protocol for any data set.

    Attributes:
        name: its name in tables.
        note: one line about it.
        clusters: ``classes`` where K must be the number of classes.
        node: all of its keys, those of the protocol that it extends included.
    """

    name: str
    note: str
    clusters: Clusters
    node: Node

    def part(self, key: Literal["view", "scoring"], dataset: str) -> Node:
        """The view or the scoring for one data set, its own values merged into the common ones."""
        common = self.node.child(key) or Node({}, self.node.where, key)
        overrides = self.node.child("datasets")
        own = overrides.child(dataset) if overrides else None
        return overlay(common, own.child(key) if own else None)


def define(node: Node, base: Definition | None, problems: Problems) -> Definition | None:
    """The definition that ``node`` writes down, on top of the one that it extends; None after noting problems."""
    keys = validate(_Keys, node, problems)
    for dataset in (node.child("datasets") or node).items.values() if "datasets" in node.items else ():
        for key, child in dataset.items.items():
            if key not in ("view", "scoring"):
                problems.add(child, 'expected "view" or "scoring" below a data set')
    if keys is None or problems:
        return None
    whole = overlay(base.node, node) if base else node
    clusters = keys.clusters if "clusters" in node.items or base is None else base.clusters
    return Definition(keys.name, keys.note or (base.note if base else ""), clusters, whole)


def overlay(common: Node, own: Node | None) -> Node:
    """``common`` with the values of ``own`` in place of its own; mappings are merged key by key, at every depth."""
    if own is None:
        return common
    if not isinstance(common.value, Mapping) or not isinstance(own.value, Mapping):
        return own
    merged = {**common.items}
    for key, child in own.items.items():
        merged[key] = overlay(merged[key], child) if key in merged else child
    return Node(merged, own.where, own.path)


FOLDER = Path(__file__).parent


def names() -> tuple[str, ...]:
    """The protocols that ship with the harness."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def load(reference: Node, folder: Path) -> Definition:
    """The protocol that a grid refers to.

    Args:
        reference: a name, the path of a YAML file (relative to ``folder``), or a mapping with the protocol's keys.
        folder: the folder of the grid.

    Raises:
        ConfigError: there is no such protocol (the nearest is suggested), or it is not valid.
    """
    if isinstance(reference.value, Mapping):
        return _define(reference, folder, ())
    if isinstance(reference.value, str):
        problems = Problems()
        with problems.at(reference):
            return find(reference.value, folder)
        problems.check()
    problems = Problems()
    problems.add(reference, f"expected the name of a protocol, a path or a mapping, got {describe(reference.plain())}")
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


def _define(node: Node, folder: Path, users: tuple[str, ...]) -> Definition:
    problems = Problems()
    extended = node.child("extends")
    base = None
    if extended is not None and isinstance(extended.value, str):
        with problems.at(extended):
            base = find(extended.value, folder, users)
    definition = define(node, base, problems)
    problems.check()
    assert definition is not None
    return definition
