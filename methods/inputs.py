"""What networks and k-means are fed: levels side by side, standardised, and refused where they are not finite."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from spectral_bench.common.errors import ConfigError
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.interface import PatchBatch, PatchSource, Statistics
from spectral_bench.methods.params import FeatureInput

_NEGLIGIBLE = 1e-6  # deviation of a channel in units of its mean that rounding alone explains
_SHORTEST = 1e-12  # features shorter than this are not scaled up to length 1
_ROWS = 2**15  # patches in a chunk


def standardisation(statistics: Statistics) -> tuple[Tensor, Tensor]:
    """Mean and scale, (D,) each, of all levels side by side: (x - mean) * scale has mean 0 and deviation 1.

    A channel that is constant up to rounding gets scale 0: it says nothing, and dividing by its deviation would blow
    rounding up to the size of a signal.
    """
    mean, std = torch.cat(statistics.mean), torch.cat(statistics.std)
    varies = std > _NEGLIGIBLE * mean.abs()
    return mean, torch.where(varies, std.where(varies, torch.ones_like(std)).reciprocal(), 0.0)


@dataclass(frozen=True)
class Standardiser:
    """All levels side by side with training statistics taken out.

    Attributes:
        mean: (D,) float32; empty where nothing is standardised.
        scale: (D,) float32, of the same size.
    """

    mean: Tensor
    scale: Tensor

    @classmethod
    def nothing(cls) -> Standardiser:
        """What stands in where no input is standardised."""
        return cls(torch.empty(0), torch.empty(0))

    @classmethod
    def of(cls, patches: PatchSource, device: torch.device) -> Standardiser:
        """The standardiser of training patches."""
        return cls(*(part.to(device) for part in standardisation(patches.statistics())))

    def __call__(self, levels: tuple[Tensor, ...]) -> Tensor:
        """(..., D) standardised features of levels (..., C_l)."""
        device = levels[0].device
        return (torch.cat(levels, -1) - self.mean.to(device)) * self.scale.to(device)


def feature_input(kind: FeatureInput, levels: tuple[Tensor, ...], standardiser: Standardiser) -> Tensor:
    """What is clustered, of levels (..., C_l): (..., D), the last level raw or L2-normalised, or all of them.

    Raises:
        NumericalError: as ``unit_rows``.
    """
    if kind == "all_standardised_l2":
        return unit_rows(standardiser(levels))
    return levels[-1] if kind == "last" else unit_rows(levels[-1])


def unit_rows(features: Tensor) -> Tensor:
    """(..., D) features scaled to length 1; zeros stay zeros.

    Raises:
        NumericalError: finite features whose length overflows, of which nothing but zeros would be left.
    """
    lengths: Tensor = torch.linalg.vector_norm(features, dim=-1, keepdim=True)
    overflowing = lengths.isinf()
    if bool(overflowing.any()) and bool(features.isfinite().all()):
        count = f"{int(overflowing.sum())} of {lengths.numel()} patches"
        raise NumericalError(f"features of {count} are so large that their length overflows")
    return features / lengths.clamp_min(_SHORTEST)


def require_patches(patches: PatchSource, k: int) -> None:
    """Refuse more clusters than there are training patches.

    Raises:
        ConfigError: K is larger.
    """
    if k > patches.n_patches:
        raise ConfigError(
            f"k = {k}: expected at most {patches.n_patches}, the number of training patches in {len(patches)} images"
        )


def require_finite(levels: Sequence[Tensor], where: str) -> None:
    """Refuse features (..., C_l) that hold NaN or infinite values; ``where`` says whose they are.

    Raises:
        NumericalError: a level is not finite; the message names it.
    """
    for index, level in enumerate(levels):
        if not all_finite(level):
            raise NumericalError(f"level {index} of the features of {where} holds NaN or infinite values")


def all_finite(values: Tensor) -> bool:
    """Whether none of these values is NaN or infinite."""
    # One such value makes the sum one, and a sum takes a fortieth of looking at each. It may overflow by itself, too.
    return math.isfinite(float(values.detach().sum())) or bool(torch.isfinite(values).all())


def images_of(batch: PatchBatch) -> str:
    """The images of a batch, for messages: at most three names."""
    names = list(dict.fromkeys(batch.image_ids))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"images {', '.join(names[:3])}{more}" if len(names) > 1 else f"image {names[0]}"


@contextmanager
def named(batch: PatchBatch) -> Iterator[None]:
    """Numerical errors in here say which images they are about."""
    try:
        yield
    except NumericalError as error:
        raise NumericalError(f"{images_of(batch)}: {error}") from error


def by_chunks(
    function: Callable[[tuple[Tensor, ...]], Tensor], levels: Sequence[Tensor], device: torch.device
) -> Tensor:
    """``function`` of levels (n, C_l), (n, D) on ``device``, some ten thousand rows at a time to bound the memory."""
    total, done = len(levels[0]), 0
    result = torch.empty(0, device=device)
    while done < total:
        part = function(tuple(level[done : done + _ROWS].to(device) for level in levels))
        if done == 0:
            result = part.new_empty(total, part.shape[1])
        result[done : done + len(part)] = part
        done += len(part)
    return result


def only_features(batch: PatchBatch) -> PatchBatch:
    """The batch in float32 and without gradients, whatever its caller computed it in."""
    return batch.each(lambda tensor: tensor.detach().float())


def one_by_one(batch: PatchBatch) -> list[PatchBatch]:
    """The images of a batch as batches of one: what is computed of them does not depend on what else is predicted."""
    return [batch.part(slice(index, index + 1)) for index in range(len(batch))]
