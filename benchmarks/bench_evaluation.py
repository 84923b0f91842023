"""Cost of evaluation: patch scores to label maps, label maps to metrics, and the bootstrap over images.

Run with ``OMP_WAIT_POLICY=PASSIVE python -m pytest benchmarks/bench_evaluation.py``: threads then wait as they do in a
run (``bench.__main__`` sets it), which tells where other programs are at work. Each figure stands beside the plain way
of doing the same, in the same process and on the same threads; ``peak_mb`` is the resident memory that a call adds at
its highest.
"""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from spectral_bench.bench.evaluation import crf, guided, pamr
from spectral_bench.bench.evaluation.layout import WindowLayout, label_map
from spectral_bench.common.geometry import Crop
from spectral_bench.datasets.transforms import window_crops
from spectral_bench.results.contingency import Contingency, ContingencyBuilder
from spectral_bench.results.metrics import resampled_miou, score
from spectral_bench.results.record import ClassTable
from spectral_bench.results.specification import Crf, Guided, Pamr

K = 256
CAMVID = WindowLayout((Crop.whole(352, 480),), (22, 30), (352, 480), Crop.whole(352, 480), (360, 480))
CITYSCAPES = WindowLayout(
    window_crops(1024, 2048, 768, 512), (48, 48), (768, 768), Crop.whole(1024, 2048), (1024, 2048)
)


def peak_mb(call: Callable[[], object]) -> float | None:
    """Resident memory in MB that ``call`` adds at its highest, or None where the kernel does not tell."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not reset.exists():
        return None
    call()  # what is made once, such as the resampling matrices, is not counted
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    reset.write_text("5")
    before = _kilobytes(status, "VmRSS")
    call()
    return round((_kilobytes(status, "VmHWM") - before) / 1000, 1)


def _kilobytes(status: Path, name: str) -> int:
    line = next(line for line in status.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])


def random_scores(layout: WindowLayout) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(len(layout.crops), K, *layout.grid, generator=generator)


def interpolate_and_argmax(scores: Tensor, layout: WindowLayout) -> Tensor:
    """One plain interpolation from the patches to the label, all clusters at once."""
    return F.interpolate(scores, size=layout.target, mode="bilinear").argmax(dim=1)[0]


def interpolate_every_window(scores: Tensor, layout: WindowLayout) -> Tensor:
    """Every window at full resolution, added up, divided by the overlap, then resized."""
    total = torch.zeros(scores.shape[1], *layout.frame.resized)
    cover = torch.zeros(layout.frame.resized)
    for crop, patches in zip(layout.crops, scores, strict=True):
        box = slice(crop.top, crop.top + crop.height), slice(crop.left, crop.left + crop.width)
        total[:, *box] += F.interpolate(patches[None], size=layout.cover, mode="bilinear")[0]
        cover[box] += 1
    return F.interpolate((total / cover)[None], size=layout.target, mode="bilinear")[0].argmax(dim=0)


def run(benchmark: BenchmarkFixture, call: Callable[[], object], rounds: int) -> None:
    benchmark.extra_info["peak_mb"] = peak_mb(call)
    benchmark.extra_info["threads"] = torch.get_num_threads()
    benchmark.pedantic(call, rounds=rounds, warmup_rounds=1)


@pytest.mark.benchmark(group="22 x 30 patches to a 360 x 480 label map, K = 256")
@pytest.mark.parametrize("way", [label_map, interpolate_and_argmax], ids=["tiles", "plain"])
def test_label_map(benchmark: BenchmarkFixture, way: Callable[[Tensor, WindowLayout], Tensor]) -> None:
    scores = random_scores(CAMVID)
    run(benchmark, lambda: way(scores, CAMVID), rounds=15)


@pytest.mark.benchmark(group="8 windows of 768 to a 1024 x 2048 label map, K = 256")
@pytest.mark.parametrize("way", [label_map, interpolate_every_window], ids=["tiles", "plain"])
def test_sliding_label_map(benchmark: BenchmarkFixture, way: Callable[[Tensor, WindowLayout], Tensor]) -> None:
    scores = random_scores(CITYSCAPES)
    run(benchmark, lambda: way(scores, CITYSCAPES), rounds=3 if way is label_map else 1)


@pytest.mark.benchmark(group="refined 360 x 480 label map, CPU time", timer=time.process_time)
@pytest.mark.parametrize("n_clusters", [64, 256])
@pytest.mark.parametrize("way", ["argmax", "pamr", "guided", "crf"])
def test_refinement(benchmark: BenchmarkFixture, way: str, n_clusters: int) -> None:
    scores, rng = random_scores(CAMVID)[:, :n_clusters].contiguous(), np.random.default_rng(0)
    blocks = np.kron(rng.integers(0, 256, (18, 24, 3)), np.ones((20, 20, 1)))  # areas with some noise, as photographs
    image = (blocks + rng.normal(0, 4, blocks.shape)).clip(0, 255).astype(np.uint8)
    ways: dict[str, Callable[[], object]] = {
        "argmax": lambda: label_map(scores, CAMVID),
        "pamr": lambda: pamr.refine(scores, CAMVID, image, Pamr()),
        "guided": lambda: guided.largest_of(scores, CAMVID, image, Guided()),
        "crf": lambda: crf.refine(scores, CAMVID, image, Crf()),
    }
    run(benchmark, ways[way], rounds=1 if way in ("crf", "guided") else 3)


Maps = list[tuple[NDArray[np.int64], NDArray[np.uint16]]]
CAMVID_CLASSES = ClassTable(classes=[str(c) for c in range(11)], raw_ids=[[c] for c in range(11)])


def label_maps(n_clusters: int) -> Maps:
    """101 cluster maps that follow coarse labels in part."""
    rng = np.random.default_rng(0)
    maps = []
    for _ in range(101):
        label = np.kron(rng.integers(0, 12, (9, 12)), np.ones((40, 40), dtype=np.int64))
        noise = np.kron(rng.integers(0, n_clusters, (45, 60)), np.ones((8, 8), dtype=np.int64))
        maps.append((np.where(noise % 3 > 0, noise, label % n_clusters), label.astype(np.uint16)))
    return maps


def count_and_score(maps: Maps, n_clusters: int) -> float:
    builder = ContingencyBuilder(n_clusters, 12)
    for index, (clusters, labels) in enumerate(maps):
        builder.add(str(index), clusters, labels)
    contingency = builder.build()
    return sum(score(contingency, CAMVID_CLASSES, how).miou for how in ("majority", "iou", "hungarian"))


def compare_cluster_by_cluster(maps: Maps, n_clusters: int) -> NDArray[np.int64]:
    """The matrix alone, by one comparison of every image with each cluster."""
    matrix = np.zeros((n_clusters, 12), dtype=np.int64)
    for clusters, labels in maps:
        for cluster in range(n_clusters):
            matrix[cluster] += np.bincount(labels[clusters == cluster], minlength=12)
    return matrix


@pytest.mark.benchmark(group="101 label maps of 360 x 480 to all matchings and metrics")
@pytest.mark.parametrize("n_clusters", [11, 64, 256, 1024])
def test_metrics(benchmark: BenchmarkFixture, n_clusters: int) -> None:
    maps = label_maps(n_clusters)
    run(benchmark, lambda: count_and_score(maps, n_clusters), rounds=3)


@pytest.mark.benchmark(group="101 label maps of 360 x 480 to all matchings and metrics")
def test_metrics_cluster_by_cluster(benchmark: BenchmarkFixture) -> None:
    maps = label_maps(K)
    run(benchmark, lambda: compare_cluster_by_cluster(maps, K), rounds=1)


def many_images(n_images: int, n_classes: int, nnz: int) -> Contingency:
    """Contingency of ``n_images`` images with ``nnz`` occupied positions each."""
    rng = np.random.default_rng(0)
    codes = np.concatenate([np.sort(rng.choice(K * n_classes, nnz, replace=False)) for _ in range(n_images)])
    image = np.repeat(np.arange(n_images, dtype=np.int32), nnz)
    cluster, label = (part.astype(np.int32) for part in np.divmod(codes, n_classes))
    names = tuple(map(str, range(n_images)))
    return Contingency(names, K, n_classes, image, cluster, label, rng.geometric(0.003, len(codes)))


@pytest.mark.benchmark(group="bootstrap: 1000 resamples of 2000 images, K = 256, 60 classes, many-to-one by IoU")
def test_bootstrap(benchmark: BenchmarkFixture) -> None:
    contingency = many_images(2000, 60, nnz=800)
    classes = ClassTable(classes=[str(c) for c in range(60)], raw_ids=[[c] for c in range(60)])
    weights = np.random.default_rng(1).multinomial(2000, np.full(2000, 1 / 2000), size=1000)
    run(benchmark, lambda: resampled_miou(contingency, classes, "iou", weights), rounds=2)


@pytest.mark.benchmark(group="one contingency of 2000 images, K = 256, 60 classes")
@pytest.mark.parametrize("step", ["save", "load", "score"])
def test_store(benchmark: BenchmarkFixture, step: str, tmp_path: Path) -> None:
    contingency = many_images(2000, 60, nnz=800)
    classes = ClassTable(classes=[str(c) for c in range(60)], raw_ids=[[c] for c in range(60)])
    path = tmp_path / "view.npz"
    contingency.save(path)
    benchmark.extra_info["file_mb"] = round(path.stat().st_size / 1e6, 2)
    steps: dict[str, Callable[[], object]] = {
        "save": lambda: contingency.save(path),
        "load": lambda: Contingency.load(path),
        "score": lambda: score(contingency, classes, "iou"),
    }
    run(benchmark, steps[step], rounds=3)
