"""Gradient training over batches of patches, with exact resume."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from spectral_bench.common.errors import ConfigError, RunInterrupted
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.interface import FitContext, PatchBatch

CURVE_POINTS = 200  # of a training curve


@dataclass(frozen=True)
class Cosine:
    """A value that goes from ``start`` at the first step to ``end`` at the last along half a cosine."""

    start: float
    end: float

    def at(self, step: int, steps: int) -> float:
        """The value at ``step`` of ``steps``, counted from 0."""
        done = step / max(steps - 1, 1)
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * done)) / 2


class Batches(Protocol):
    """What training takes of a ``PatchSource``: batches, of which the same (epoch, size) gives the same ones."""

    def __len__(self) -> int:
        """The number of images."""
        ...

    def n_batches(self, size: int) -> int:
        """Batches of ``size`` images an epoch."""
        ...

    def batches(self, epoch: int, size: int, start: int = 0) -> Iterator[PatchBatch]:
        """The shuffled batches of an epoch, from batch ``start`` on."""
        ...


@dataclass(frozen=True)
class Step:
    """What one training step gives.

    Attributes:
        loss: scalar with gradient.
        measures: further values for the training curve, asked for only where a point of it is due.
    """

    loss: Tensor
    measures: Callable[[], dict[str, float]]


@dataclass(frozen=True)
class Budget:
    """How long to train, and on how many images at once.

    Attributes:
        batch_size: images a step; an incomplete last batch of an epoch is dropped.
        epochs: passes over the images.
        steps: optimiser steps in place of ``epochs``, or None.
    """

    batch_size: int
    epochs: int
    steps: int | None = None

    def total(self, patches: Batches) -> int:
        """Optimiser steps: schedules count full batches.

        Raises:
            ConfigError: there are fewer images than a batch holds.
        """
        per_epoch = patches.n_batches(self.batch_size)
        if per_epoch == 0:
            raise ConfigError(f"batch_size = {self.batch_size}: expected at most the {len(patches)} training images")
        return self.steps if self.steps is not None else self.epochs * per_epoch


def train(
    network: nn.Module,
    step: Callable[[int, int, PatchBatch], Step],
    patches: Batches,
    *,
    context: FitContext,
    budget: Budget,
    rate: Cosine,
    more_follows: bool = False,
) -> None:
    """Minimise a loss by Adam without weight decay, from the checkpoint where there is one.

    A resumed training ends with the same bits as an undisturbed one: batches are a function of the epoch, and ``step``
    draws what it needs from streams that know its number.

    Args:
        network: what is trained, on the context's device.
        step: (number, steps in all, batch) to a loss and what else is worth a curve.
        patches: the training patches.
        context: seeds, device, checkpoint, progress and stop signal.
        budget: batch size and length.
        rate: the learning rate.
        more_follows: the fit does not end with the training: save its end, so that it is not repeated.

    Raises:
        ConfigError: there are fewer images than a batch holds.
        NumericalError: the loss is not finite.
        RunInterrupted: the run was asked to stop; the checkpoint holds the step it goes on from.
    """
    total = budget.total(patches)
    optimiser = torch.optim.Adam(network.parameters(), lr=rate.start, fused=True)  # one pass over the weights
    done = _resume(network, optimiser, context)
    every = max(1, total // CURVE_POINTS)
    network.train()
    while done < total:
        epoch, start = divmod(done, patches.n_batches(budget.batch_size))
        for batch in patches.batches(epoch, budget.batch_size, start):
            _save_if_wanted(network, optimiser, done, context)
            lr = rate.at(done, total)
            for group in optimiser.param_groups:
                group["lr"] = lr
            result = step(done, total, batch.to(context.device))
            if not bool(torch.isfinite(result.loss.detach())):
                raise NumericalError(f"the loss is {float(result.loss.detach())} at step {done}")
            if done % every == 0 or done == total - 1:
                context.log(done, {"loss": float(result.loss.detach()), "lr": lr, **result.measures()})
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(result.loss)
            optimiser.step()
            done += 1
            context.progress(done, total)
            if done == total:
                break
        if more_follows and done == total:
            _save(network, optimiser, done, context)
    network.eval()


def _resume(network: nn.Module, optimiser: torch.optim.Optimizer, context: FitContext) -> int:
    state = context.checkpoint.load()
    if state is None:
        return 0
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(deepcopy(state["optimiser"]))  # as given, its tensors would go on to be written to
    return int(state["done"])


def _save_if_wanted(network: nn.Module, optimiser: torch.optim.Optimizer, done: int, context: FitContext) -> None:
    stop = context.should_stop()
    if stop or context.checkpoint.due():
        _save(network, optimiser, done, context)
    if stop:
        raise RunInterrupted


def _save(network: nn.Module, optimiser: torch.optim.Optimizer, done: int, context: FitContext) -> None:
    state = {"done": done, "network": network.state_dict(), "optimiser": optimiser.state_dict()}
    context.checkpoint.save(state)
