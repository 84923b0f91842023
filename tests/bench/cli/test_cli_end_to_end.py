"""The command line with real runs, as small as they can be: from a grid to tables, masks and a report."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cli_lab import Bench
from PIL import Image

from spectral_bench.results.store import Store

ROOT = Path(__file__).parents[3]
GRID = """\
name: tiny
note: as small as can be
defaults: {subset: 6, eval_subset: 3}
runs:
  - {method: kmeans, params: {k: 4, iterations: 3}}
  - method: neuralef
    params: &psi {k: 4, steps: 2, batch_size: 2, neighbours: 8, depth: 1, heads: 1, head_width: 8, mlp_width: 8}
  - {method: neuralef_kmeans, params: *psi}
"""


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "bench", *map(str, arguments)]


def in_a_process(cwd: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, cwd=cwd, env=environment(), timeout=500, check=False
    )


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def files(out: Path) -> dict[str, bytes]:
    """What the records of a store hold."""
    records = out / "records"
    return {str(path.relative_to(records)): path.read_bytes() for path in records.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_from_a_grid_to_tables_masks_and_a_report(bench: Bench, tmp_path: Path) -> None:
    """The first launch and one look at it as processes, as people start them; the rest in this one."""
    (tmp_path / "g.yaml").write_text(GRID)
    first = in_a_process(tmp_path, "run", "--grid", "g.yaml", "--out", "o", "--jobs", "2", "--threads", "1")
    assert first.returncode == 0, first.stderr
    assert "tiny: 3 runs: 3 new" in first.stdout
    assert "| configuration" in first.stdout
    before = files(tmp_path / "o")

    again = bench("run", "--grid", "g.yaml", "--out", "o")
    assert (again.code, files(tmp_path / "o")) == (0, before)
    assert "tiny: 3 runs: 3 done" in again.out

    inline = ("run", "--grid", "g.yaml", "--out", "o", "--executor", "inline", "--threads", "1")
    more = bench(*inline, "--set", "seeds=[0, 1]", "--set", "protocols=[whole, centre320]")
    assert more.code == 0, more.err
    after = files(tmp_path / "o")
    fits = [name for name in before if name.endswith(("fit.json", "fit.safetensors"))]
    assert {name: after[name] for name in fits} == {name: before[name] for name in fits}
    assert len([name for name in after if name.endswith("fit.json")]) == 6

    plan = json.loads(bench("plan", "--grid", "g.yaml", "--out", "o", "--json").out)
    assert plan["counts"] == {"done": 3}
    assert all(cache["present"] for cache in plan["caches"])
    status = json.loads(in_a_process(tmp_path, "status", "--out", "o", "--json").stdout)
    assert {run["state"] for run in status} == {"done"}

    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    run_id = next(run["run_id"] for run in status if run["run_id"].startswith("neuralef-"))
    predicted = bench("predict", run_id, "a.png", "--to", "masks", "--out", "o")
    assert predicted.code == 0, predicted.err
    mask = np.asarray(Image.open(tmp_path / "masks" / "a.png"))
    assert mask.shape == (40, 56)
    assert mask.max() < 4

    report = bench("report", "--out", "o", "--all", "report")
    assert report.code == 0, report.err
    assert (tmp_path / "report" / "index.html").is_file()


@pytest.mark.slow
def test_a_corrupt_image_is_bad_input_and_the_other_runs_go_on(bench: Bench, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for stem in "abc":
            image = tmp_path / "data" / "camvid" / split / f"{stem}.png"
            label = tmp_path / "data" / "camvid" / f"{split}annot" / f"{stem}.png"
            for path in (image, label):
                path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (36, 48, 3), dtype=np.uint8)).save(image)
            Image.fromarray(rng.integers(0, 12, (36, 48), dtype=np.uint8)).save(label)
    broken = tmp_path / "data" / "camvid" / "val" / "b.png"
    data = bytearray(broken.read_bytes())
    data[300:400] = bytes(100)  # header and length are sound, the pixels are not
    broken.write_bytes(bytes(data))
    (tmp_path / "g.yaml").write_text(
        "defaults: {dataset: camvid, params: {k: 4}}\n"
        "runs:\n  - {method: kmeans}\n  - {method: kmeans, dataset: synthetic, subset: 4, eval_subset: 2}\n"
    )
    result = bench("run", "--grid", "g.yaml", "--out", "o", "--data-root", "data", "--executor", "inline")
    errors = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert result.code == 2
    assert any("val/b.png" in line for line in errors)
    assert "Traceback" not in result.err
    status = json.loads(bench("status", "--out", "o", "--json").out)
    assert sorted(run["state"] for run in status) == ["done", "failed"]


@pytest.mark.slow
def test_ctrl_c_leaves_a_valid_store_and_says_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "g.yaml").write_text(GRID.replace("steps: 2", "steps: 4000").replace("subset: 6", "subset: 6"))
    arguments = ["run", "--grid", "g.yaml", "--out", "o", "--threads", "1"]
    process = subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment()
    )
    out = tmp_path / "o"
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and not any(
        '"fit"' in path.read_text() for path in out.glob("records/neuralef-*/progress.json")
    ):
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=600)
    assert process.returncode == 1
    assert "left; go on with:" in stdout
    assert "--grid g.yaml --out o" in stdout
    assert "Traceback" not in stderr
    Store.open(out).load_all(verify=True)
    states = {run["state"] for run in json.loads(in_a_process(tmp_path, "status", "--out", "o", "--json").stdout)}
    assert "running" not in states
    assert "interrupted" in states
