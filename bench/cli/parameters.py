"""Parameters of a method, and options of a backbone, as ``--set KEY=VALUE`` states them."""

from __future__ import annotations

import json
from collections.abc import Callable

from spectral_bench.bench.grid.overrides import parse_override
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import nearest
from spectral_bench.methods.registry import method_facts


def plain_parameters(
    texts: list[str], flag: str = "--set", such_as: Callable[[str], str] = lambda key: "weights=random"
) -> dict[str, object]:
    """The parameters in ``key=value`` texts of an option of the command line; values are YAML.

    Args:
        texts: as they were given.
        flag: the option.
        such_as: an example for what was given as a key.

    Raises:
        ConfigError: a text has no ``=``, or no key before it.
    """
    found: dict[str, object] = {}
    for text in texts:
        key, equals, _ = text.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"{flag} {text}: expected KEY=VALUE, such as {flag} {such_as(key.strip())}")
        override = parse_override(text)
        if override.key in found:
            raise ConfigError(f"{flag} {text}: {override.key} is set twice")
        found[override.key] = override.part.value
    return found


def parameter_example(method: str, key: str) -> str:
    """A parameter of a method with its default: the one most like ``key``, else its first.

    Raises:
        ConfigError: the method is unknown.
    """
    fields = method_facts(method).params.model_fields
    if (name := nearest(key, fields) or next(iter(fields), None)) is None:
        return "KEY=VALUE"
    default = fields[name].default
    known = json.dumps(default) if isinstance(default, (int, float)) else "VALUE"
    return f"{name}={default if isinstance(default, str) else known}"
