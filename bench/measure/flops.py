"""Floating-point operations of a forward pass, counted by torch and not timed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from spectral_bench.bench.features.backbones import load_backbone
from spectral_bench.results.specification import BackboneSpec


def count_flops(work: Callable[[], object]) -> int:
    """The operations of what ``work`` computes in this thread, without gradients.

    Counted are matrix products, convolutions and attention, a multiplication with its addition as two; a sparse product
    counts as the dense one would. Attention takes torch's plain form, since its fused forms are not counted on a CPU.
    """
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def backbone_flops(spec: BackboneSpec, shots: int, height: int, width: int) -> int:
    """The operations of a backbone on ``shots`` inputs of ``height`` x ``width`` pixels.

    They do not depend on weights, so the network is built without memory, and neither weights nor time are spent on it.

    Raises:
        Exception: whatever building a network without memory raises, where one cannot be built so.
    """
    options = tuple(sorted(spec.options.items()))
    return shots * _one_input(spec.name, options, height, width)


@functools.lru_cache(maxsize=64)
def _one_input(name: str, options: tuple[tuple[str, Any], ...], height: int, width: int) -> int:
    meta = torch.device("meta")
    with meta:
        untrained = {"weights": "random"} if "weights" in dict(options) else {}
        network = load_backbone(name, dict(options) | untrained, meta)
        image = torch.empty(1, 3, height, width)
    return count_flops(lambda: network.single(image))
