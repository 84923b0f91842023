"""Time an image of ``deep_spectral`` on 900 patches: graph, eigenvectors and segments, by solver.

``pytest benchmarks/bench_deep_spectral.py``; with OMP_NUM_THREADS=1 the figures are those of one core. A solver has its
own row from features to the segments' eigenvectors (``decompose``) and to the prediction (``predict``); ``eigh`` is the
dense reference.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from bench_graph_loss import make_batch

from spectral_bench.methods.deep_spectral.decompose import Decomposer
from spectral_bench.methods.deep_spectral.method import DeepSpectral
from spectral_bench.methods.deep_spectral.params import DeepSpectralParams
from spectral_bench.methods.eigensolvers import Solver
from spectral_bench.methods.inputs import Standardiser, one_by_one
from spectral_bench.methods.interface import PatchBatch

IMAGES = 4  # decomposed in one call: divide the figures of a row by it
SHAPES = {"4 vectors, 8 segments": (4, 8), "14 vectors, 24 segments": (14, 24)}


def images() -> PatchBatch:
    batch, _ = make_batch()
    return PatchBatch(
        tuple(level[:IMAGES] for level in batch.features),
        batch.pixels[:IMAGES],
        batch.image_ids[:IMAGES],
        batch.crops[:IMAGES],
    )


def parameters(solver: Solver, shape: str) -> DeepSpectralParams:
    vectors, segments = SHAPES[shape]
    return DeepSpectralParams(solver=solver, eigenvectors=vectors, segments=segments)


@pytest.mark.parametrize("solver", get_args(Solver))
@pytest.mark.parametrize("shape", SHAPES)
def test_decompose(benchmark: Any, solver: Solver, shape: str) -> None:
    decomposer = Decomposer(parameters(solver, shape), Standardiser.nothing())
    benchmark.extra_info["images"] = IMAGES
    benchmark.pedantic(decomposer.eigenpairs, (one_by_one(images()),), rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("solver", get_args(Solver))
@pytest.mark.parametrize("shape", SHAPES)
def test_predict(benchmark: Any, solver: Solver, shape: str) -> None:
    batch = images()
    method = DeepSpectral(parameters(solver, shape))
    centres = torch.randn(64, batch.features[-1].shape[-1], generator=torch.Generator().manual_seed(0))
    nothing = torch.empty(0)
    method.load_state_dict({"centres": centres, "mean": nothing, "scale": nothing, "seed": torch.tensor(0)})
    benchmark.extra_info["images"] = IMAGES
    benchmark.pedantic(method.predict, (batch,), rounds=5, warmup_rounds=1)
