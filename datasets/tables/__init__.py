"""Class tables as their owners publish them, one YAML file a data set."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

import yaml

from spectral_bench.datasets.interface import ClassSet

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml, where PyYAML was built with it, is ten times faster

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class RawClass:
    """One raw label id.

    Attributes:
        id: the value in label files.
        name: its name.
        colour: RGB, 0 to 255.
        other: further numbers that the table gives, by column name.
    """

    id: int
    name: str
    colour: Colour
    other: dict[str, int]


def load_table(name: str) -> tuple[RawClass, ...]:
    """The rows of ``<name>.yaml`` in this folder, in the order of their ids, which run from 0 without a gap."""
    text = files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    rows = []
    for entry in yaml.load(text, Loader=_LOADER):
        red, green, blue = entry.pop("colour")
        rows.append(RawClass(entry.pop("id"), entry.pop("name"), (red, green, blue), entry))
    return tuple(rows)


def class_set(name: str, rows: tuple[RawClass, ...]) -> ClassSet:
    """A class set with one class a row; raw ids of other rows are ignored."""
    return ClassSet(
        name=name,
        classes=tuple(row.name for row in rows),
        raw_ids=tuple((row.id,) for row in rows),
        palette=tuple(row.colour for row in rows),
    )


def merged_set(name: str, classes: tuple[RawClass, ...], rows: tuple[RawClass, ...], column: str) -> ClassSet:
    """A class set of several raw ids a class: those of the rows that have the id of the class in ``column``."""
    return ClassSet(
        name=name,
        classes=tuple(row.name for row in classes),
        raw_ids=tuple(tuple(row.id for row in rows if row.other.get(column) == one.id) for one in classes),
        palette=tuple(row.colour for row in classes),
    )


def names_to_void(rows: tuple[RawClass, ...], void: int) -> tuple[str, ...]:
    """The names of the ids 0 to ``void``, the last of which stands for no class; those between have none."""
    return (*(row.name for row in rows), *[""] * (void - len(rows)), "void")
