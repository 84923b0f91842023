"""Free memory on the CPU, in control groups and on CUDA."""

from pathlib import Path

import psutil
import pytest
import torch

from spectral_bench.methods import memory


def group(folder: Path, limit: str, used: int, inactive: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {inactive}\n")


def own(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "own"
    path.write_text(text)
    return path


def test_the_cpu_has_what_the_system_can_give_at_most() -> None:
    total = psutil.virtual_memory().total
    assert 0 < memory.free_bytes(torch.device("cpu")) <= total


def test_every_group_around_the_process_limits_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = tmp_path / "groups"
    group(groups / "slurm" / "job_7" / "step_0", "max", 10)
    group(groups / "slurm" / "job_7", "1000", 400, inactive=100)
    group(groups / "slurm", "5000", 400)
    rooms = memory._group_rooms(groups, own(tmp_path, "1:name=x:/old\n0::/slurm/job_7/step_0\n"))
    assert list(rooms) == [700, 4600]
    monkeypatch.setattr(memory, "_group_rooms", lambda: iter([700, 4600]))
    assert memory.free_bytes(torch.device("cpu")) == 700


def test_a_full_group_has_no_room_and_one_without_files_no_limit(tmp_path: Path) -> None:
    groups = tmp_path / "groups"
    group(groups / "a", "1000", 1200)
    assert list(memory._group_rooms(groups, own(tmp_path, "0::/a\n"))) == [0]
    assert list(memory._group_rooms(groups, own(tmp_path, "0::/b\n"))) == []
    assert list(memory._group_rooms(groups, own(tmp_path, "4:memory:/a\n"))) == []
    assert list(memory._group_rooms(groups, tmp_path / "absent")) == []


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_has_less_once_something_is_held() -> None:
    device = torch.device("cuda")
    before = memory.free_bytes(device)
    held = torch.empty(2**26, device=device)
    assert memory.free_bytes(device) <= before - held.numel() * 4 + 2**21
