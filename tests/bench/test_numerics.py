from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from spectral_bench.bench.measure.environment import software_bfloat16, thread_count, usable_cpus
from spectral_bench.bench.work.order import Execution

CHECK = """
import json, os, sys
import numpy
from spectral_bench.bench.measure.environment import set_up_torch
from spectral_bench.bench.work.order import Execution
set_up_torch(Execution(threads=3))
import torch
from threadpoolctl import threadpool_info
print(json.dumps({
    "threads": torch.get_num_threads(),
    "pools": sorted({pool["num_threads"] for pool in threadpool_info()}),
    "deterministic": torch.are_deterministic_algorithms_enabled(),
    "warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
    "benchmark": torch.backends.cudnn.benchmark,
    "tf32": [torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32],
    "workspace": os.environ["CUBLAS_WORKSPACE_CONFIG"],
    "helpers": os.environ["OMP_NUM_THREADS"],
}))
"""


@pytest.mark.slow
def test_torch_and_the_libraries_beside_it() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "CUBLAS_WORKSPACE_CONFIG"}
    command = [sys.executable, "-c", CHECK]
    told = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    assert json.loads(told.splitlines()[-1]) == {
        "threads": 3,
        "pools": [3],
        "deterministic": True,
        "warn_only": True,
        "benchmark": False,
        "tf32": [False, False],
        "workspace": ":4096:8",
        "helpers": "3",
    }


@pytest.mark.parametrize(
    ("order", "said", "expected"),
    [(3, "5", 3), (0, "5", 5), (0, "", None), (0, "0", None), (0, "4,2", None), (0, None, None)],
)
def test_who_says_how_many_threads(
    monkeypatch: pytest.MonkeyPatch, order: int, said: str | None, expected: int | None
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if said is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert thread_count(Execution(threads=order)) == (expected or usable_cpus())


@pytest.mark.parametrize(
    ("machine", "capability", "expected"),
    [
        ("x86_64", "DEFAULT", True),
        ("x86_64", "AVX2", True),
        ("AMD64", "AVX2", True),
        ("x86_64", "AVX512", False),
        ("x86_64", "AMX", False),
        ("aarch64", "DEFAULT", False),
    ],
)
def test_which_processors_compute_bfloat16_in_software(
    monkeypatch: pytest.MonkeyPatch, machine: str, capability: str, expected: bool
) -> None:
    monkeypatch.setattr("spectral_bench.bench.measure.environment.platform.machine", lambda: machine)
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: capability)
    assert software_bfloat16() is expected
