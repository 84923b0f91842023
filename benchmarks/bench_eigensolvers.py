"""Time of the smallest generalised eigenvectors of one image's graph of 900 patches, by solver and precision.

``pytest benchmarks/bench_eigensolvers.py``; with OMP_NUM_THREADS=1 the figures are those of one core. ``torch`` is the
full dense decomposition, for comparison.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))

from bench_graph_loss import make_batch

from spectral_bench.methods.graphs.pixels import pixel_graph
from spectral_bench.methods.laplacian import smallest_eigenpairs
from spectral_bench.methods.params import Solver

COLOUR_WEIGHT = 10.0


def image_affinity(dtype: torch.dtype) -> Tensor:
    """max(0, F F^T) of one image's 900 unit features plus weighted colour neighbours, (900, 900)."""
    batch, _ = make_batch()
    unit = torch.nn.functional.normalize(batch.features[-1][0].flatten(0, 1), dim=1).to(dtype)
    return (unit @ unit.T).clamp_min(0) + COLOUR_WEIGHT * pixel_graph(batch.pixels[:1], dtype=dtype).to_dense()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("solver", get_args(Solver))
@pytest.mark.parametrize("count", [4, 14])
def test_smallest_eigenpairs(benchmark: Any, solver: Solver, count: int, dtype: torch.dtype) -> None:
    affinity = image_affinity(dtype)
    benchmark.pedantic(smallest_eigenpairs, (affinity, count), {"solver": solver}, rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_torch(benchmark: Any, dtype: torch.dtype) -> None:
    affinity = image_affinity(dtype)
    root = affinity.sum(1).rsqrt()
    benchmark.pedantic(torch.linalg.eigh, (affinity * root[:, None] * root,), rounds=3, warmup_rounds=1)
