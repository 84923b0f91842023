from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from spectral_bench.bench.measure import environment as module
from spectral_bench.bench.measure.environment import environment, usable_cpus, usable_gpus


@pytest.fixture(autouse=True)
def _forget() -> None:
    for cached in (module._git, module._packages, module._cpu_model, module._gpus):
        cached.cache_clear()


def test_is_plain_json_and_says_the_essentials() -> None:
    found = environment()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["packages"]["numpy"] == np.__version__
    assert found["memory"] > 2**28
    assert 1 <= found["usable_cpus"] <= (os.cpu_count() or 1)
    assert found["host"]
    assert {"git", "platform", "cpu", "cores", "threads", "gpus", "cuda", "slurm"} <= found.keys()


def test_every_dependency_is_named() -> None:
    packages = environment()["packages"]
    assert {"torch", "timm", "pydantic", "spectral-segmentation-bench", "pydensecrf2"} <= packages.keys()
    assert "pytest" not in packages


def test_threads_are_those_of_torch_where_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = SimpleNamespace(get_num_threads=lambda: 7, version=SimpleNamespace(cuda="12.8"))
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert (environment()["threads"], environment()["cuda"]) == (7, "12.8")
    monkeypatch.delitem(sys.modules, "torch")
    assert (environment()["threads"], environment()["cuda"]) == (None, None)


class TestGit:
    @pytest.fixture
    def checkout(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(module, "ROOT", tmp_path)
        run = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.org"]
        (tmp_path / "code.py").write_text("1")
        for command in (["init", "-q"], ["add", "code.py"], ["commit", "-q", "-m", "first"]):
            subprocess.run([*run, *command], check=True, capture_output=True)
        return tmp_path

    def test_commit_of_a_clean_checkout(self, checkout: Path) -> None:
        (checkout / "results").mkdir()
        (checkout / "results" / "untracked.txt").touch()
        head = subprocess.run(["git", "-C", checkout, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        assert environment()["git"] == {"commit": head.stdout.strip(), "dirty": False}

    def test_changed_files_make_it_dirty(self, checkout: Path) -> None:
        (checkout / "code.py").write_text("2")
        assert environment()["git"]["dirty"] is True

    def test_no_checkout(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "ROOT", tmp_path)
        assert environment()["git"] == {"commit": None, "dirty": None}

    def test_no_git(self, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")
        assert environment()["git"] == {"commit": None, "dirty": None}


class TestSlurm:
    def test_absent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in [name for name in os.environ if name.startswith("SLURM")]:
            monkeypatch.delenv(name)
        assert environment()["slurm"] is None

    def test_job_of_an_array(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SLURM_JOB_ID", "45")
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
        assert environment()["slurm"]["job_id"] == "45"
        assert environment()["slurm"]["array_task_id"] == "3"


class FakeNvml:
    """A management library with three devices."""

    class NVMLError(Exception):
        pass

    def __init__(self) -> None:
        self.open = 0

    def nvmlInit(self) -> None:
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlSystemGetDriverVersion(self) -> str:
        return "570.1"

    def nvmlDeviceGetCount(self) -> int:
        return 3

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> int:
        if uuid != "GPU-two":
            raise self.NVMLError
        return 2

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return SimpleNamespace(total=(handle + 1) * 10**9)

    def nvmlDeviceGetName(self, handle: int) -> str:
        return f"card {handle}"


class TestGpus:
    @pytest.mark.parametrize(
        ("visible", "expected"),
        [
            (None, ["card 0", "card 1", "card 2"]),
            ("2,0", ["card 2", "card 0"]),
            ("", []),
            ("1,-1,0", ["card 1"]),
            ("9,0", []),
            ("GPU-two", ["card 2"]),
            ("GPU-other, 1", ["card 1"]),
        ],
    )
    def test_those_that_are_visible(
        self, monkeypatch: pytest.MonkeyPatch, visible: str | None, expected: list[str]
    ) -> None:
        nvml = FakeNvml()
        monkeypatch.setitem(sys.modules, "pynvml", nvml)
        if visible is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        gpus = environment()["gpus"]
        assert [gpu["name"] for gpu in gpus] == expected
        assert all(gpu["driver"] == "570.1" and gpu["memory"] % 10**9 == 0 for gpu in gpus)
        assert nvml.open == 0

    def test_no_driver(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pynvml", None)
        assert environment()["gpus"] == []


@pytest.mark.parametrize(("says", "expected"), [('test "$CUDA_VISIBLE_DEVICES" = 3,GPU-b && echo 1', 1), ("exit 1", 0)])
def test_usable_gpus_are_those_that_a_process_restricted_to_them_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, expected: int
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{says}\n")
    python.chmod(0o755)
    monkeypatch.setattr(module.sys, "executable", str(python))
    assert usable_gpus(["3", "GPU-b"]) == expected


def test_usable_cpus_follow_the_affinity() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cpus() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(("limit", "expected"), [(None, 6), (2, 2), (64, 6)])
def test_usable_cpus_follow_the_limits_of_control_groups(
    monkeypatch: pytest.MonkeyPatch, limit: int | None, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)))
    monkeypatch.setattr(module, "processors", lambda: limit)
    assert usable_cpus() == expected


def test_is_cheap_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; from spectral_bench.bench.measure.environment import environment\n"
        "started, opened = [], []\n"
        "seen = {'subprocess.Popen': started, 'open': opened}\n"
        "sys.addaudithook(lambda event, arguments: event in seen and seen[event].append(arguments[0]))\n"
        "environment(); first = len(opened); environment()\n"
        "print(*sorted(started), first, len(opened) - first, 'torch' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    *started, first, second, torch = told
    assert {*started} <= {"git", "uname"}
    assert len(started) <= 3, "each is asked once"
    assert int(first) < 200, "files, most of them of installed packages"
    assert int(second) < 30
    assert torch == "False"
