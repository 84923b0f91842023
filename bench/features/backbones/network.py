"""What the harness does with the inputs of every backbone: normalise them, and pad them to whole patches."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from spectral_bench.bench.features.backbones.interface import Backbone
from spectral_bench.common.errors import ConfigError, DataError


class FrozenNetwork(nn.Module):
    """The loaded network of a backbone, frozen and in evaluation mode.

    Args:
        backbone: what it belongs to.
        network: as ``Backbone.load`` gives it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: Backbone, network: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.info = backbone.info
        self.network = network
        for name, colour in zip(("mean", "std"), backbone.normalisation(network), strict=True):
            values = torch.tensor(colour, dtype=torch.float32).view(1, 3, 1, 1)
            self.register_buffer(name, values, persistent=False)
        self.requires_grad_(False).eval()

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
        """Dense features at all levels.

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
            return self._levels(images)
        with _one_thread_an_operation() as threads, ThreadPoolExecutor(threads) as pool:
            singles = list(pool.map(self.single, torch.split(images, 1)))
        return tuple(torch.cat(level) for level in zip(*singles, strict=True))

    @torch.no_grad()
    def single(self, image: Tensor) -> tuple[Tensor, ...]:
        """As ``features`` for one image (1, 3, H, W), in the calling thread; gradients are switched off a thread."""
        return self._levels(image)

    def _levels(self, images: Tensor) -> tuple[Tensor, ...]:
        inputs = self._prepare(images)
        if why := self.backbone.refused(*inputs.shape[-2:]):
            raise DataError(f"backbone {self.info.name}: {why}")
        levels = tuple(self.backbone.levels(self.network, inputs))
        grid = self.info.grid(*images.shape[-2:])
        expected = [(len(images), *grid, channels) for channels in self.info.channels]
        found = [tuple(level.shape) for level in levels]
        if found != expected:
            raise DataError(f"backbone {self.info.name}: its levels have shapes {found}, expected {expected}")
        return levels

    def _prepare(self, images: Tensor) -> Tensor:
        """Normalised (B, 3, H', W') inputs whose sides are multiples of the stride."""
        if self.info.native is not None:
            resized = functional.interpolate(images, self.info.native, mode="bicubic", antialias=True)
            return (resized.clamp(0, 1) - self.mean) / self.std
        height, width = images.shape[-2:]
        rows, columns = self.info.cover(height, width)
        return functional.pad((images - self.mean) / self.std, (0, columns - width, 0, rows - height))


def load_network(backbone: Backbone, device: torch.device | str) -> FrozenNetwork:
    """The network of a backbone on ``device``. Weights that are drawn at random are the same every time.

    Raises:
        ConfigError: what it loads is no network.
        DataError: the weights cannot be had.
    """
    seed = backbone.options.get("seed")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed if isinstance(seed, int) else 0)
        network = backbone.load()
    if not isinstance(network, nn.Module):
        raise ConfigError(f"backbone {backbone.name}: load gave {type(network).__name__}, expected a torch.nn.Module")
    return FrozenNetwork(backbone, network).to(device)


@contextmanager
def _one_thread_an_operation() -> Iterator[int]:
    """Let the threads that are started inside compute alone. Yields the number of torch threads outside."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)
