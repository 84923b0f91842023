"""What holds for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

# A busy machine is no failure, and the same code passes or fails every time; "explore" draws new examples.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile("repeatable")


@pytest.fixture
def as_in_a_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Torch computes as it does in a run: deterministic algorithms, no TF32."""
    import torch

    from spectral_bench.bench.measure.environment import set_up_torch
    from spectral_bench.bench.work.order import Execution

    for name in ("OMP_NUM_THREADS", "CUBLAS_WORKSPACE_CONFIG"):
        monkeypatch.setenv(name, os.environ.get(name, ""))  # so that it is put back, or taken away again
        monkeypatch.delenv(name)
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn, matmul, memory = torch.backends.cudnn, torch.backends.cuda.matmul, torch.utils.deterministic
    kept = cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32, memory.fill_uninitialized_memory
    set_up_torch(Execution(threads=torch.get_num_threads()))
    yield
    torch.use_deterministic_algorithms(before[0], warn_only=before[1])
    cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32, memory.fill_uninitialized_memory = kept
