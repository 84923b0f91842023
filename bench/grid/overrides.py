"""Changes to a grid from the command line: ``--set key=value``.

A key that starts with a key of the grid itself is a path into the file (``defaults.seeds=[0,1]``,
``ablate.base.params.k=32``, ``runs[0].matrix.k=[8]``). Any other key is a key of a run (``seeds=[0]``,
``features.mode=online``) or a parameter (``epochs=1``) and holds for every run that has it: one value takes the place
of whatever the run states or varies; a list of values takes the place of the lists that runs are multiplied by, where
there are such lists for this key. An axis of several keys takes one value for one of them, or lists for them all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from spectral_bench.bench.grid.expansion import UncheckedRow
from spectral_bench.bench.grid.keys import RUN_KEYS, is_run_key, parameter_path, put
from spectral_bench.common.documents.document import Document, KeyPath, Place, standing_at
from spectral_bench.common.documents.problems import Problems
from spectral_bench.common.documents.reading import parse_value
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import unknown


@dataclass(frozen=True)
class Override:
    """One ``--set``: a key, and its new value, which stands on the command line."""

    key: str
    part: Document


def parse_override(text: str) -> Override:
    """The key and value of ``key=value``; the value is read as YAML.

    Raises:
        ConfigError: there is no ``=`` or no key, or the value is no valid YAML.
    """
    key, equals, value = text.partition("=")
    where = f"--set {text if len(text) <= 60 else text[:57] + '...'}"
    if not equals or not key.strip():
        raise ConfigError(f"{where}: expected key=value, such as --set seeds=[0,1]")
    try:
        plain = parse_value(value)
    except ConfigError as error:
        raise ConfigError(f"{where}: the value is {str(error).partition(': ')[2]}") from None
    return Override(key.strip(), standing_at(Place(where, key.strip()), plain))


def set_in_document(grid: Document, override: Override, problems: Problems) -> Document:
    """A copy of the document in which the path that the override names has its value; mappings on the way are made."""
    steps = [int(step) if step.isdecimal() else step for step in re.findall(r"[^.\[\]]+", override.key)]
    path: KeyPath = ()
    changed = grid
    while steps:
        value, place = changed.get(path), changed.places[path]
        # Before single steps: a key of an axis may itself have dots.
        if isinstance(value, dict) and (dotted := _dotted(steps, value)):
            steps = steps[dotted.count(".") + 1 :]
            path = (*path, dotted)
            continue
        step = steps.pop(0)
        if isinstance(value, list):
            if not isinstance(step, int) or step >= len(value):
                fault = f"{place.path} is a list of {len(value)}; there is no {step} in it"
                problems.add_at(override.part.place, fault)
                return grid
            path = (*path, step)
            continue
        if not isinstance(value, dict | None):
            fault = f"{place.path} holds a single value; nothing can be set below it"
            problems.add_at(override.part.place, fault)
            return grid
        if value is None:  # a key without a value in the file
            changed = changed.with_part(path, standing_at(place, {}))
        path = (*path, str(step))
        if isinstance(step, int) or not changed.states(path):
            below = Place(override.part.place.where, place.path).below(str(step))
            changed = changed.with_part(path, standing_at(below, {}))
    return changed.with_part(path, override.part)


def _dotted(steps: Sequence[str | int], among: Mapping[str, object]) -> str:
    """The key with dots of a mapping, such as ``features.views`` of an axis, that steps begin with; empty for none."""
    names = (".".join(map(str, steps[:count])) for count in range(len(steps), 1, -1))
    return next((name for name in names if name in among), "")


def set_axes(grid: Document, override: Override, problems: Problems) -> tuple[Document, bool]:
    """Apply an override to the lists that runs are multiplied by; notes what an axis of several keys cannot take.

    Returns:
        The changed document, and whether nothing is left to do: the value is a list that replaced such lists.
    """
    # A list takes the place of lists; a single value ends the variation, and goes on to the rows.
    is_list = isinstance(override.part.value, list)
    changed: dict[KeyPath, Document] = {}
    for name in ("ablate", "runs"):
        if name not in grid.items:
            continue
        length = len(grid.items[name].elements)
        entries: list[KeyPath] = [(name, index) for index in range(length)] or [(name,)]
        for path in entries:
            if (entry := _with_axes(grid.part(path), override, is_list, problems)) is not None:
                changed[path] = entry
    return grid.with_parts(changed), bool(changed) and is_list


def _with_axes(entry: Document, override: Override, is_list: bool, problems: Problems) -> Document | None:
    """The entry with the override's value in the place of its lists for that key; None where it has no such list."""
    found, wanted, part = None, _paths(override.key), override.part
    axes = [(name, key) for name in ("matrix", "zip", "vary") if name in entry.items for key in entry.items[name].items]
    for name, key in axes:
        path: KeyPath = (name, key)
        if _paths(key) != wanted:
            if name == "vary" and set(wanted) <= set(_paths(key)):
                entry = found = _within(entry, key, override, is_list, problems)
        elif is_list:
            entry = found = entry.with_part(path, part)
        elif name == "vary":
            left = entry.part((name,)).without(key)
            # An ablation of which nothing is left but its baseline is what was asked for here, not a slip of the file.
            entry = found = entry.with_part((name,), left if left.items else standing_at(part.place, {}))
        else:
            values = entry.get(path)
            repeats = 1 if name == "matrix" else len(values) if isinstance(values, list) else 0
            entry = found = entry.with_part(path, _repeated(part, repeats))
    return found


def _paths(key: str) -> tuple[KeyPath, ...]:
    """What a key of an axis sets: one key path for each of its names."""
    return tuple(parameter_path(name.strip()) for name in key.split(","))


def _within(entry: Document, key: str, override: Override, is_list: bool, problems: Problems) -> Document:
    """The entry with one value for one name of an axis under ``vary`` that changes several together.

    Anything else cannot be put there, and is noted.
    """
    path, names = ("vary", key), _paths(key)
    axis, wanted = entry.part(path), _paths(override.key)
    # A list for one of several keys says nothing of the values that the others are to have beside it.
    if is_list or len(wanted) > 1:
        where = override.part.place.where
        problems.add_line(
            f'{where}: {override.key} is varied together with others, as "{key}" on {axis.place.where}; '
            f'set them all, in this order: --set "{key}=[[...], ...]"'
        )
        return entry
    place = names.index(wanted[0])
    for index, element in enumerate(axis.elements):
        if len(element.elements) == len(names):
            entry = entry.with_part((*path, index, place), override.part)
    return entry


def _repeated(part: Document, times: int) -> Document:
    """A list that holds a value several times."""
    places = {(index, *path): place for index in range(times) for path, place in part.places.items()}
    return Document([part.value] * times, {(): part.place, **places})


def set_in_rows(
    rows: Sequence[UncheckedRow], override: Override, parameters: Callable[[str], Collection[str]], problems: Problems
) -> list[UncheckedRow]:
    """The rows with the override's value on every row that has its key; notes an unknown key.

    Args:
        rows: the rows.
        override: a run key, dotted or not, or a parameter.
        parameters: the names of a method's parameters; raises ``ConfigError`` for an unknown method.
        problems: where to note a key that no row has.
    """
    known: dict[str, Collection[str]] = {}
    for row in rows:
        method = _method(row)
        if method is not None and method not in known:
            known[method] = _parameters_of(method, parameters)
    hit = [_has(row, override, known) for row in rows]
    changed = [
        replace(row, values=put(row.values, override.key, override.part)) if has else row
        for row, has in zip(rows, hit, strict=True)
    ]
    if not any(hit):
        valid = {*RUN_KEYS, *(name for names in known.values() for name in names)}
        where = override.part.place.where
        problems.add_line(f"{where}: {unknown('key or parameter', override.key, valid)}")
    return changed


def _method(row: UncheckedRow) -> str | None:
    return str(row.values.get(("method",))) if row.values.states(("method",)) else None


def _parameters_of(method: str, parameters: Callable[[str], Collection[str]]) -> Collection[str]:
    try:
        return parameters(method)
    except ConfigError:
        return ()  # an unknown method is noted where the row's values are checked


def _has(row: UncheckedRow, override: Override, known: Mapping[str, Collection[str]]) -> bool:
    key = override.key
    if is_run_key(key) and not key.startswith("params."):
        return True
    method = _method(row)
    name = key.removeprefix("params.").partition(".")[0]
    return row.values.states(parameter_path(key)) or (method is not None and name in known[method])
