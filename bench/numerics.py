"""How torch computes in a worker: threads and determinism."""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from spectral_bench.bench.environment import usable_cpus

if TYPE_CHECKING:
    from spectral_bench.bench.work.order import Execution

THREADS_VARIABLE = "OMP_NUM_THREADS"


def thread_count(execution: Execution) -> int:
    """Threads for a worker: what the order says, else what its executor says by ``OMP_NUM_THREADS``, else all."""
    if execution.threads:
        return execution.threads
    said = os.environ.get(THREADS_VARIABLE, "")
    return int(said) if said.isdecimal() and int(said) > 0 else usable_cpus()


def set_up_torch(execution: Execution) -> None:
    """Make torch (and BLAS, and OpenMP) use the order's threads and compute the same bits each time.

    Deterministic algorithms are used wherever torch has them and a warning goes to the log where it has none;
    convolutions do not pick their algorithm by timing; float32 means float32 (no TF32), so that devices agree to 1e-4;
    cuBLAS gets a fixed workspace, which is what makes it deterministic. Fresh memory is not filled: no code here reads
    it. On one device with one number of threads, the same order then gives the same bits.
    """
    import torch
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    threads = thread_count(execution)
    os.environ[THREADS_VARIABLE] = str(threads)
    torch.set_num_threads(threads)
    threadpool_limits(threads)
    _be_deterministic()


@contextmanager
def reproducible() -> Iterator[None]:
    """Inside of it torch computes as in a run, at the threads that it has; afterwards its settings are as before."""
    import torch

    cudnn, matmul, memory = torch.backends.cudnn, torch.backends.cuda.matmul, torch.utils.deterministic
    checks = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    kept = cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32, memory.fill_uninitialized_memory  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        _be_deterministic()
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(checks[0], warn_only=checks[1])
            cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32, memory.fill_uninitialized_memory = kept  # type: ignore[attr-defined]


def _be_deterministic() -> None:
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    # torch 2.11 says so although each matrix is made with the checks turned off
    warnings.filterwarnings("ignore", message="Sparse invariant checks are implicitly disabled")


def software_bfloat16() -> bool:
    """Whether this processor computes bfloat16 products in software: x86 without AVX-512, by what torch says of it.

    Float32 is then far faster: of a linear layer of psi (5280 patches, 576 to 3456 channels, torch 2.14, AVX2) a
    product took 4 to 6 times as long in bfloat16, the one for the input's gradient 30 times. Imports torch.
    """
    import torch

    capability = torch.backends.cpu.get_cpu_capability()
    return platform.machine() in ("x86_64", "AMD64") and not capability.startswith(("AVX512", "AMX"))
