"""From the entries of a grid to its rows, whose values are not checked yet.

An entry of ``runs`` is multiplied by the lists under ``matrix`` and ``zip``; an entry of ``ablate`` gives its baseline
and one row a change of it. The defaults of the grid lie under each.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from spectral_bench.bench.grid.keys import EXPANSION_KEYS, NO_AXIS, RUN_KEYS, over_defaults, parameter_path, put
from spectral_bench.common.documents.document import Document, standing_at
from spectral_bench.common.documents.problems import Problems
from spectral_bench.common.names import unknown

Role = Literal["row", "baseline", "variation"]
Combination = dict[str, Document]
"""One value for each key that an entry is multiplied by."""


@dataclass(frozen=True)
class UncheckedRow:
    """One row of a grid before its values are checked.

    Attributes:
        values: by run key, the defaults of the grid included; its top stands where the row comes from.
        role: a plain row, the baseline of an ablation, or one change of it.
        factor: for a variation, the key (or keys, joined by commas) that differs from the baseline.
        value: for a variation, the value of the factor.
        sound: false where something is wrong with the entry that the row comes from, or with the defaults: it may lack
            what was meant.
    """

    values: Document
    role: Role = "row"
    factor: str | None = None
    value: Any = None
    sound: bool = True


def unchecked_rows(grid: Document, problems: Problems) -> list[UncheckedRow]:
    """The rows of a grid, ablations first, each baseline directly before its variations. Notes all problems."""
    before = len(problems)
    defaults = _defaults(grid, problems)
    sound = len(problems) == before
    rows: list[UncheckedRow] = []
    ablate = grid.items.get("ablate")
    if ablate is not None:
        # One ablation, or a list of them, each with a baseline of its own.
        for block in ablate.elements or (ablate,):
            rows += _with_doubt(_ablation(block, defaults, problems), problems, sound)
    runs = grid.items.get("runs")
    if runs is not None:
        if not isinstance(runs.value, list):
            problems.add_at(runs.place, "expected a list of runs, each a mapping with the key method")
        for entry in runs.elements:
            rows += _with_doubt(_plain_rows(entry, defaults, problems), problems, sound)
    return rows


def _with_doubt(rows: Iterator[UncheckedRow], problems: Problems, sound: bool) -> list[UncheckedRow]:
    """The rows of an entry, all of them not sound where problems are noted on the way, or were before."""
    before = len(problems)
    found = list(rows)  # a generator: what is wrong with the entry is noted while it runs
    return found if sound and len(problems) == before else [replace(row, sound=False) for row in found]


def _defaults(grid: Document, problems: Problems) -> Document:
    defaults = grid.items.get("defaults")
    # A value of another type is noted where the keys of the grid itself are checked.
    if defaults is None or not isinstance(defaults.value, dict):
        return standing_at(grid.place, {})
    return _known_keys(defaults, [key for key in RUN_KEYS if key != "name"], problems)


def _plain_rows(entry: Document, defaults: Document, problems: Problems) -> Iterator[UncheckedRow]:
    own = _known_keys(entry, (*RUN_KEYS, *EXPANSION_KEYS), problems)
    if not isinstance(entry.value, dict):  # noted by `_known_keys`
        return
    for key in EXPANSION_KEYS:
        own = own.without(key)
    base = over_defaults(defaults, own)
    for combination in combinations(entry, problems):
        values = base
        for key, part in combination.items():
            values = put(values, key, part)
        yield UncheckedRow(values)


def _ablation(block: Document, defaults: Document, problems: Problems) -> Iterator[UncheckedRow]:
    base, vary = block.items.get("base"), block.items.get("vary")
    for key, part in block.items.items():
        if key not in ("base", "vary"):
            problems.add_at(part.place, unknown("key", key, ("base", "vary")))
    # A list that was emptied by --set leaves the baseline alone, as was asked; an empty one in the file is a slip.
    emptied = vary is not None and vary.value == {} and vary.place.where.startswith("--set")
    if base is None or vary is None or not (vary.items or emptied):
        wanted = "expected a mapping with the keys base (one run) and vary (lists of values by key)"
        problems.add_at(block.place, wanted)
        return
    baseline = UncheckedRow(over_defaults(defaults, _known_keys(base, RUN_KEYS, problems)), "baseline")
    yield baseline
    for factor, axis in vary.items.items():
        if check_axis(factor, axis, problems) and values_differ(axis, problems):
            yield from _variations(baseline, factor, axis, problems)


def _variations(baseline: UncheckedRow, factor: str, axis: Document, problems: Problems) -> Iterator[UncheckedRow]:
    """One row a value of the factor; the baseline's own value is the baseline and gives no second row."""
    keys = [key.strip() for key in factor.split(",")]
    for element in axis.elements:
        parts = element.elements if len(keys) > 1 else (element,)
        if len(parts) != len(keys):
            wanted = f"expected a list of {len(keys)} values, one for each of {', '.join(keys)}"
            problems.add_at(element.place, wanted)
            continue
        # As stated; where the baseline has the value as a default, planning drops the row: see `bench.plan.run_ids`.
        if all(_has_value(baseline.values, key, part.value) for key, part in zip(keys, parts, strict=True)):
            continue
        values = baseline.values
        for key, part in zip(keys, parts, strict=True):
            values = put(values, key, part)
        if "name" not in keys:  # else a variation would bear the baseline's name
            values = values.without("name")
        values = values.moved(element.place)
        yield replace(baseline, values=values, role="variation", factor=", ".join(keys), value=element.value)


def _has_value(run: Document, key: str, value: Any) -> bool:
    path = parameter_path(key)
    return run.states(path) and bool(run.get(path) == value)


def _known_keys(entry: Document, known: Sequence[str], problems: Problems) -> Document:
    """A run's mapping with its known keys alone; notes the others."""
    if not isinstance(entry.value, dict):
        problems.add_at(entry.place, "expected a mapping of the keys of a run, such as {method: kmeans}")
        return standing_at(entry.place, {})
    for key, part in entry.items.items():
        if key not in known:
            where = "(parameters of the method go under params)"
            problems.add_at(part.place, f"{unknown('key', key, known)} {where}")
            entry = entry.without(key)
    return entry


def combinations(entry: Document, problems: Problems) -> list[Combination]:
    """All combinations of an entry's matrix and zip that it does not exclude.

    Matrix keys are multiplied in the order of the file, the first one slowest; the zip lists advance together and
    make up the last, fastest axis. An entry with neither has one combination, the empty one. Notes all problems.
    """
    matrix = _lists("matrix", entry, problems)
    for axis in matrix.values():
        values_differ(axis, problems)
    zipped = _lists("zip", entry, problems)
    _check_lengths(entry, zipped, problems)
    for key, axis in matrix.items():
        if key in zipped:
            problems.add_at(axis.place, f"the key stands in zip as well (on {zipped[key].place.where})")
    steps = [[{key: element} for element in axis.elements] for key, axis in matrix.items()]
    if zipped:
        steps.append([dict(zip(zipped, row, strict=True)) for row in _zipped_rows(zipped)])
    # product turns its last axis fastest, so rows come as the file reads.
    found = [{k: v for part in parts for k, v in part.items()} for parts in itertools.product(*steps)]
    return _without_excluded(entry, {**matrix, **zipped}, found, problems)


def check_axis(key: str, axis: Document, problems: Problems) -> bool:
    """Whether ``axis`` is a list of values for ``key``; notes what is wrong."""
    refusal = next(filter(None, (_refusal(part.strip()) for part in key.split(","))), None)
    if refusal:
        problems.add_at(axis.place, refusal)
        return False
    if not axis.elements:
        problems.add_at(axis.place, f"expected a list of values for {key}, such as [1, 2]")
        return False
    return True


def _refusal(key: str) -> str | None:
    first = key.partition(".")[0]
    return NO_AXIS.get(key if first == "params" else first)


def values_differ(axis: Document, problems: Problems) -> bool:
    """Whether no value of an axis stands there twice; notes the first that does."""
    seen: list[tuple[type, object]] = []
    for element in axis.elements:
        # 1, 1.0 and True are equal in Python but not the same value of a grid.
        marked = (type(element.value), element.value)
        if marked in seen:
            problems.add_at(element.place, f"the value {element.value!r} stands here twice")
            return False
        seen.append(marked)
    return True


def _lists(name: str, entry: Document, problems: Problems) -> dict[str, Document]:
    if name not in entry.items:
        return {}
    lists = entry.items[name]
    if not lists.items:
        problems.add_at(lists.place, "expected a mapping from keys to lists of values")
        return {}
    valid = {key: axis for key, axis in lists.items.items() if check_axis(key, axis, problems)}
    for key, axis in valid.items():
        stated = parameter_path(key)
        if entry.states(stated):
            where = entry.places[stated].where
            problems.add_at(axis.place, f"{key} is also given one value on {where}; leave one of them out")
    return valid


def _check_lengths(entry: Document, zipped: Mapping[str, Document], problems: Problems) -> None:
    lengths = {key: len(axis.elements) for key, axis in zipped.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{key} has {length}" for key, length in lengths.items())
        wanted = f"lists that advance together must be equally long: {listed}"
        problems.add_at(entry.items["zip"].place, wanted)


def _zipped_rows(zipped: Mapping[str, Document]) -> Sequence[tuple[Document, ...]]:
    # Lists of unlike length have been noted; rows are made all the same, so that what is wrong with those is told too.
    shortest = min(len(axis.elements) for axis in zipped.values())
    return list(zip(*(axis.elements[:shortest] for axis in zipped.values()), strict=True))


def _without_excluded(
    entry: Document, axes: Mapping[str, Document], found: list[Combination], problems: Problems
) -> list[Combination]:
    exclude = entry.items.get("exclude")
    if exclude is None:
        return found
    if not isinstance(exclude.value, list) or any(not rule.items for rule in exclude.elements):
        problems.add_at(exclude.place, "expected a list of mappings, such as [{k: 32, input: last}]")
        return found
    rules = [rule.value for rule in exclude.elements if _rule_is_valid(rule, axes, problems)]
    kept = [combination for combination in found if not any(_excludes(rule, combination) for rule in rules)]
    if found and not kept:  # without this, a rule too wide would make the entry vanish in silence
        problems.add_at(exclude.place, "every combination is excluded; no run is left")
    return kept


def _rule_is_valid(rule: Document, axes: Mapping[str, Document], problems: Problems) -> bool:
    valid = True
    for key, part in rule.items.items():
        if key not in axes:
            problems.add_at(part.place, unknown("key of matrix or zip", key, axes))
            valid = False
        elif not any(value == part.value for value in axes[key].value):
            listed = ", ".join(str(value) for value in axes[key].value)
            # An axis set from the command line may well have lost the value.
            if not axes[key].place.where.startswith("--set"):
                problems.add_at(part.place, f"{part.value!r} is no value of {key} here; valid: {listed}")
            valid = False
    return valid


def _excludes(rule: Mapping[str, Any], combination: Combination) -> bool:
    return all(combination[key].value == value for key, value in rule.items())
