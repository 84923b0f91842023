"""Parameters of a method, checked with the place where each is stated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spectral_bench.bench.grid.keys import RUN_KEYS
from spectral_bench.common.documents.nodes import Node
from spectral_bench.common.documents.problems import Problems
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import nearest, unknown
from spectral_bench.methods.registry import MethodFacts, complete_params


def checked_params(
    facts: MethodFacts, node: Node, stated: Mapping[str, Any], problems: Problems
) -> dict[str, Any] | None:
    """The complete parameters of a method, or None after noting what is wrong with the stated ones.

    Args:
        facts: of the method.
        node: the mapping of parameters in the grid.
        stated: its plain values.
        problems: where to note.
    """
    strange = [key for key in stated if key not in facts.params.model_fields]
    for key in strange:
        problems.add(node.locate((key,)), _unknown(facts, key))
    if strange:
        return None
    try:
        return complete_params(facts.name, stated)
    except ConfigError as error:
        alone = {key: fault for key in stated if (fault := _fault(facts.name, {key: stated[key]}))}
        for key, fault in alone.items():
            problems.add(node.locate((key,)), fault)
        if not alone:  # each is valid, but not together with the others
            problems.add(node, str(error))
        return None


def _unknown(facts: MethodFacts, key: str) -> str:
    run_key = nearest(key, RUN_KEYS)
    hint = f' (or did you mean "{run_key}", a key of a run?)' if run_key else ""
    return unknown(f"parameter of {facts.name}", key, facts.params.model_fields) + hint


def _fault(method: str, params: Mapping[str, Any]) -> str | None:
    try:
        complete_params(method, params)
    except ConfigError as error:
        return str(error)
    return None
