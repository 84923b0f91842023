"""Time and memory of NeuralEF's graph and loss, forward and backward, beside a dense implementation.

``python benchmarks/bench_graph_loss.py`` measures both in fresh processes, in turn, and prints one line a
measurement and the ratios, on a GPU with ``--device cuda``, where memory is what torch allocates on the device;
``pytest benchmarks/bench_graph_loss.py`` times the parts with pytest-benchmark.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))

from dense_graph_loss import dense_kernel, dense_loss

from spectral_bench.common.geometry import Crop
from spectral_bench.methods.graphs.batch import batch_kernel
from spectral_bench.methods.graphs.features import feature_graph
from spectral_bench.methods.graphs.pixels import pixel_graph
from spectral_bench.methods.interface import PatchBatch
from spectral_bench.methods.neuralef.loss import neuralef_loss, normalise_columns

IMAGES, GRID, CHANNELS, OUTPUTS = 16, 30, 384, 256
NEIGHBOURS, ALPHA, BETA, T = 256, 0.3, 0.08, 0.01


def make_batch(
    seed: int = 0, images: int = IMAGES, grid: tuple[int, int] = (GRID, GRID), outputs: int = OUTPUTS
) -> tuple[PatchBatch, Tensor]:
    """Features that vary smoothly within an image around a few shared directions, noisy pixels, and soft outputs."""
    generator = torch.Generator().manual_seed(seed)
    parts = torch.randn(40, CHANNELS, generator=generator)
    coarse = parts[torch.randint(40, (images, 5, 5), generator=generator)].permute(0, 3, 1, 2)
    smooth = torch.nn.functional.interpolate(coarse, size=grid, mode="bilinear").permute(0, 2, 3, 1)
    features = smooth + 0.5 * torch.randn(smooth.shape, generator=generator)
    pixels = (smooth[..., :3] / 6 + 0.5 + 0.05 * torch.randn(*smooth.shape[:3], 3, generator=generator)).clamp(0, 1)
    batch = PatchBatch((features.contiguous(),), pixels, ("image",) * images, (Crop.whole(480, 480),) * images)
    return batch, torch.randn(images * grid[0] * grid[1], outputs, generator=generator).softmax(1)


def sparse_step(batch: PatchBatch, psi: Tensor, neighbours: int = NEIGHBOURS) -> tuple[float, Tensor]:
    """Graph, loss and gradient by the package; the pixel graph of images that were seen before is known."""
    outputs = psi.clone().requires_grad_()
    kernel = batch_kernel(batch, neighbours=neighbours, alpha=ALPHA)
    loss = neuralef_loss(normalise_columns(outputs, T), kernel, BETA).loss
    loss.backward()
    assert outputs.grad is not None
    return loss.item(), outputs.grad


def dense_step(batch: PatchBatch, psi: Tensor, neighbours: int = NEIGHBOURS) -> tuple[float, Tensor]:
    """The same by dense tables."""
    outputs = psi.clone().requires_grad_()
    kernel = dense_kernel(batch.features[-1].flatten(0, 2), batch.pixels, neighbours, ALPHA)
    loss = dense_loss(outputs, kernel, BETA, T)
    loss.backward()
    assert outputs.grad is not None
    return loss.item(), outputs.grad


STEPS = {"sparse": sparse_step, "dense": dense_step}


def measure(form: str, threads: int, repeats: int, device: torch.device) -> dict[str, Any]:
    """One form in this process: seconds on the wall clock and of the CPU a step, and the rise of peak memory."""
    torch.set_num_threads(threads)
    batch, psi = make_batch()
    batch, psi = batch.to(device), psi.to(device)
    warm = torch.randn(512, 512, device=device).requires_grad_()
    (warm @ warm).sum().backward()  # the libraries' own buffers are not the step's
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    before = peak_memory(device)
    wall, cpu = [], []
    memory = 0.0
    for repeat in range(repeats):
        wait(device)
        start, used = time.perf_counter(), time.process_time()
        loss, gradient = STEPS[form](batch, psi)
        wait(device)
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - used)
        if repeat == 0:
            memory = peak_memory(device) - before
    norm = float(gradient.double().norm())
    return {"wall": min(wall), "cpu": min(cpu), "memory": memory, "loss": loss, "gradient": norm}


def wait(device: torch.device) -> None:
    """Until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> float:
    """Most bytes so far: resident in this process, or allocated on the device."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def compare(threads: int, repeats: int, rounds: int, device: str) -> None:
    """Both forms in turn, ``rounds`` times, each in a fresh process; the least time and the most memory count."""
    results: dict[str, list[dict[str, Any]]] = {form: [] for form in STEPS}
    for _ in range(rounds):
        for form, measured in results.items():
            options = {"form": form, "threads": threads, "repeats": repeats, "device": device}
            stated = [word for name, value in options.items() for word in (f"--{name}", str(value))]
            command = [sys.executable, __file__, *stated]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            measured.append(json.loads(output))
            print(form, {key: round(value, 6) for key, value in measured[-1].items()}, flush=True)  # noqa: T201
    for key in ("wall", "cpu", "memory"):
        pick = max if key == "memory" else min
        best = {form: pick(one[key] for one in measured) for form, measured in results.items()}
        print(f"{key}: sparse {best['sparse']:.4g}, dense {best['dense']:.4g}", end="")  # noqa: T201
        print(f", ratio {best['sparse'] / best['dense']:.3f}")  # noqa: T201


@pytest.fixture(scope="module")
def batch_and_psi() -> tuple[PatchBatch, Tensor]:
    return make_batch()


def test_feature_graph(benchmark: Any, batch_and_psi: tuple[PatchBatch, Tensor]) -> None:
    features = batch_and_psi[0].features[-1].flatten(0, 2)
    benchmark.pedantic(feature_graph, (features,), {"neighbours": NEIGHBOURS}, rounds=3)


def test_pixel_graph(benchmark: Any, batch_and_psi: tuple[PatchBatch, Tensor]) -> None:
    benchmark.pedantic(pixel_graph, (batch_and_psi[0].pixels,), rounds=3)


def test_loss_and_gradient(benchmark: Any, batch_and_psi: tuple[PatchBatch, Tensor]) -> None:
    batch, psi = batch_and_psi
    kernel = batch_kernel(batch, neighbours=NEIGHBOURS, alpha=ALPHA)
    outputs = psi.clone().requires_grad_()
    benchmark.pedantic(
        lambda: neuralef_loss(normalise_columns(outputs, T), kernel, BETA).loss.backward(), rounds=3, warmup_rounds=1
    )


@pytest.mark.parametrize("form", list(STEPS))
def test_whole_step(benchmark: Any, batch_and_psi: tuple[PatchBatch, Tensor], form: str) -> None:
    benchmark.pedantic(STEPS[form], batch_and_psi, rounds=2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--form", choices=list(STEPS), help="measure one form in this process and print JSON")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="steps a process; the fastest counts")
    parser.add_argument("--rounds", type=int, default=3, help="processes a form")
    parser.add_argument("--device", default="cpu", help="as torch names it")
    asked = parser.parse_args()
    if asked.form:
        print(json.dumps(measure(asked.form, asked.threads, asked.repeats, torch.device(asked.device))))  # noqa: T201
    else:
        compare(asked.threads, asked.repeats, asked.rounds, asked.device)
