"""One seed a run, split into independent named streams."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


class SeedStreams:
    """Independent random streams of one seed, told apart by name (initialisation, order, sampling, kmeans, ...).

    The same (seed, name, keys) always gives the same stream, whatever else was drawn before; ``keys`` are further
    integers, such as an epoch or a step, so that a resumed run draws what an undisturbed one would have drawn.
    """

    def __init__(self, seed: int) -> None:
        self.seed = int(seed)

    def sequence(self, name: str, *keys: int) -> np.random.SeedSequence:
        """The numpy seed sequence of a stream."""
        return np.random.SeedSequence(entropy=self.seed, spawn_key=(zlib.crc32(name.encode()), *keys))

    def integer(self, name: str, *keys: int) -> int:
        """A seed in [0, 2^63) for libraries that want an integer."""
        return int(self.sequence(name, *keys).generate_state(1, np.uint64)[0] >> np.uint64(1))

    def numpy(self, name: str, *keys: int) -> np.random.Generator:
        """A numpy generator of a stream."""
        return np.random.default_rng(self.sequence(name, *keys))

    def torch(self, name: str, *keys: int, device: str | torch.device = "cpu") -> torch.Generator:
        """A torch generator of a stream, on ``device``."""
        import torch as _torch

        return _torch.Generator(device=device).manual_seed(self.integer(name, *keys))


def labelled_images(count: int, budget: int, seeds: SeedStreams) -> tuple[int, ...]:
    """The positions of the images whose labels a budget takes, drawn uniformly and in order.

    At one seed a larger budget takes the images of a smaller one and more, so that a curve over budgets compares sets
    that hold each other.

    Args:
        count: images there are.
        budget: images whose labels are seen.
        seeds: of the run.
    """
    return tuple(sorted(seeds.numpy("label_budget").permutation(count)[:budget].tolist()))
