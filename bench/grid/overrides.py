"""Changes to a grid from the command line: ``--set key=value``.

A key that starts with a key of the grid itself is a path into the file (``defaults.seeds=[0,1]``,
``ablate.base.params.k=32``, ``runs[0].matrix.k=[8]``). Any other key is a key of a run (``seeds=[0]``,
``features.mode=online``) or a parameter (``epochs=1``) and holds for every run that has it: one value takes the place
of whatever the run states or varies; a list of values takes the place of the lists that runs are multiplied by, where
there are such lists for this key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from spectral_bench.bench.grid.expansion import Draft
from spectral_bench.bench.grid.keys import RUN_KEYS, get, is_run_key, put
from spectral_bench.common.documents.document import Node, from_plain, join, parse_value
from spectral_bench.common.documents.problems import Problems
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import unknown


@dataclass(frozen=True)
class Override:
    """One ``--set``: a key and its new value."""

    key: str
    node: Node


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
    return Override(key.strip(), from_plain(plain, where, key.strip()))


def set_in_document(root: Node, override: Override, problems: Problems) -> Node:
    """A copy of the document in which the path that the override names has its value."""
    steps = [int(step) if step.isdigit() else step for step in re.findall(r"[^.\[\]]+", override.key)]
    return _set_below(root, steps, override.node, problems)


def _set_below(parent: Node, steps: Sequence[str | int], node: Node, problems: Problems) -> Node:
    if not steps:
        return node
    first, *rest = steps
    below = parent.child(first)
    if isinstance(parent.value, tuple):
        if not isinstance(first, int) or below is None:
            problems.add(node, f"{parent.path} is a list of {len(parent.elements)}; there is no {first} in it")
            return parent
        return parent.with_element(first, _set_below(below, rest, node, problems))
    if not isinstance(parent.value, Mapping | None):
        problems.add(node, f"{parent.path} holds a single value; nothing can be set below it")
        return parent
    key = str(first)
    empty = Node({}, node.where, join(parent.path, key))
    mapping = parent if parent.value is not None else replace(parent, value={})
    return mapping.with_item(key, _set_below(below or empty, rest, node, problems))


def set_axes(root: Node, override: Override) -> tuple[Node, bool]:
    """Apply an override to the lists that runs are multiplied by.

    Returns:
        The changed document, and whether nothing is left to do: the value is a list that replaced such lists.
    """
    is_list = isinstance(override.node.value, tuple)
    hits = 0
    for name in ("ablate", "runs"):
        block = root.child(name)
        if block is None:
            continue
        entries = block.elements or (block,)
        changed = [_set_entry_axes(entry, override, is_list) for entry in entries]
        hits += sum(old is not new for old, new in zip(entries, changed, strict=True))
        value = replace(block, value=tuple(changed)) if block.elements else changed[0]
        root = root.with_item(name, value)
    return root, bool(hits) and is_list


def _set_entry_axes(entry: Node, override: Override, is_list: bool) -> Node:
    for name in ("matrix", "zip", "vary"):
        axes = entry.child(name)
        axis = axes.child(override.key) if axes else None
        if axes is None or axis is None:
            continue
        if is_list:
            axes = axes.with_item(override.key, override.node)
        elif name == "vary":
            axes = axes.without(override.key)
        else:
            repeats = 1 if name == "matrix" else len(axis.elements)
            axes = axes.with_item(override.key, replace(override.node, value=(override.node,) * repeats))
        entry = entry.with_item(name, axes)
    return entry


def set_in_rows(
    drafts: Sequence[Draft], override: Override, parameters: Callable[[str], Collection[str]], problems: Problems
) -> list[Draft]:
    """The rows with the override's value on every row that has its key; notes an unknown key.

    Args:
        drafts: the rows.
        override: a run key, dotted or not, or a parameter.
        parameters: the names of a method's parameters; raises ``ConfigError`` for an unknown method.
        problems: where to note a key that no row has.
    """
    known: dict[str, Collection[str]] = {}
    for draft in drafts:
        method = draft.values.get("method")
        if method is not None and str(method.value) not in known:
            known[str(method.value)] = _parameters_of(str(method.value), parameters)
    hit = [_has(draft, override, known) for draft in drafts]
    changed = [
        replace(draft, values=put(draft.values, override.key, override.node)) if has else draft
        for draft, has in zip(drafts, hit, strict=True)
    ]
    if not any(hit):
        valid = {*RUN_KEYS, *(name for names in known.values() for name in names)}
        problems.add_line(f"{override.node.where}: {unknown('key or parameter', override.key, valid)}")
    return changed


def _parameters_of(method: str, parameters: Callable[[str], Collection[str]]) -> Collection[str]:
    try:
        return parameters(method)
    except ConfigError:
        return ()  # an unknown method is noted where the row's values are checked


def _has(draft: Draft, override: Override, known: Mapping[str, Collection[str]]) -> bool:
    key = override.key
    if is_run_key(key) and not key.startswith("params."):
        return True
    method = draft.values.get("method")
    name = key.removeprefix("params.").partition(".")[0]
    return get(draft.values, key) is not None or (method is not None and name in known[str(method.value)])
