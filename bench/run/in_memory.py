"""Fit a method on patch features in memory: no store, no record, no checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spectral_bench.bench.features.source import TrainingSource
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.seeds import SeedStreams
from spectral_bench.methods.interface import FitContext, PatchBatch, Segmenter
from spectral_bench.methods.registry import base_method, base_params, load_method, method_facts


class MemorySource(TrainingSource):
    """Training patches in memory, in the order and with the draws of a grid's run of the same seed.

    Args:
        patches: all images as one batch, on the CPU.
        seed: of the fit.
    """

    def __init__(self, patches: PatchBatch, seed: int) -> None:
        self._patches = patches
        channels = tuple(int(level.shape[-1]) for level in patches.features)
        # reused: nothing is extracted, so nothing is charged.
        super().__init__(patches.image_ids, channels, patches.grid, seed, reused=True)

    def images(self) -> Iterator[PatchBatch]:
        """One ordered pass, one image a batch."""
        return self._one_pass()

    def _load(self, epoch: int, batches: Sequence[list[int]]) -> Iterator[PatchBatch]:
        for indices in batches:
            yield chosen(self._patches, indices)

    def _gather(self, rows: NDArray[np.int64]) -> list[Tensor]:
        places = torch.from_numpy(rows)
        return [part.flatten(0, 2)[places] for part in (*self._patches.features, self._patches.pixels)]

    def _one_pass(self) -> Iterator[PatchBatch]:
        for index in range(len(self)):
            yield chosen(self._patches, [index])


def chosen(batch: PatchBatch, indices: Sequence[int]) -> PatchBatch:
    """The entries of a batch at these places, in this order."""
    places = torch.tensor(list(indices))
    ids, crops = (tuple(held[index] for index in indices) for held in (batch.image_ids, batch.crops))
    return batch.each(lambda tensor: tensor[places], image_ids=ids, crops=crops)


def require_no_labels(method: str) -> None:
    """Refuse a method that is fitted with labels.

    Raises:
        ConfigError: as said, or the method is unknown.
    """
    if method_facts(method).uses_labels:
        raise ConfigError(f'method "{method}" is fitted with labels, which only a grid\'s run hands to it')


def fit_in_memory(
    method: str,
    params: dict[str, Any],
    source: TrainingSource,
    *,
    seed: int,
    device: torch.device,
    precision: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Segmenter:
    """Fit a method, and first the one that it starts from.

    Args:
        method: a name, or ``path/to/file.py:Class``.
        params: complete, and fit for the source.
        source: training patches.
        seed: of the fit; that of ``source``.
        device: where to compute.
        precision: of networks: float32 or bfloat16.
        progress: called with (steps done, steps in all), first for the fit that it starts from.

    Raises:
        NumericalError: the method cannot be fitted on these numbers.
    """
    start, base = base_method(method, params), None
    if start is not None:
        first = base_params(method, params)
        settings: dict[str, Any] = {"seed": seed, "device": device, "precision": precision, "progress": progress}
        base = fit_in_memory(start, first, source, **settings)
    context = FitContext(
        seeds=SeedStreams(seed),
        device=device,
        precision=precision,
        progress=progress,
        log=lambda step, values: None,
        checkpoint=_NoCheckpoint(),
        should_stop=lambda: False,
        stage=lambda name: nullcontext(),
        base=base,
        labels=None,
    )
    unfitted = cast(Any, load_method(method))(method_facts(method).params(**params))
    fitted: Segmenter = unfitted.fit(source, context=context)
    return fitted


def failed_checks(fitted: Segmenter) -> tuple[str, ...]:
    """What a method found wrong with its own fit, in words; nothing for a sound fit."""
    checks = getattr(fitted, "checks", ())
    return tuple(f"{one.name} = {one.value}: {one.note}" for one in checks if not one.passed)


class _NoCheckpoint:
    """A fit in memory is not kept half-way."""

    def due(self) -> bool:
        return False

    def save(self, state: dict[str, Any]) -> None:
        del state

    def load(self) -> None:
        return None
