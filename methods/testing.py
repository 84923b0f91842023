"""What a test of a method needs: training patches in memory, a context that records, fits in one line.

Authors of methods use it in their own tests; the harness's contract tests are built on it.
"""

from __future__ import annotations

import copy
import functools
import io
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from spectral_bench.common.geometry import Crop
from spectral_bench.common.seeds import SeedStreams
from spectral_bench.methods.interface import (
    CheckpointFolder,
    FitContext,
    LabelSource,
    PatchBatch,
    PatchSample,
    Segmenter,
    Statistics,
)
from spectral_bench.methods.maskclip.text_vectors import TextVectors, write_text
from spectral_bench.methods.params import Colours
from spectral_bench.methods.registry import base_method, base_params, complete_params, load_method, method_facts


class MemorySource:
    """A ``PatchSource`` over features held in memory.

    Args:
        features: one (M, h, w, C_l) float32 tensor a level, from low to high.
        pixels: (M, h, w, 3) float32 RGB in [0, 1], with and without antialiasing; None: grey.
        seed: of the order of batches and of subsamples.
    """

    def __init__(self, features: Sequence[Tensor], pixels: Tensor | None = None, seed: int = 0) -> None:
        self.features = tuple(features)
        self.pixels = torch.full((*features[0].shape[:3], 3), 0.5) if pixels is None else pixels
        self.seeds = SeedStreams(seed)
        self._colours = Colours(antialiased=True)

    def asked(self, colours: Colours) -> MemorySource:
        """The same images, with these colours: see ``with_colours``."""
        other = copy.copy(self)
        other._colours = colours
        return other

    @property
    def image_ids(self) -> tuple[str, ...]:
        """``image0``, ``image1``, ..."""
        return tuple(f"image{index}" for index in range(len(self)))

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each level, from low to high."""
        return tuple(level.shape[-1] for level in self.features)

    @property
    def n_patches(self) -> int:
        """Patches of all images."""
        return self.pixels[..., 0].numel()

    def __len__(self) -> int:
        """The number M of images."""
        return len(self.pixels)

    def n_batches(self, size: int) -> int:
        """Full batches an epoch."""
        return len(self) // size

    def batch(self, indices: Sequence[int]) -> PatchBatch:
        """These images as one batch."""
        chosen = torch.tensor(list(indices))
        height, width = self.pixels.shape[1:3]
        ids = tuple(self.image_ids[index] for index in indices)
        crops = (Crop.whole(16 * height, 16 * width),) * len(ids)
        plain = PatchBatch(tuple(level[chosen] for level in self.features), self.pixels[chosen], ids, crops)
        return with_colours(plain, self._colours)

    def batches(self, epoch: int, size: int, start: int = 0) -> Iterator[PatchBatch]:
        """The shuffled batches of an epoch from batch ``start`` on."""
        order = torch.randperm(len(self), generator=self.seeds.torch("order", epoch)).tolist()
        for number in range(start, self.n_batches(size)):
            yield self.batch(order[number * size : (number + 1) * size])

    def subsample(self, n: int) -> PatchSample:
        """``n`` patches without replacement, in order; all where there are no more."""
        drawn = torch.randperm(self.n_patches, generator=self.seeds.torch("subsample"))[:n].sort().values
        height, width = self.pixels.shape[1:3]
        place = drawn % (height * width)
        return PatchSample(
            tuple(level.flatten(0, 2)[drawn] for level in self.features),
            self.pixels.flatten(0, 2)[drawn],
            drawn // (height * width),
            torch.stack([place // width, place % width], 1),
        )

    def images(self) -> Iterator[PatchBatch]:
        """All images in order, one a batch."""
        for index in range(len(self)):
            yield self.batch([index])

    def statistics(self) -> Statistics:
        """Mean and standard deviation (of the population) a channel, accumulated in float64."""
        flat = [level.flatten(0, 2).double() for level in self.features]
        mean = tuple(level.mean(0).float() for level in flat)
        return Statistics(mean, tuple(level.std(0, correction=0).float() for level in flat))


def with_colours(batch: PatchBatch, colours: Colours) -> PatchBatch:
    """The batch with these colours and no others: antialiased ones are its pixels, finer ones lie between them."""
    (height, width), samples, fine = batch.grid, colours.samples, None
    if samples > 1:
        size = (height * samples, width * samples)
        grid = functional.interpolate(batch.pixels.permute(0, 3, 1, 2), size, mode="bilinear").permute(0, 2, 3, 1)
        fine = grid.reshape(len(batch), height, samples, width, samples, 3).transpose(2, 3).contiguous()
    return replace(batch, antialiased=batch.pixels if colours.antialiased else None, fine=fine)


def scenes(
    images: int = 8,
    grid: tuple[int, int] = (6, 7),
    *,
    channels: tuple[int, ...] = (4, 6, 8),
    groups: int = 5,
    noise: float = 0.1,
    seed: int = 0,
) -> tuple[MemorySource, Tensor]:
    """Images of blocks that belong to a few groups: each group has a feature and a colour of its own, and noise on it.

    Returns:
        The source, and the group of every patch, (images, h, w) int64.
    """
    generator = torch.Generator().manual_seed(seed)
    height, width = grid
    coarse = torch.randint(groups, (images, (height + 1) // 2, (width + 1) // 2), generator=generator)
    truth = coarse.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, :height, :width].contiguous()
    levels = []
    for count in channels:
        level = torch.randn(groups, count, generator=generator)[truth]
        levels.append(level + noise * torch.randn(level.shape, generator=generator))
    colours = torch.rand(groups, 3, generator=generator)[truth]
    return MemorySource(levels, (colours + 0.02 * torch.randn(colours.shape, generator=generator)).clamp(0, 1)), truth


class MemoryLabels:
    """A ``LabelSource`` over the classes of patches held in memory, of images ``image0``, ``image1``, ...

    Args:
        classes: (M, h, w) int64 class indices, -1 where void; another grid sees the nearest patches.
        n_classes: C.
    """

    def __init__(self, classes: Tensor, n_classes: int) -> None:
        self.classes = classes
        self.n_classes = n_classes
        self.asked: list[str] = []

    def labels(self, image_id: str, crop: Crop, grid: tuple[int, int]) -> Tensor:
        """(h, w) class indices."""
        self.asked.append(image_id)
        whole = self.classes[int(image_id.removeprefix("image"))]
        rows, columns = (torch.arange(n) * size // n for n, size in zip(grid, whole.shape, strict=True))
        found = whole[rows[:, None], columns]
        return found.flip(1) if crop.flip else found

    def shares(self, image_id: str, crop: Crop, grid: tuple[int, int]) -> Tensor:
        """(C, h, w) shares: 1 for the patch's class."""
        found = self.labels(image_id, crop, grid)
        return (found == torch.arange(self.n_classes)[:, None, None]).float()

    def permuted(self, seed: int = 0) -> MemoryLabels:
        """The same labels, of other patches."""
        order = torch.randperm(self.classes.numel(), generator=torch.Generator().manual_seed(seed))
        return MemoryLabels(self.classes.flatten()[order].view(self.classes.shape), self.n_classes)


class MemoryCheckpoint:
    """A ``CheckpointFolder`` in memory that keeps states as bytes, as a file would.

    Args:
        every: due at every so many questions; None: never.
    """

    def __init__(self, every: int | None = None) -> None:
        self.every = every
        self.saves = 0
        self._asked = 0
        self._bytes: bytes | None = None

    def due(self) -> bool:
        """Whether it is time to save."""
        self._asked += 1
        return self.every is not None and self._asked % self.every == 0

    def save(self, state: dict[str, Any]) -> None:
        """Keep a copy of ``state``."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        self._bytes = buffer.getvalue()
        self.saves += 1

    def load(self) -> dict[str, Any] | None:
        """The last state kept, or None."""
        if self._bytes is None:
            return None
        state: dict[str, Any] = torch.load(io.BytesIO(self._bytes), weights_only=True)
        return state


@dataclass
class Recorder:
    """What a fit reported.

    Attributes:
        progress: (done, total) pairs.
        curve: (step, values) pairs.
        stages: names of the stages entered, in order.
    """

    progress: list[tuple[int, int]] = field(default_factory=list)
    curve: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Note a stage."""
        self.stages.append(name)
        yield


def stop_after(questions: int) -> Callable[[], bool]:
    """A stop signal that is given at the question after so many."""
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > questions

    return should_stop


def fit_context(
    seed: int = 0,
    *,
    device: str | torch.device = "cpu",
    precision: str = "float32",
    recorder: Recorder | None = None,
    checkpoint: CheckpointFolder | None = None,
    should_stop: Callable[[], bool] | None = None,
    base: Segmenter | None = None,
    labels: LabelSource | None = None,
) -> FitContext:
    """A context for one fit; what is not given is silent, in memory and never asks to stop."""
    recorder = recorder or Recorder()
    return FitContext(
        seeds=SeedStreams(seed),
        device=torch.device(device),
        precision=precision,
        progress=lambda done, total: recorder.progress.append((done, total)),
        log=lambda step, values: recorder.curve.append((step, values)),
        checkpoint=checkpoint or MemoryCheckpoint(),
        should_stop=should_stop or (lambda: False),
        stage=recorder.stage,
        base=base,
        labels=labels,
    )


def build(name: str, params: Mapping[str, Any]) -> Segmenter:
    """An unfitted method by name, with defaults filled in."""
    model = method_facts(name).params
    return load_method(name)(model(**complete_params(name, params)))


def fit(
    name: str,
    params: Mapping[str, Any],
    source: MemorySource,
    seed: int = 0,
    *,
    base: Segmenter | None = None,
    **context: Any,
) -> Segmenter:
    """A fitted method by name; the fit that it starts from, if any, is made first, with the same seed and device.

    Args:
        name: as in grids, or ``path/to/file.py:Class``.
        params: parameters; defaults are filled in.
        source: training patches.
        seed: of the fit.
        base: a fit to start from, where one is there already.
        context: further arguments of ``fit_context``.
    """
    start = base_method(name, params)
    if start is not None and base is None:
        shared = {key: context[key] for key in ("labels", "device", "precision") if key in context}
        base = fit(start, base_params(name, params), source, seed, **shared)
    return build(name, params).fit(source, context=fit_context(seed, base=base, **context))


@functools.cache
def text_file(classes: int | tuple[str, ...], width: int, several: int = 1, **told: str) -> str:
    """A file of text vectors drawn at random, for as long as this process lives.

    Args:
        classes: their names, or how many.
        width: channels.
        several: vectors a class.
        told: ``backbone`` and ``backbone_weights``.
    """
    names = classes if isinstance(classes, tuple) else tuple(f"class {index}" for index in range(classes))
    generator = torch.Generator().manual_seed(len(names))
    vectors = functional.normalize(torch.randn(several * len(names), width, generator=generator), dim=1).numpy()
    class_of = torch.arange(len(names)).repeat_interleave(several).numpy()
    prompts = tuple((f"{names[index]} {row}",) for row, index in enumerate(class_of))
    folder = Path(_text_folder().name)
    path = folder / f"text-{len(list(folder.iterdir()))}.safetensors"
    backbone, weights = told.get("backbone", "any"), told.get("backbone_weights", "any")
    write_text(path, TextVectors(names, vectors, class_of, prompts, backbone, weights))
    return str(path)


@functools.cache
def _text_folder() -> tempfile.TemporaryDirectory[str]:
    """Removed when this process ends."""
    return tempfile.TemporaryDirectory(prefix="bench-text-", ignore_cleanup_errors=True)


def same_state(first: Segmenter, second: Segmenter) -> bool:
    """Whether two fits learnt the same, bit for bit."""
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
