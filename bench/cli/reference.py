"""Runs as users name them."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import how_many

if TYPE_CHECKING:
    from spectral_bench.results.store import Store


def find_run(store: Store, reference: str) -> str:
    """The run that a reference names: its id, or a beginning that no other run has.

    Raises:
        ConfigError: no run has it, or several have.
    """
    runs = store.runs()
    if reference in runs:
        return reference
    matching = [run_id for run_id in runs if run_id.startswith(reference)]
    if not matching:
        near = _near(reference, runs)
        hint = f" did you mean {' or '.join(near)}?" if near else ""
        held = how_many(len(runs), "run")
        raise ConfigError(f'unknown run "{reference}";{hint} {store.path} holds {held}: see bench status')
    if len(matching) > 1:
        raise ConfigError(f'"{reference}" is the beginning of several runs: {", ".join(matching[:10])}')
    return matching[0]


def _near(reference: str, runs: Sequence[str]) -> list[str]:
    """Up to three runs whose beginnings are most like the reference."""
    beginnings: dict[str, str] = {}
    for run_id in runs:
        beginnings.setdefault(run_id[: len(reference)], run_id)
    return [beginnings[found] for found in get_close_matches(reference, beginnings, n=3, cutoff=0.6)]
