"""``bench doctor``: is this machine ready? And ``bench version``."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from spectral_bench.bench.cli.options import DEFAULT_OUT, Debug, Json, Out, Roots, data_roots, find_store
from spectral_bench.bench.cli.output import say, show_json, show_table
from spectral_bench.bench.features.backbones import weights_digest
from spectral_bench.bench.features.cache.meta import gigabytes
from spectral_bench.bench.measure.environment import DISTRIBUTION, software_bfloat16, usable_cpus
from spectral_bench.bench.plan.build import free_bytes
from spectral_bench.common.errors import DataError, StoreError
from spectral_bench.common.names import how_many
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.datasets.registry import data_info, names, open_data
from spectral_bench.datasets.verify import splits_on_disk

PLACE = Path(__file__).resolve().parents[2]  # the folder of the parts: a checkout, or the installed package


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; ``ok`` is None where it is neither good nor bad."""

    what: str
    found: str
    ok: bool | None = None


def doctor(out: Out = DEFAULT_OUT, data_root: Roots = None, as_json: Json = False, debug: Debug = False) -> int:
    """Say what this machine offers and what is in the way; exit code 1 if something is."""
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
