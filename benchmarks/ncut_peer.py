"""``nystrom`` beside ncut-pytorch on the same features: time, memory, and mIoU paired by seed.

    pip install ncut-pytorch
    python benchmarks/ncut_peer.py time --store STORE                 (cached CamVid features of a store)
    python benchmarks/ncut_peer.py time --rows 1000000                (random rows of 384 channels)
    python benchmarks/ncut_peer.py time --device cuda                 (the same on a GPU)
    python benchmarks/ncut_peer.py scores --store STORE --data-root DIR

``time`` clusters all rows by K = 64, a process for each fit, forms in turn: CPU seconds of fit and of labels for all
rows on one thread, and the peak of resident memory beyond that of the rows. Both are handed the same unit vectors. On
a GPU the rows lie there, seconds are those of the clock after a first fit that is not counted, memory is what torch
allocates beyond the rows, and ``nystrom`` solves by ``chebyshev``, which stays on the device.
``scores`` runs its grid in the store, five seeds a row, and prints mIoU on validation with differences paired by seed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from spectral_bench.common.seeds import SeedStreams
from spectral_bench.methods.testing import MemorySource, fit

K, WIDTH, PATCHES = 64, 384, 660  # patches an image, as CamVid has; random rows are cut alike
ON_GPU = 40_000  # patches of an image there, about: small ones would measure launches
PEER = str(Path(__file__).parents[1] / "examples/peers/ncut_pytorch.py") + ":NcutPytorch"
OURS: dict[str, dict[str, Any]] = {
    "nearest": {},
    "representatives": {"extension": "representatives"},
    "weighted": {"extension": "weighted_nearest", "neighbours": 128},
    "rbf": {"extension": "weighted_nearest", "kernel": "rbf"},
    "farthest": {"extension": "weighted_nearest", "neighbours": 128, "sampling": "farthest"},
    "cluster_means": {"extension": "cluster_means"},
}
GRID = """
name: ncut-peer
protocols: [whole]
defaults: {{dataset: camvid, backbone: efficientnet_lite0, seeds: [0, 1, 2, 3, 4], params: {{k: 64, scores: distance}}}}
runs:
{rows}
"""


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def cached_rows(store: Path) -> Tensor:
    """Unit vectors of the last level of the cached training images, (N, C)."""
    for folder in sorted((store / "features").iterdir()):
        meta = folder / "meta.json"
        if meta.is_file() and (held := json.loads(meta.read_text()))["material"]["source"]["split"] == "train":
            flat = torch.from_file(str(folder / "level2.bin"), size=_halves(folder), dtype=torch.float16)
            return functional.normalize(flat.view(-1, held["channels"][-1]).float(), dim=1)
    raise SystemExit(f"{store}: holds no cached features of training images")


def _halves(folder: Path) -> int:
    return (folder / "level2.bin").stat().st_size // 2


def random_rows(count: int) -> Tensor:
    """Unit vectors drawn uniformly, (count, 384)."""
    rows = torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(0))
    return rows.div_(rows.norm(dim=1, keepdim=True))


def ours(rows: Tensor, samples: int, params: dict[str, Any]) -> Callable[[], Callable[[], Tensor]]:
    """A fit, which gives the function that labels all rows."""
    cuda = rows.device.type == "cuda"
    patches = len(rows) // max(1, round(len(rows) / ON_GPU)) if cuda else PATCHES
    count = len(rows) // patches
    levels = rows[: count * patches].view(count, 1, patches, -1)
    source = MemorySource([levels], torch.zeros(1, 1, 1, 3).expand(count, 1, patches, 3))
    stated = {"k": K, "samples": samples, **params, **({"solver": "chebyshev"} if cuda else {})}

    def fitted() -> Callable[[], Tensor]:
        method = fit("nystrom", stated, source, device=rows.device)
        images = (batch.to(rows.device) for batch in source.images())
        return lambda: torch.cat([method.predict(batch).argmax(1).flatten() for batch in images])

    return fitted


def peer(rows: Tensor, samples: int) -> Callable[[], Callable[[], Tensor]]:
    """The same by the package, called as its own description does."""
    from ncut_pytorch import Ncut, kway_ncut

    def fitted() -> Callable[[], Tensor]:
        torch.manual_seed(SeedStreams(0).integer("ncut"))
        device = rows.device.type
        model = Ncut(n_eig=K, n_sample=samples, device=device).fit(rows)
        return lambda: torch.as_tensor(kway_ncut(model.transform(rows), device=device)).argmax(1)

    return fitted


def one(form: str, args: argparse.Namespace) -> None:
    """Measure one fit in this process, and print it."""
    torch.set_num_threads(1)
    cuda = args.device == "cuda"
    rows = (cached_rows(args.store) if args.store else random_rows(args.rows)).to(args.device)
    work = peer(rows, args.samples) if form == "ncut-pytorch" else ours(rows, args.samples, OURS[form])
    if cuda:
        work()()  # kernels and libraries are loaded once a process
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before, begun = _held(cuda), _now(cuda)
    labels = work()
    middle = _now(cuda)
    used = len(torch.unique(labels()))
    done = _now(cuda)
    found = {"fit": middle - begun, "labels": done - middle, "peak": _peak(cuda) - before, "used": used}
    say(json.dumps(found))


def _now(cuda: bool) -> float:
    """CPU seconds of this process, or those of the clock once the GPU has done what it was told."""
    if not cuda:
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def _held(cuda: bool) -> float:
    """GB in use."""
    return torch.cuda.memory_allocated() / 2**30 if cuda else _status("VmRSS") / 2**20


def _peak(cuda: bool) -> float:
    """Most GB in use since the peak was reset."""
    return torch.cuda.max_memory_allocated() / 2**30 if cuda else _status("VmHWM") / 2**20


def _status(name: str) -> int:
    """Kilobytes of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])


def times(args: argparse.Namespace) -> None:
    """The table of ``time``."""
    asked = ["--store", str(args.store)] if args.store else ["--rows", str(args.rows)]
    taken: dict[str, list[dict[str, float]]] = {form: [] for form in args.forms}
    for _ in range(args.rounds):
        for form in args.forms:
            command = [sys.executable, __file__, "time", *asked, "--samples", str(args.samples), "--one", form]
            command += ["--device", args.device]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            taken[form].append(json.loads(answer.splitlines()[-1]))
    for form, turns in taken.items():
        middle = {name: statistics.median(turn[name] for turn in turns) for name in turns[0]}
        say(
            f"{form:16s} {args.samples} samples: fit {middle['fit']:7.2f} {'CPU ' if args.device == 'cpu' else ''}s,"
            f" labels {middle['labels']:7.2f}, both {middle['fit'] + middle['labels']:7.2f};"
            f" {middle['peak']:.2f} GB beyond the rows;"
            f" {middle['used']:.0f} clusters in use"
        )


def scores(args: argparse.Namespace) -> None:
    """Run the grid, and print mIoU with differences to the peer's rows, paired by seed."""
    from scipy.stats import t

    import spectral_bench as sb

    rows = [
        *(f"  - {{name: {name}, method: nystrom, params: {json.dumps(params)}}}" for name, params in OURS.items()),
        *(
            f"  - {{name: peer {how} {samples}, method: {json.dumps(PEER)},"
            f" params: {{samples: {samples}, discretise: {how}}}}}"
            for samples in (4000, 10_240)
            for how in ("kmeans", "rotation")
        ),
    ]
    with tempfile.TemporaryDirectory() as folder:
        grid = Path(folder) / "ncut_peer.yaml"
        grid.write_text(GRID.format(rows="\n".join(rows)))
        command = [sys.executable, "-m", "spectral_bench.bench", "run", "--grid", str(grid), "--out", str(args.store)]
        subprocess.run([*command, "--data-root", str(args.data_root), "--jobs", str(args.jobs)], check=True)
    held = sb.load_records(args.store)
    table = held[held.grid == "ncut-peer"].pivot_table(index="seed", columns="title", values="mIoU") * 100
    peers = [title for title in map(str, table) if title.startswith("peer")]
    for title in table:
        line = f"{title:24s} {table[title].mean():5.1f} +- {table[title].std():.1f}"
        for other in peers:
            apart = (table[title] - table[other]).dropna()
            if other != title and len(apart) > 1:
                half = t.ppf(0.975, len(apart) - 1) * apart.std() / len(apart) ** 0.5
                line += f"; to {other} {apart.mean():+.1f} [{apart.mean() - half:+.1f}, {apart.mean() + half:+.1f}]"
        say(line)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("time", "scores"))
    parser.add_argument("--store", type=Path)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--forms", nargs="+", default=["ncut-pytorch", *OURS], choices=["ncut-pytorch", *OURS])
    parser.add_argument("--one", choices=["ncut-pytorch", *OURS], help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.what == "scores":
        scores(asked)
    elif asked.one:
        one(asked.one, asked)
    else:
        times(asked)
