"""What the harness adds to small runs: 12 of k-means by ``bench run``, beside a bare script that computes the same.

``python benchmarks/run_overhead.py [--rounds 5]`` takes both in turn, each from an empty folder, and prints seconds of
the CPU (of all processes, whoever started them) and of the wall clock, medians and ranges, and the ratio. ``--old``
adds the harness of another checkout. Bytecode is kept, as in an installation: ``PYTHONDONTWRITEBYTECODE`` would have
every process compile the sources anew, and is not passed on. The bare
script computes the features once and then fits, predicts and counts run after run in one process: no plan, no
processes, no records, no logs, no tables. Both must count the same pixels. With ``--profile`` one run is profiled, in a
process forked as the local executor does it. Linux alone.
"""

from __future__ import annotations

import argparse
import cProfile
import ctypes
import importlib
import json
import os
import pstats
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

RUNS = """
name: tiny
protocols: [whole]
defaults: {dataset: synthetic, backbone: efficientnet_lite0, subset: 8, eval_subset: 4}
executor: {jobs: 1}
runs:
  - {method: kmeans, params: {scores: distance}, matrix: {k: [4, 8, 16]}, seeds: [0, 1, 2, 3]}
"""
ROOT = Path(__file__).parents[1]
_BECOME_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER: orphans, such as a fork server, are ours to wait for


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def harness(folder: Path) -> list[str]:
    """The command of the 12 runs."""
    grid = folder / "tiny.yaml"
    grid.write_text(RUNS)
    return [
        sys.executable,
        "-m",
        "spectral_bench.bench",
        "run",
        "--threads",
        "1",
        "--grid",
        str(grid),
        "--out",
        str(folder / "store"),
    ]


def orders(store: Path) -> list[Path]:
    return sorted(store.glob("records/*/order-*.json"))


def measured(command: list[str], checkout: Path = ROOT) -> tuple[float, float]:
    """Seconds of the CPU and of the wall clock of a command and of all processes that it leaves."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPATH"] = str(checkout / "src")
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    wall = time.perf_counter() - begun
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def bare(reference: Path) -> None:
    """Fit, predict and count what the orders of a finished store ask for, and print the digests of the counts."""
    import torch

    from spectral_bench.bench.evaluation.counting import count
    from spectral_bench.bench.features import open_training_source, open_view_features
    from spectral_bench.bench.features.backbones import load_backbone
    from spectral_bench.bench.measure.environment import set_up_torch
    from spectral_bench.bench.run.evaluate import scored_images
    from spectral_bench.bench.run.in_memory import fit_in_memory
    from spectral_bench.bench.work.order import read_order
    from spectral_bench.datasets.interface import DataRoots
    from spectral_bench.datasets.registry import open_data
    from spectral_bench.datasets.subset import subset

    asked, device = [read_order(path) for path in orders(reference)], torch.device("cpu")
    set_up_torch(asked[0].execution)
    with TemporaryDirectory() as folder:
        network = load_backbone(asked[0].spec.backbone.name, asked[0].spec.backbone.options, device)
        settings: dict[str, Any] = {
            "backbone": lambda: network,
            "folder": Path(folder),
            "device": device,
            "workers": 2,
            "inference_batch": 8,
            "cache_limit": 10**9,
            "progress": lambda done, total: None,
            "should_stop": lambda: False,
        }
        found = {}
        for order in asked:
            spec, (view,) = order.spec, order.views
            data = open_data(spec.data.dataset, DataRoots(()))
            images = data.images(spec.data.split)
            source = open_training_source(spec, images=images, ids=subset(images.ids, spec.data.subset), **settings)
            method = fit_in_memory(
                spec.method, spec.params, source, seed=spec.seed, device=device, precision=spec.precision
            )
            images, labels = data.images(view.split), data.labels(view.split)
            ids = subset(images.ids, view.subset)
            features = open_view_features(
                view, backbone_spec=spec.backbone, features=spec.features, images=images, ids=ids, **settings
            )
            scored = scored_images(method, view, features, device=device)
            counts = count(scored, labels, n_clusters=method.n_clusters, n_labels=data.info.n_raw_labels)
            found[spec.run_id] = counts.sha256()
    sys.stdout.write(json.dumps(found))


def stored(store: Path) -> dict[str, str]:
    """Run id -> the digest of its counts."""
    from spectral_bench.results.contingency import Contingency

    files = sorted(store.glob("records/*/evaluations/*.npz"))
    return {path.parent.parent.name: Contingency.load(path).sha256() for path in files}


def profile(order: Path) -> None:
    """Where the time of a run goes, its features being there, in a process forked from one that has preloaded."""
    from spectral_bench.bench.executors.local import PRELOAD
    from spectral_bench.bench.work import worker

    for name in PRELOAD:
        importlib.import_module(name)
    (order.parent / "fit.json").unlink()
    shutil.rmtree(order.parent / "evaluations")
    if (child := os.fork()) == 0:
        profiler = cProfile.Profile(time.process_time)
        profiler.runcall(worker.main, order)
        pstats.Stats(profiler).sort_stats("cumulative").print_stats(60)
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(child, 0)


def compare(rounds: int, old: Path | None, *, profiled: bool) -> None:
    """All forms in turn."""
    ctypes.CDLL(None).prctl(_BECOME_SUBREAPER, 1)
    checkouts = {"harness": ROOT} | ({} if old is None else {"old harness": old.absolute()})
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in (*checkouts, "bare")}
    with TemporaryDirectory() as held:
        for name, checkout in checkouts.items():  # once before any is measured: sources are compiled along the way
            (folder := Path(held, f"first {name}")).mkdir()
            measured(harness(folder), checkout)
        reference = Path(held, "first harness")
        script = [sys.executable, __file__, "--bare", str(reference / "store")]
        same = json.loads(subprocess.run(script, check=True, capture_output=True).stdout)
        assert same == stored(reference / "store"), "the two forms do not count the same"
        if profiled:
            profile(orders(reference / "store")[0])
            return
        for turn in range(rounds):
            for name, checkout in checkouts.items():
                folder = Path(held, f"{turn} {name}")
                folder.mkdir()
                taken[name].append(measured(harness(folder), checkout))
            taken["bare"].append(measured(script))
    for place, what in enumerate(("CPU", "wall")):
        sides = {name: [one[place] for one in found] for name, found in taken.items()}
        words = [f"{name} {statistics.median(s):.1f} s [{min(s):.1f}, {max(s):.1f}]" for name, s in sides.items()]
        for name in checkouts:
            ratios = [one / other for one, other in zip(sides[name], sides["bare"], strict=True)]
            middle = statistics.median(ratios)
            words.append(f"{name} of bare {middle:.2f} [{min(ratios):.2f}, {max(ratios):.2f}]")
        say(f"{what}: {', '.join(words)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--old", type=Path, help="another checkout, whose harness is measured, too")
    parser.add_argument("--profile", action="store_true", help="of one run, in place of the comparison")
    parser.add_argument("--bare", type=Path, help="compute what this store holds, and no more")
    given = parser.parse_args()
    if given.bare:
        bare(given.bare)
    else:
        compare(given.rounds, given.old, profiled=given.profile)
