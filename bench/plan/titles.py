"""Titles of rows, and what a grid states about each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from spectral_bench.bench.plan.rows import ResolvedRow

LABELS_MARK = "†"
LABELS_NOTE = f"{LABELS_MARK} is fitted with labels: marked in every table and kept out of rankings"

_NOT_SETTINGS = ("name", "method", "seeds", "protocols", "params")


def marked(title: str, uses_labels: bool) -> str:
    """A title, marked where the method is fitted with labels."""
    return f"{title} {LABELS_MARK}" if uses_labels else title


def stated_settings(row: ResolvedRow) -> dict[str, Any]:
    """What the grid states for a row: parameters by name, and keys of the run."""
    values = {key: node.plain() for key, node in row.row.values.items()}
    own = {key: value for key, value in values.items() if key not in _NOT_SETTINGS}
    return {**(values.get("params") or {}), **own}


def row_titles(rows: Sequence[ResolvedRow]) -> list[str]:
    """One title a row: its name, or its method and, where that is not enough, the settings that tell it from others.

    A variation of an ablation is named after what it changes.
    """
    titles = [_stem(row) for row in rows]
    settings = [stated_settings(row) for row in rows]
    for title in sorted({title for title in titles if titles.count(title) > 1}):
        alike = [index for index, other in enumerate(titles) if other == title]
        keys = _telling_keys([settings[index] for index in alike])
        for index in alike:
            told = [f"{key}={show_value(settings[index][key])}" for key in keys if key in settings[index]]
            titles[index] = ", ".join([title, *told])
    return titles


def _stem(row: ResolvedRow) -> str:
    draft, settings = row.row.draft, row.row.settings
    if settings.name is not None:
        return settings.name
    method = settings.method.rsplit(":", 1)[-1]
    if draft.role == "baseline":
        return f"{method} (baseline)"
    if draft.role == "variation":
        return f"{method}, {draft.factor}={show_value(draft.value)}"
    return method


def _telling_keys(settings: Sequence[dict[str, Any]]) -> list[str]:
    """The keys that not all have with the same value, in the order in which they are stated."""
    keys = list(dict.fromkeys(key for one in settings for key in one))
    return [key for key in keys if len({_canonical(one.get(key)) for one in settings}) > 1]


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def show_value(value: Any) -> str:
    """A setting's value as a short text."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {show_value(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(show_value(part) for part in value) + "]"
    return json.dumps(value)
