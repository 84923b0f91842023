"""Protocols by name, by path, or written into a grid."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from spectral_bench.bench.protocols.definition import Definition, define
from spectral_bench.common.documents.nodes import Node
from spectral_bench.common.documents.parse import read_document
from spectral_bench.common.documents.problems import Problems
from spectral_bench.common.documents.validate import describe
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import unknown

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
