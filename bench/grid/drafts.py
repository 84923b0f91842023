"""From the entries of a grid to rows whose values are not checked yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from spectral_bench.bench.grid.axes import check_axis, combinations, values_differ
from spectral_bench.bench.grid.keys import EXPANSION_KEYS, RUN_KEYS, Values, get, merged, put
from spectral_bench.common.documents.nodes import Node
from spectral_bench.common.documents.problems import Problems
from spectral_bench.common.names import unknown

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
