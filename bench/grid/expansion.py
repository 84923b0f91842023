"""From the entries of a grid to its rows, whose values are not checked yet."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from spectral_bench.bench.grid.keys import EXPANSION_KEYS, NO_AXIS, RUN_KEYS, Values, get, merged, put
from spectral_bench.common.documents.document import Node
from spectral_bench.common.documents.problems import Problems
from spectral_bench.common.names import unknown

Combination = dict[str, Node]


def combinations(entry: Node, problems: Problems) -> list[Combination]:
    """All combinations of an entry's matrix and zip that it does not exclude.

    Matrix keys are multiplied in the order of the file, the first one slowest; the zip lists advance together and
    make up the last, fastest axis. An entry with neither has one combination, the empty one. Notes all problems.
    """
    matrix = _lists(entry.child("matrix"), entry, problems)
    for axis in matrix.values():
        values_differ(axis, problems)
    zipped = _lists(entry.child("zip"), entry, problems)
    _check_lengths(entry, zipped, problems)
    for key in matrix.keys() & zipped.keys():
        problems.add(matrix[key], f"the key stands in zip as well (on {zipped[key].where})")
    steps = [[{key: element} for element in axis.elements] for key, axis in matrix.items()]
    if zipped:
        steps.append([dict(zip(zipped, row, strict=True)) for row in _rows(zipped)])
    found = [{k: v for part in parts for k, v in part.items()} for parts in itertools.product(*steps)]
    return _without_excluded(entry, {**matrix, **zipped}, found, problems)


def check_axis(key: str, axis: Node, problems: Problems) -> bool:
    """Whether ``axis`` is a list of values for ``key``; notes what is wrong."""
    refusal = next(filter(None, (_refusal(part.strip()) for part in key.split(","))), None)
    if refusal:
        problems.add(axis, refusal)
        return False
    if not isinstance(axis.value, tuple) or not axis.value:
        problems.add(axis, f"expected a list of values for {key}, such as [1, 2]")
        return False
    return True


def _refusal(key: str) -> str | None:
    first = key.partition(".")[0]
    return NO_AXIS.get(key if first == "params" else first)


def values_differ(axis: Node, problems: Problems) -> bool:
    """Whether no value of an axis stands there twice; notes the first that does."""
    seen: list[tuple[type, object]] = []
    for element in axis.elements:
        # 1, 1.0 and True are equal in Python but not the same value of a grid.
        marked = (type(element.plain()), element.plain())
        if marked in seen:
            problems.add(element, f"the value {element.plain()!r} stands here twice")
            return False
        seen.append(marked)
    return True


def _lists(node: Node | None, entry: Node, problems: Problems) -> dict[str, Node]:
    if node is None:
        return {}
    if not isinstance(node.value, Mapping) or not node.value:
        problems.add(node, "expected a mapping from keys to lists of values")
        return {}
    sound = {key: axis for key, axis in node.items.items() if check_axis(key, axis, problems)}
    for key, axis in sound.items():
        stated = get(dict(entry.items), key)
        if stated is not None:
            problems.add(axis, f"{key} is also given one value on {stated.where}; leave one of them out")
    return sound


def _check_lengths(entry: Node, zipped: Mapping[str, Node], problems: Problems) -> None:
    lengths = {key: len(axis.elements) for key, axis in zipped.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{key} has {length}" for key, length in lengths.items())
        problems.add(entry.items["zip"], f"lists that advance together must be equally long: {listed}")


def _rows(zipped: Mapping[str, Node]) -> Sequence[tuple[Node, ...]]:
    shortest = min(len(axis.elements) for axis in zipped.values())
    return list(zip(*(axis.elements[:shortest] for axis in zipped.values()), strict=True))


def _without_excluded(
    entry: Node, axes: Mapping[str, Node], found: list[Combination], problems: Problems
) -> list[Combination]:
    exclude = entry.child("exclude")
    if exclude is None:
        return found
    if not isinstance(exclude.value, tuple) or any(not rule.items for rule in exclude.elements):
        problems.add(exclude, "expected a list of mappings, such as [{k: 32, input: last}]")
        return found
    rules = [rule for rule in exclude.elements if _rule_is_valid(rule, axes, problems)]
    kept = [combination for combination in found if not any(_excludes(rule, combination) for rule in rules)]
    if found and not kept:
        problems.add(exclude, "every combination is excluded; no run is left")
    return kept


def _rule_is_valid(rule: Node, axes: Mapping[str, Node], problems: Problems) -> bool:
    valid = True
    for key, value in rule.items.items():
        if key not in axes:
            problems.add(value, unknown("key of matrix or zip", key, axes))
            valid = False
        elif all(element.plain() != value.plain() for element in axes[key].elements):
            listed = ", ".join(str(element.plain()) for element in axes[key].elements)
            # An axis set from the command line may well have lost the value.
            if not axes[key].where.startswith("--set"):
                problems.add(value, f"{value.plain()!r} is no value of {key} here; valid: {listed}")
            valid = False
    return valid


def _excludes(rule: Node, combination: Combination) -> bool:
    return all(combination[key].plain() == value.plain() for key, value in rule.items.items())


Role = Literal["row", "baseline", "variation"]


@dataclass(frozen=True)
class Draft:
    """One row of a grid before its values are checked.

    Attributes:
        values: nodes by run key, the defaults of the grid included.
        origin: the node that the row comes from, for positions in errors.
        axes: the keys that the row's entry multiplies or varies, in order.
        role: a plain row, the baseline of an ablation, or one change of it.
        factor: for a variation, the key (or keys, joined by commas) that differs from the baseline.
        value: for a variation, the value of the factor.
    """

    values: Values
    origin: Node
    axes: tuple[str, ...] = ()
    role: Role = "row"
    factor: str | None = None
    value: Any = None


def draft_rows(root: Node, problems: Problems) -> list[Draft]:
    """The rows of a grid, ablations first, each baseline directly before its variations. Notes all problems."""
    shared = root.child("defaults")
    # A value of another type is noted where the keys of the grid itself are checked.
    shared = shared if shared and isinstance(shared.value, Mapping) else None
    defaults = _entry_values(shared, RUN_KEYS, problems, leave_out=("name",))
    drafts: list[Draft] = []
    ablate = root.child("ablate")
    if ablate is not None:
        # One ablation, or a list of them, each with a baseline of its own.
        for block in ablate.elements or (ablate,):
            drafts += _ablation(block, defaults, problems)
    runs = root.child("runs")
    if runs is not None:
        if not isinstance(runs.value, tuple):
            problems.add(runs, "expected a list of runs, each a mapping with the key method")
        for entry in runs.elements:
            drafts += _plain_rows(entry, defaults, problems)
    return drafts


def _plain_rows(entry: Node, defaults: Values, problems: Problems) -> Iterator[Draft]:
    own = _entry_values(entry, (*RUN_KEYS, *EXPANSION_KEYS), problems)
    if not isinstance(entry.value, Mapping):
        return
    base = merged(defaults, {key: node for key, node in own.items() if key not in EXPANSION_KEYS})
    for combination in combinations(entry, problems):
        values = base
        for key, node in combination.items():
            values = put(values, key, node)
        yield Draft(values, entry, tuple(combination))


def _ablation(block: Node, defaults: Values, problems: Problems) -> Iterator[Draft]:
    base, vary = block.child("base"), block.child("vary")
    for key, child in block.items.items():
        if key not in ("base", "vary"):
            problems.add(child, unknown("key", key, ("base", "vary")))
    if base is None or vary is None or not vary.items:
        problems.add(block, "expected a mapping with the keys base (one run) and vary (lists of values by key)")
        return
    baseline = Draft(merged(defaults, _entry_values(base, RUN_KEYS, problems)), base, tuple(vary.items), "baseline")
    yield baseline
    for factor, axis in vary.items.items():
        if check_axis(factor, axis, problems) and values_differ(axis, problems):
            yield from _variations(baseline, factor, axis, problems)


def _variations(baseline: Draft, factor: str, axis: Node, problems: Problems) -> Iterator[Draft]:
    """One row a value of the factor; the baseline's own value is the baseline and gives no second row."""
    keys = [key.strip() for key in factor.split(",")]
    for element in axis.elements:
        parts = element.elements if len(keys) > 1 else (element,)
        if len(parts) != len(keys):
            problems.add(element, f"expected a list of {len(keys)} values, one for each of {', '.join(keys)}")
            continue
        stated = [get(baseline.values, key) for key in keys]
        if all(own is not None and own.plain() == part.plain() for own, part in zip(stated, parts, strict=True)):
            continue
        values = baseline.values
        for key, part in zip(keys, parts, strict=True):
            values = put(values, key, part)
        values = {key: node for key, node in values.items() if key != "name" or "name" in keys}
        yield replace(
            baseline, values=values, origin=element, role="variation", factor=", ".join(keys), value=element.plain()
        )


def _entry_values(
    entry: Node | None, valid: tuple[str, ...], problems: Problems, leave_out: tuple[str, ...] = ()
) -> Values:
    """The known keys of a run's mapping; notes unknown ones."""
    if entry is None:
        return {}
    if not isinstance(entry.value, Mapping):
        problems.add(entry, "expected a mapping of the keys of a run, such as {method: kmeans}")
        return {}
    allowed = [key for key in valid if key not in leave_out]
    for key, node in entry.items.items():
        if key not in allowed:
            problems.add(node, f"{unknown('key', key, allowed)} (parameters of the method go under params)")
    return {key: node for key, node in entry.items.items() if key in allowed}
