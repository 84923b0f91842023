"""What all backbones do with their inputs: normalise them, and pad them to whole patches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from spectral_bench.bench.features.backbones.info import BackboneInfo


class Backbone(nn.Module, ABC):
    """A frozen network in evaluation mode.

    Args:
        info: stride, channels and family.
        mean: per-channel mean that is subtracted from RGB in [0, 1].
        std: per-channel standard deviation by which the rest is divided.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, info: BackboneInfo, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.info = info
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, 3, 1, 1), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return self.mean.device

    @property
    def fill(self) -> tuple[int, int, int]:
        """The colour (RGB, 0 to 255) that normalisation turns into zeros, for what a crop shows beyond its image."""
        red, green, blue = (self.mean.flatten() * 255).round().int().tolist()
        return red, green, blue

    @torch.no_grad()
    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """Dense features at three levels.

        Args:
            images: (B, 3, H, W) float32 RGB in [0, 1], on the device of the network.

        Returns:
            (B, h, w, C_l) float32 tensors from low to high, with (h, w) = ``info.grid(H, W)``: h = ceil(H / stride).
            Inputs are padded at the right and at the bottom with zeros after normalisation; a network with a native
            resolution sees the image resized bicubically (antialiased) instead. On a CPU each thread takes one image at
            a time: activations then stay in its caches, threads never wait for one another, which is several times as
            fast on a busy machine, and results depend neither on the batch nor on the number of threads.
        """
        if self.device.type != "cpu":
            return self._levels(self._prepare(images))
        with _one_thread_an_operation() as threads, ThreadPoolExecutor(threads) as pool:
            singles = list(pool.map(self.single, torch.split(images, 1)))
        return tuple(torch.cat(level) for level in zip(*singles, strict=True))

    @torch.no_grad()
    def single(self, image: Tensor) -> tuple[Tensor, ...]:
        """As ``features`` for one image (1, 3, H, W), in the calling thread; gradients are switched off a thread."""
        return self._levels(self._prepare(image))

    def _prepare(self, images: Tensor) -> Tensor:
        """Normalised (B, 3, H', W') inputs whose sides are multiples of the stride."""
        if self.info.native is not None:
            resized = functional.interpolate(images, self.info.native, mode="bicubic", antialias=True)
            return (resized.clamp(0, 1) - self.mean) / self.std
        height, width = images.shape[-2:]
        rows, columns = self.info.cover(height, width)
        return functional.pad((images - self.mean) / self.std, (0, columns - width, 0, rows - height))

    @abstractmethod
    def _levels(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Levels of normalised (B, 3, H, W) inputs whose sides are multiples of the stride."""


@contextmanager
def _one_thread_an_operation() -> Iterator[int]:
    """Let the threads that are started inside compute alone. Yields the number of torch threads outside."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)
