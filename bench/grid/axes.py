"""The lists that a run is multiplied by: matrix, zip and exclude."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from spectral_bench.bench.grid.keys import NO_AXIS, get
from spectral_bench.common.documents.nodes import Node
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
