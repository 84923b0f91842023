"""Floating-point operations of a forward pass, counted by torch and not timed."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from spectral_bench.bench.code.fingerprint import fingerprint
from spectral_bench.bench.features.backbones import load_backbone
from spectral_bench.bench.features.backbones.registry import content_name, module_of
from spectral_bench.common.errors import StoreError
from spectral_bench.common.files import write_json
from spectral_bench.methods.threads import one_thread
from spectral_bench.results.identity import digest
from spectral_bench.results.specification import BackboneSpec

_KEPT_AS = 1  # version of what is counted, and of how it is kept
_COUNTED_BY = ("spectral_bench.bench.features.backbones.network",)


def count_flops(work: Callable[[], object]) -> int:
    """The operations of what ``work`` computes, without gradients.

    Counted are matrix products, convolutions and attention, a multiplication with its addition as two; a sparse product
    counts as the dense one would. Attention takes torch's plain form, since its fused forms are not counted on a CPU.
    All of it is computed by one thread: what others do side by side is not seen from here.
    """
    from torch.utils.flop_counter import FlopCounterMode  # brings Triton, and only counting needs it

    with one_thread(), torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def backbone_flops(spec: BackboneSpec, shots: int, height: int, width: int, kept: Path | None = None) -> int:
    """The operations of a backbone on ``shots`` inputs of ``height`` x ``width`` pixels.

    They do not depend on weights, so the network is built without memory, and neither weights nor time are spent on it.

    Args:
        spec: the backbone.
        shots: inputs.
        height: of an input.
        width: of an input.
        kept: folder where counts are kept for those who ask again, by network, size, code and release of torch and
            timm; None: nowhere.

    Raises:
        Exception: whatever building a network without memory raises, where one cannot be built so.
    """
    options = tuple(sorted(spec.options.items()))
    file = None if kept is None else kept / f"{_key(spec.name, options, height, width)}.json"
    count = None if file is None else _read(file)
    if count is None:
        count = _one_input(spec.name, options, height, width)
        if file is not None:
            with contextlib.suppress(StoreError):  # a full disk: the record, which is next, reports it
                write_json(file, {"backbone": spec.name, "height": height, "width": width, "operations": count})
    return shots * count


def _key(name: str, options: tuple[tuple[str, Any], ...], height: int, width: int) -> str:
    """Of all that a count depends on; the code is that which this process has loaded."""
    code = fingerprint([module_of(name), *_COUNTED_BY], loaded=True)
    return digest([_KEPT_AS, content_name(name, loaded=True), options, height, width, releases(), code], 16)


@functools.cache
def releases() -> list[str]:
    """Those of torch and timm, which stay what they are while a process lives."""
    return [metadata.version(package) for package in ("torch", "timm")]


def _read(file: Path) -> int | None:
    """A count that was kept; None where there is none, or a torn one."""
    try:
        count = json.loads(file.read_bytes())["operations"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else None


@functools.lru_cache(maxsize=64)
def _one_input(name: str, options: tuple[tuple[str, Any], ...], height: int, width: int) -> int:
    meta = torch.device("meta")
    with meta:
        untrained = {"weights": "random"} if "weights" in dict(options) else {}
        network = load_backbone(name, dict(options) | untrained, meta)
        image = torch.empty(1, 3, height, width)
    return count_flops(lambda: network.single(image))
