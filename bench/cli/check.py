"""``bench check-method`` and ``bench check-backbone``: the promises of parts, as commands for authors of new ones."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from spectral_bench.bench.cli.options import DEFAULT_OUT, Debug, Device, Json, Out, Roots, parse_device
from spectral_bench.bench.cli.output import say, show_json, show_table
from spectral_bench.bench.code.dependencies import own_code
from spectral_bench.bench.features.backbones.registry import backbone as described
from spectral_bench.bench.grid.overrides import parse_override
from spectral_bench.bench.measure.environment import set_up_torch
from spectral_bench.bench.work.order import Execution
from spectral_bench.common.errors import ConfigError, UserError
from spectral_bench.common.registry import absolute_name
from spectral_bench.methods.registry import complete_params
from spectral_bench.results.checks import CheckResult, write_check
from spectral_bench.results.store import Store

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

    Tiny runs with the labels of either split permuted on disk, and removed, must give the same bits; they stay on the
    CPU. Where two fits of one seed differ, labels cannot be judged. The store (--out) keeps the result for methods of
    your own: records and tables tell whether the code of a row has passed. Exit code 1 if it breaks a promise.
    """
    parse_device(device)
    params = plain_parameters(parameters or [])
    complete_params(method, params)
    # These load torch, which a wrong name shall not wait for.
    from spectral_bench.bench.run.context import resolve_device
    from spectral_bench.bench.run.firewall import DISK_CHECKS, disk_violations, judged
    from spectral_bench.methods.contract import CHECKS, Subject, violations

    place = resolve_device(device)
    if place.type == "cuda":
        set_up_torch(Execution())  # deterministic, as in a worker
    code, promises = own_code(method), (*CHECKS, *DISK_CHECKS)
    store = Store.open(out, create=True) if code else None
    found = judged(disk_violations(method, params) | violations(Subject(method, params, str(place))))
    if store is not None and own_code(method) != code:
        raise ConfigError(f"{method}: its code was changed while it was checked; check it again")
    if as_json:
        show_json({name: found.get(name) for name in promises})
    else:
        show_table(("", "promise", ""), [_row(name, found.get(name)) for name in promises])
        say("\n" + "\n".join(_summary(method, found, len(promises), str(place))))
    if store is not None:
        settings = complete_params(method, params)
        kept = CheckResult(
            method=method,
            code=code,
            params=settings,
            device=str(place),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            promises=list(promises),
            broken=found,
        )
        path = write_check(store.path, kept)
        if not as_json:
            say(f"kept in {path}")
    return 1 if found else 0


def _summary(method: str, found: Mapping[str, str], promises: int, place: str) -> list[str]:
    """How many promises are kept; before it why labels are not judged, where that is so."""
    unjudged = sum(map(_is_unjudged, found.values()))
    lines = [f"{method}: {found['determinism']}"] if unjudged else []
    not_judged = f", {unjudged} cannot be judged" if unjudged else ""
    return [*lines, f"{method}: {promises - len(found)} of {promises} promises kept{not_judged} on {place}"]


def _is_unjudged(text: str) -> bool:
    return text.startswith("cannot be judged")


def plain_parameters(texts: list[str]) -> dict[str, object]:
    """The parameters in ``key=value`` texts; values are YAML.

    Raises:
        ConfigError: a text has no ``=``.
    """
    found: dict[str, object] = {}
    for text in texts:
        override = parse_override(text)
        if override.key in found:
            raise ConfigError(f"--set {text}: {override.key} is set twice")
        found[override.key] = override.part.value
    return found


def _row(name: str, violation: str | None) -> tuple[str, str, str]:
    if violation is None:
        return "ok", name.replace("_", " "), ""
    return "?" if _is_unjudged(violation) else "bad", name.replace("_", " "), violation


Options = Annotated[
    list[str] | None,
    typer.Option("--set", help="An option of the backbone, such as weights=random.", metavar="KEY=VALUE"),
]


def check_backbone(
    backbone: Annotated[
        str, typer.Argument(help="A backbone, by name or as path/to/file.py:Class.", metavar="BACKBONE")
    ],
    options: Options = None,
    device: Device = "cpu",
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Check a backbone on small images: levels as stated, the same bits each time, no gradient, bad options refused.

    Weights that are not on this machine are fetched first. Exit code 1 if it breaks a promise.
    """
    parse_device(device)
    name, given = absolute_name(backbone, Path.cwd()), plain_parameters(options or [])
    described(name, given)
    # These load torch, which a wrong name shall not wait for.
    from spectral_bench.bench.features.backbones.testing import CHECKS, NOT_LOADED, Subject, violations
    from spectral_bench.bench.run.context import resolve_device

    place = resolve_device(device)
    set_up_torch(Execution())  # deterministic, as in a worker
    subject = Subject(name, given, str(place))
    try:
        _ = subject.network
    except UserError:
        raise  # such as weights that cannot be had: no promise is broken
    except Exception:  # the check says it
        pass
    found = violations(subject)
    if as_json:
        show_json({promise: found.get(promise) for promise in CHECKS})
        return 1 if found else 0
    marks = {None: "ok", NOT_LOADED: "?"}
    rows = [(marks.get(found.get(key), "bad"), key.replace("_", " "), found.get(key) or "") for key in CHECKS]
    show_table(("", "promise", ""), rows)
    say(f"\n{backbone}: {len(CHECKS) - len(found)} of {len(CHECKS)} promises kept on {place}")
    return 1 if found else 0
