"""``bench check-backbone``: the promises that every backbone keeps, as a command for authors of new ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spectral_bench.bench.cli.check_method import plain_parameters
from spectral_bench.bench.cli.options import Debug, Device, Json, parse_device
from spectral_bench.bench.cli.output import say, show_json, show_table
from spectral_bench.common.registry import absolute_name

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
    from spectral_bench.bench.features.backbones.registry import backbone as described
    from spectral_bench.common.errors import UserError

    parse_device(device)
    name, given = absolute_name(backbone, Path.cwd()), plain_parameters(options or [])
    described(name, given)
    from spectral_bench.bench.features.backbones.testing import CHECKS, NOT_LOADED, Subject, violations
    from spectral_bench.bench.measure.environment import set_up_torch
    from spectral_bench.bench.run.context import resolve_device
    from spectral_bench.bench.work.order import Execution

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
