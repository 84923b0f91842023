"""A protocol as it is written, before it is resolved for a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from spectral_bench.common.documents.nodes import Node
from spectral_bench.common.documents.problems import Problems
from spectral_bench.common.documents.validate import validate

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
