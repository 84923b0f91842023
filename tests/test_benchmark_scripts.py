"""Scripts that no other test runs, and that are needed where they cannot be mended: on a GPU, or by a reader."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


def lines_of(name: str, *arguments: str) -> list[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / name), *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def test_steps_for_a_gpu_are_those_that_are_trained() -> None:
    lines = lines_of("gpu_steps.py", "--device", "cpu", "--small", "--rounds", "1")
    same = [line for line in lines if "the loss of what can be recorded is that of the step" in line]
    assert len(same) == 4
    assert all(line.endswith("True") for line in same)
    assert sum("steps/s" in line for line in lines) == 2


def test_photographs_are_timed_part_by_part(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for number in range(4):
        values = generator.integers(0, 256, (64, 96, 3), dtype=np.uint8)
        Image.fromarray(values).save(tmp_path / f"{number}.png")
    lines = lines_of("photographs.py", str(tmp_path), "kmeans")
    assert "features of 4 photographs" in "\n".join(lines)
    assert all(float(line.split()[-2]) >= 0 for line in lines)
