"""``bench check-method``: the promises that every method keeps, as a command for authors of new ones."""

from __future__ import annotations

from typing import Annotated

import typer

from spectral_bench.bench.cli.options import DEFAULT_OUT, Debug, Device, Json, Out, Roots, parse_device
from spectral_bench.bench.cli.output import say, show_json, show_table
from spectral_bench.common.errors import ConfigError

Parameters = Annotated[
    list[str] | None,
    typer.Option("--set", help="A parameter that makes a fit small, such as epochs=2.", metavar="KEY=VALUE"),
]


def check_method(
    method: Annotated[str, typer.Argument(help="A method, by name or as path/to/file.py:Class.", metavar="METHOD")],
    parameters: Parameters = None,
    device: Device = "cpu",
    out: Out = DEFAULT_OUT,
    data_root: Roots = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Check a method on small scenes: no labels reach it, seeds decide, resuming changes nothing, bad input is told.

    Tiny runs with the labels permuted on disk, and removed, must give the same bits; they stay on the CPU.
    Exit code 1 if it breaks a promise.
    """
    from spectral_bench.methods.registry import complete_params

    parse_device(device)
    params = plain_parameters(parameters or [])
    complete_params(method, params)
    from spectral_bench.bench.numerics import set_up_torch
    from spectral_bench.bench.order import Execution
    from spectral_bench.bench.run.context import resolve_device
    from spectral_bench.bench.run.firewall import DISK_CHECKS, disk_violations
    from spectral_bench.methods.contract import CHECKS, Subject, violations

    place = resolve_device(device)
    if place.type == "cuda":
        set_up_torch(Execution())  # deterministic, as in a worker
    found = {**violations(Subject(method, params, str(place))), **disk_violations(method, params)}
    promises = (*CHECKS, *DISK_CHECKS)
    if as_json:
        show_json({name: found.get(name) for name in promises})
    else:
        show_table(("", "promise", ""), [_row(name, found.get(name)) for name in promises])
        say(f"\n{method}: {len(promises) - len(found)} of {len(promises)} promises kept on {place}")
    return 1 if found else 0


def plain_parameters(texts: list[str]) -> dict[str, object]:
    """The parameters in ``key=value`` texts; values are YAML.

    Raises:
        ConfigError: a text has no ``=``.
    """
    from spectral_bench.bench.grid.overrides import parse_override

    found: dict[str, object] = {}
    for text in texts:
        override = parse_override(text)
        if override.key in found:
            raise ConfigError(f"--set {text}: {override.key} is set twice")
        found[override.key] = override.node.plain()
    return found


def _row(name: str, violation: str | None) -> tuple[str, str, str]:
    return "bad" if violation else "ok", name.replace("_", " "), violation or ""
