"""Does it keep its promises? ``bench check-method``, ``check-backbone`` and, of this machine, ``doctor``."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from spectral_bench.bench.cli.options import (
    DEFAULT_OUT,
    Debug,
    Device,
    Json,
    Out,
    Roots,
    data_roots,
    find_store,
    parse_device,
)
from spectral_bench.bench.cli.output import say, show_json, show_table
from spectral_bench.bench.cli.parameters import parameter_example, plain_parameters
from spectral_bench.bench.cli.partitions import show_cluster
from spectral_bench.bench.code.records import own_code
from spectral_bench.bench.features.backbones import weights_digest
from spectral_bench.bench.features.backbones.registry import backbone as described
from spectral_bench.bench.features.cache.meta import gigabytes
from spectral_bench.bench.measure.environment import DISTRIBUTION, set_up_torch, software_bfloat16, usable_cpus
from spectral_bench.bench.plan.build import free_bytes
from spectral_bench.bench.work.order import Execution
from spectral_bench.common.errors import ConfigError, DataError, StoreError, UserError
from spectral_bench.common.names import how_many
from spectral_bench.common.registry import absolute_name
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.datasets.registry import data_info, names, open_data
from spectral_bench.datasets.verify import splits_on_disk
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
    params = plain_parameters(parameters or [], such_as=partial(parameter_example, method))
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
    # The result is kept for this very code, which tables then vouch for.
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


PLACE = Path(__file__).resolve().parents[2]  # the folder of the parts: a checkout, or the installed package


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; ``ok`` is None where it is neither good nor bad."""

    what: str
    found: str
    ok: bool | None = None


def doctor(
    out: Out = DEFAULT_OUT,
    data_root: Roots = None,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="What the Slurm cluster that is reached from here offers, instead.")
    ] = False,
    grid: Annotated[
        Path | None,
        typer.Option(
            "--grid", "-g", help="With --cluster: what this grid would ask of each partition.", metavar="FILE"
        ),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Say what this machine offers and what is in the way; exit code 1 if something is.

    With --cluster: partitions with their limits and GPUs, and what a grid would ask of each; exit code 1 where no Slurm
    answers, or no partition takes all jobs of the grid.
    """
    if grid is not None and not cluster:
        raise ConfigError(f"--grid {grid}: says what is asked of a cluster; give --cluster too")
    if cluster:
        return show_cluster(grid, out, data_roots(data_root).roots, as_json=as_json)
    findings = [
        *_versions(),
        *_device(),
        Finding("packages", f"spectral_bench comes from {PLACE}", True),
        *_data(data_roots(data_root)),
        _weights(),
        *_store(out),
    ]
    if as_json:
        show_json([asdict(finding) for finding in findings])
    else:
        marks = {True: "ok", False: "bad", None: ""}
        show_table(("", "", ""), [(marks[one.ok], one.what, one.found) for one in findings])
    return 1 if any(finding.ok is False for finding in findings) else 0


def version(debug: Debug = False) -> int:
    """Print the version."""
    say(f"{DISTRIBUTION} {installed_version(DISTRIBUTION)}")
    return 0


def installed_version(distribution: str) -> str:
    """The version of an installed distribution, or ``not installed``."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


def _versions() -> list[Finding]:
    names = ("torch", "torchvision", "timm", "numpy", "scipy", "scikit-learn", "pillow", "submitit", "pydensecrf2")
    optional = ("pydensecrf2",)
    found = [Finding(DISTRIBUTION, installed_version(DISTRIBUTION)), Finding("python", platform.python_version())]
    for name in names:
        version = installed_version(name)
        found.append(Finding(name, version, None if version != "not installed" or name in optional else False))
    return found


def _device() -> list[Finding]:
    import torch  # takes seconds: not before it is known that there is no mistake in the options

    threads = Finding("threads", f"{torch.get_num_threads()} of torch, {usable_cpus()} usable processors")
    if not torch.cuda.is_available():
        half = Finding("bfloat16", "computed in software here: far slower than float32")
        return [Finding("device", "cpu; no CUDA device"), threads, *([half] if software_bfloat16() else [])]
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return [Finding("device", f"cuda: {', '.join(names)}", True), threads]


def _data(roots: DataRoots) -> list[Finding]:
    found = [Finding("data root", str(root), root.is_dir()) for root in roots.roots]
    if not roots.roots:
        found.append(Finding("data root", "none; give --data-root or set $BENCH_DATA"))
    for name in names():
        if not data_info(name).needs_root:
            continue
        try:
            splits = splits_on_disk(open_data(name, roots))
        except DataError:
            splits = ()
        found.append(Finding(f"data set {name}", ", ".join(splits) or "not found", True if splits else None))
    return found


def _weights() -> Finding:
    digest = weights_digest("efficientnet_lite0")
    return Finding("weights of efficientnet_lite0", digest or "not found", digest is not None)


def _store(out: Path) -> list[Finding]:
    disk = Finding("free disk", f"{gigabytes(free_bytes(out))} at {out}")
    try:
        store = find_store(out)
    except StoreError as error:
        return [disk, Finding("store", str(error), False)]
    return [
        disk,
        Finding("store", f"{out}: {how_many(len(store.runs()), 'run')}" if store else f"{out}: not there yet"),
    ]
