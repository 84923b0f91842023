"""Free memory on the CPU, in control groups and on CUDA."""

import psutil
import pytest
import torch

from spectral_bench.methods import memory


def test_the_cpu_has_what_the_system_can_give_at_most() -> None:
    total = psutil.virtual_memory().total
    assert 0 < memory.free_bytes(torch.device("cpu")) <= total


def test_the_narrowest_group_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory_rooms", lambda: iter([4600, 700, 5000]))
    assert memory.free_bytes(torch.device("cpu")) == 700


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_has_less_once_something_is_held() -> None:
    device = torch.device("cuda")
    before = memory.free_bytes(device)
    held = torch.empty(2**26, device=device)
    assert memory.free_bytes(device) <= before - held.numel() * 4 + 2**21
