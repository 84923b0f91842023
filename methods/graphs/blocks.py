"""How many rows of an N x N table are looked at in one go."""

from __future__ import annotations

from collections.abc import Iterator

import torch

# Blocks of 32 MB in float32 keep matrix products at full speed on a CPU; a GPU wants larger ones to be kept busy.
CPU_ELEMENTS = 2**23
CUDA_ELEMENTS = 2**25


def row_blocks(rows: int, columns: int, device: torch.device) -> Iterator[slice]:
    """Consecutive slices over ``rows``, each of a bounded number of table elements and at least one row."""
    elements = CPU_ELEMENTS if device.type == "cpu" else CUDA_ELEMENTS
    step = max(1, elements // max(1, columns))
    for start in range(0, rows, step):
        yield slice(start, min(rows, start + step))
