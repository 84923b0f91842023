from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "plan"))  # for plan_lab

from cli_lab import Bench, FakeExecutor, Launcher, Result
from plan_lab import SMALL, Lab

from spectral_bench.bench.work.order import Execution
from spectral_bench.results.store import Store


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    """Runs one command in this process, in an empty folder."""
    from spectral_bench.bench.cli.commands import run_command_line

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_DATA", raising=False)

    def call(*arguments: object) -> Result:
        texts = [str(argument) for argument in arguments]
        monkeypatch.setattr(sys, "argv", ["checkout/bench/__main__.py", *texts])
        capsys.readouterr()
        code = run_command_line(texts)
        out, err = capsys.readouterr()
        return Result(code, out, err)

    return call


@pytest.fixture
def camvid(tmp_path: Path) -> Callable[..., Path]:
    """Writes a data root with a tiny CamVid: two images and labels a split."""

    def write(root: str = "data") -> Path:
        rng = np.random.default_rng(0)
        for split in ("train", "val"):
            for stem in ("a", "b"):
                image = tmp_path / root / "camvid" / split / f"{stem}.png"
                label = tmp_path / root / "camvid" / f"{split}annot" / f"{stem}.png"
                for path in (image, label):
                    path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 256, (36, 48, 3), dtype=np.uint8)).save(image)
                Image.fromarray(rng.integers(0, 12, (36, 48), dtype=np.uint8)).save(label)
        return tmp_path / root

    return write


@pytest.fixture
def launch(bench: Bench, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Launcher:
    """Runs a grid; returns how it ended and the executor, whose list tells what was carried out."""

    def call(text: str = SMALL, *options: object, **endings: Any) -> tuple[Result, FakeExecutor]:
        made: list[FakeExecutor] = []

        def make(execution: Execution, store: Store, jobs: int | None, gpus: tuple[str, ...]) -> FakeExecutor:
            made.append(FakeExecutor(store, endings))
            return made[0]

        monkeypatch.setattr("spectral_bench.bench.cli.run.make_executor", make)
        result = bench("run", "--grid", lab.write(text), "--out", lab.out, *options)
        return result, made[0] if made else FakeExecutor(lab.store)

    return call
