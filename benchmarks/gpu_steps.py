"""What NeuralEF costs on a GPU, in some minutes: ``python benchmarks/gpu_steps.py [--only step graph paper]``.

* ``step``: a training step at K = 256 on 5280 patches (8 images of CamVid's grid): as it is trained today, its parts,
  the kernels that it launches, the time that the device is busy, and what of it can be recorded as a CUDA graph: psi,
  noise, loss, backward pass and Adam on a fixed graph of patches, replayed beside the same part run eagerly, with a
  check that both end with the same bits. Nothing trains so yet: this measures what it would give.
* ``graph``: graph and loss, forward and backward, at N = 14 400 and K = 256, by the package and by dense tables, in
  turn: time and the peak of device memory.
* ``paper``: the published setting: batches of 16 crops of 480 x 480 (900 patches), ViT-S features computed anew from
  generated images (random weights), K = 256; steps a second, and what 40 epochs of 4998 images take at that rate.
  Loading and augmenting crops is the host's, beside it: ``bench_loading.py`` measures that.

Each line gives the median and the range of ``--rounds`` turns. ``--device cpu --small`` goes through all that needs no
CUDA, on small sizes, as a check of this script; its times mean nothing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity

sys.path.insert(0, str(Path(__file__).parent))

from bench_graph_loss import dense_step, make_batch, peak_memory, sparse_step, wait

from spectral_bench.bench.features.backbones import load_backbone
from spectral_bench.bench.features.pipeline import extract
from spectral_bench.bench.measure.environment import environment, set_up_torch
from spectral_bench.bench.work.order import Execution
from spectral_bench.common.geometry import Crop
from spectral_bench.methods.graphs.kernel import Kernel
from spectral_bench.methods.graphs.pixel_memory import MEMORY
from spectral_bench.methods.interface import PatchBatch
from spectral_bench.methods.neuralef.loss import normalise_columns
from spectral_bench.methods.neuralef.method import NeuralEF
from spectral_bench.methods.neuralef.params import NeuralEFParams
from spectral_bench.methods.neuralef.training import gumbel_noise
from spectral_bench.methods.testing import MemorySource, fit_context

CHANNELS = (64, 192, 320)  # of EfficientNet-Lite0's levels
EPOCHS, IMAGES, BATCH = 40, 4998, 16  # Pascal Context as published


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


@dataclass(frozen=True)
class Sizes:
    """Of all parts: small ones check the script."""

    camvid: tuple[int, tuple[int, int]] = (8, (22, 30))
    graph: tuple[int, tuple[int, int]] = (16, (30, 30))
    side: int = 480
    batch: int = BATCH
    k: int = 256
    backbone: str = "vit_small_patch16_384"


SMALL = Sizes((2, (5, 6)), (2, (8, 8)), 64, 2, 8, "vit_tiny_patch16_224")


def turns(forms: dict[str, Callable[[], object]], rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Milliseconds of each form, in turn; the first two turns warm up."""
    taken: dict[str, list[float]] = {name: [] for name in forms}
    for turn in range(rounds + 2):
        for name, work in forms.items():
            wait(device)
            begun = time.perf_counter()
            work()
            wait(device)
            if turn >= 2:
                taken[name].append(1000 * (time.perf_counter() - begun))
    return taken


def told(times: Sequence[float]) -> str:
    return f"{statistics.median(times):8.2f} ms [{min(times):.2f}, {max(times):.2f}]"


def source(sizes: Sizes) -> MemorySource:
    """Images whose features gather around 40 middles."""
    count, grid = sizes.camvid
    generator = torch.Generator().manual_seed(0)
    middles = torch.randn(40, sum(CHANNELS), generator=generator)
    groups = torch.randint(40, (count, *grid), generator=generator)
    features = middles[groups] + 0.7 * torch.randn(count, *grid, sum(CHANNELS), generator=generator)
    return MemorySource(features.split(CHANNELS, -1), torch.rand(count, *grid, 3, generator=generator))


class Training:
    """NeuralEF on one batch, ready to step as ``methods.trainer`` does.

    Args:
        made: patches; all images are one batch.
        params: of the method.
        device: where it trains.
        precision: of psi's blocks.
    """

    def __init__(self, made: MemorySource, params: dict[str, Any], device: torch.device, precision: str) -> None:
        self.method = NeuralEF(NeuralEFParams(batch_size=len(made), **params))
        self.context = fit_context(device=device, precision=precision)
        self.batch = made.batch(range(len(made))).to(device)
        self.method._statistics = made.statistics()
        self.psi = self.method._initial(made.channels, self.context)
        self.method.psi = self.psi.train()
        capturable = device.type == "cuda"
        self.optimiser = torch.optim.Adam(self.psi.parameters(), lr=1e-3, fused=True, capturable=capturable)
        self.params, self.precision, self.device = self.method.params, precision, device

    def whole(self) -> None:
        """A step as it is trained: kernel, psi, loss, gradients, Adam."""
        loss = self.method._step(0, 100, self.batch, self.context).loss
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.optimiser.step()

    def kernel(self) -> Kernel:
        """The kernel of the batch; its pixel graphs are known after the first time."""
        return self.method.kernel(self.batch)

    def noise(self, number: int) -> Tensor:
        """What a step draws."""
        nodes = self.batch.pixels[..., 0].numel()
        like = torch.empty(nodes, self.params.k, device=self.device)
        return gumbel_noise(like, self.context.seeds.torch("noise", number, device=self.device))

    def recordable(self, kernel: Kernel, noise: Tensor) -> Tensor:
        """A step from the kernel on, without what reads back from the device: the checks that all is finite."""
        half = self.precision == "bfloat16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half):
            logits = self.psi.outputs(self.psi.hidden(self.batch.features)).flatten(0, 1)
        psi = normalise_columns(torch.softmax(logits + noise, dim=-1), self.params.t, self.params.normalisation)
        ordered = kernel.apply(psi.detach()).T @ psi
        diagonal = 2 * ordered.diagonal() - ordered.detach().diagonal()
        weight = (self.params.beta or 0.0) / psi.shape[1]
        loss = -diagonal.mean() + ordered.triu(1).square().sum() * weight
        torch.autograd.backward(loss)
        self.optimiser.step()
        return loss.detach()

    def state(self) -> list[Tensor]:
        """All that a step changes."""
        kept = [value for held in self.optimiser.state.values() for value in held.values() if isinstance(value, Tensor)]
        return [parameter.detach() for parameter in self.psi.parameters()] + kept


def recorded(training: Training, kernel: Kernel, noise: Tensor) -> Callable[[], None]:
    """The recordable part as a CUDA graph; each call replays it.

    Raises:
        RuntimeError: torch refuses to record some operation.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):  # libraries set themselves up, and Adam its state
            training.optimiser.zero_grad(set_to_none=True)
            training.recordable(kernel, noise)
    torch.cuda.current_stream().wait_stream(stream)
    training.optimiser.zero_grad(set_to_none=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        training.recordable(kernel, noise)
    return graph.replay


def same_bits(training: Training, kernel: Kernel, noise: Tensor, replay: Callable[[], None], steps: int = 5) -> bool:
    """Whether some replays end with the bits of as many eager steps from the same state, with other noise each."""
    start, ends = [tensor.clone() for tensor in training.state()], []

    def eager() -> None:
        training.optimiser.zero_grad(set_to_none=True)
        training.recordable(kernel, noise)

    for form in (replay, eager):  # in this order: eager steps give gradients other memory than the graph's
        for held, value in zip(training.state(), start, strict=True):
            held.copy_(value)
        for number in range(steps):
            noise.copy_(training.noise(number))
            form()
        ends.append([tensor.clone() for tensor in training.state()])
    return all(map(torch.equal, *ends))


def busy(work: Callable[[], object]) -> str:
    """Kernels launched by one call, and how long the device works on them."""
    with torch.profiler.profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        work()
        torch.cuda.synchronize()
    events = [event for event in profiler.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    spent = sum(event.time_range.elapsed_us() for event in events)
    return f"{len(events)} kernels and copies, device busy {spent / 1000:.2f} ms"


def step(sizes: Sizes, rounds: int, device: torch.device) -> None:
    """A training step at CamVid's size, and what of it can be recorded."""
    for precision in ("float32", "bfloat16"):
        for orthogonality in ("constraint", "initialisation"):
            name = f"step, K = {sizes.k}, {precision}, orthogonality: {orthogonality}"
            training = Training(source(sizes), {"k": sizes.k, "orthogonality": orthogonality}, device, precision)
            kernel, noise = training.kernel(), training.noise(0)
            expected = training.method._step(0, 100, training.batch, training.context).loss.detach()
            same = torch.equal(expected, training.recordable(kernel, noise))
            say(f"{name}: the loss of what can be recorded is that of the step: {same}")

            def eager(training: Training = training, kernel: Kernel = kernel, noise: Tensor = noise) -> None:
                training.optimiser.zero_grad(set_to_none=True)
                training.recordable(kernel, noise)

            forms: dict[str, Callable[[], object]] = {
                "whole step": training.whole,
                "kernel": training.kernel,
                "noise": partial(training.noise, 1),
                "from the kernel on, eager": eager,
            }
            for part, times in turns(forms, rounds, device).items():
                say(f"{name}: {part:28} {told(times)}")
            if device.type != "cuda":
                say(f"{name}: not recorded: CUDA graphs need CUDA")
                continue
            say(f"{name}: whole step: {busy(training.whole)}")
            say(f"{name}: from the kernel on: {busy(eager)}")
            try:
                replay = recorded(training, kernel, noise)
            except RuntimeError as error:
                say(f"{name}: torch refuses to record it: {str(error).splitlines()[0]}")
                torch.cuda.synchronize()
                continue
            say(f"{name}: from the kernel on, recorded   {told(turns({'': replay}, rounds, device)[''])}")
            say(f"{name}: the same bits as eager: {same_bits(training, kernel, noise, replay)}")


def graph(sizes: Sizes, rounds: int, device: torch.device) -> None:
    """Graph and loss, sparse and dense."""
    images, grid = sizes.graph
    batch, psi = make_batch(images=images, grid=grid, outputs=sizes.k)
    batch, psi = batch.to(device), psi.to(device)

    def new() -> object:
        MEMORY.clear()
        return sparse_step(batch, psi)

    forms = {"sparse, images new": new, "sparse, known": lambda: sparse_step(batch, psi)}
    forms["dense"] = lambda: dense_step(batch, psi)
    taken = turns(forms, rounds, device)
    memory = {name: peak(work, device) for name, work in forms.items()}
    for name, times in taken.items():
        ratio = statistics.median(one / other for one, other in zip(times, taken["dense"], strict=True))
        held = f", peak {memory[name] / 1e9:.2f} GB, {memory[name] / memory['dense']:.2f}" if memory[name] else ""
        say(f"graph and loss, N = {len(psi)}, K = {sizes.k}: {name:20} {told(times)}, of dense {ratio:.2f}{held}")


def peak(work: Callable[[], object], device: torch.device) -> int:
    """Bytes that a call takes on the device at its highest, above what was there; 0 on the CPU."""
    if device.type != "cuda":
        return 0
    work()
    wait(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    work()
    wait(device)
    return int(peak_memory(device)) - before


def paper(sizes: Sizes, rounds: int, device: torch.device) -> None:
    """The published setting, from generated images on the host to the weights' next values."""
    network = load_backbone(sizes.backbone, {"weights": "random", "seed": 0}, device)
    generator = torch.Generator().manual_seed(0)
    shape = (sizes.batch, sizes.side, sizes.side, 3)
    images = list(torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).numpy())
    crops = [Crop.whole(sizes.side, sizes.side)] * sizes.batch
    ids = [f"image{number}" for number in range(sizes.batch)]

    def features() -> PatchBatch:
        return extract(network, images, ids, crops)

    first = features()
    nodes = first.grid[0] * first.grid[1]
    made = MemorySource([level.cpu() for level in first.features], first.pixels.cpu())
    for precision in ("float32", "bfloat16"):
        training = Training(made, {"k": sizes.k, "standardise": False}, device, precision)

        def one(training: Training = training) -> None:
            MEMORY.clear()  # crops are drawn anew: no pixel graph comes up twice
            training.batch = features()
            training.whole()

        taken = turns({"features": features, "features and step": one}, rounds, device)
        for part, times in taken.items():
            say(f"paper, {len(made)} x {nodes} patches, {precision}: {part:18} {told(times)}")
        seconds = statistics.median(taken["features and step"]) / 1000
        steps = EPOCHS * (IMAGES // BATCH)
        say(f"paper, {precision}: {1 / seconds:.1f} steps/s; {steps} steps take {steps * seconds / 60:.1f} minutes")


PARTS = {"step": step, "graph": graph, "paper": paper}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cuda", help="as torch names it")
    parser.add_argument("--small", action="store_true", help="small sizes, to check the script")
    asked = parser.parse_args()
    set_up_torch(Execution())
    chosen = torch.device(asked.device)
    if chosen.type == "cuda" and not torch.cuda.is_available():
        sys.exit("no CUDA device: nothing to measure here (--device cpu --small checks the script)")
    facts = environment()
    say(f"torch {torch.__version__}, CUDA {facts['cuda']}, {facts['gpus'] or facts['cpu']}, {facts['threads']} threads")
    for part in asked.only:
        PARTS[part](SMALL if asked.small else Sizes(), asked.rounds, chosen)
