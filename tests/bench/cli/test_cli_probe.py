"""``plan --probe`` end to end: real fits on a few generated images, in processes of their own."""

from __future__ import annotations

import json

import pytest
import torch
from cli_lab import Bench
from plan_lab import Lab

from spectral_bench.bench.run.probe import MOST_STEPS

GRID = """\
name: probed
defaults: {subset: 8, eval_subset: 4, seeds: [0, 1]}
runs:
  - {method: kmeans, params: {k: 8}}
  - {method: neuralef, params: {k: 8, batch_size: 2, steps: 2000, depth: 0}}
  - {method: examples/none.py:Broken, params: {}}
"""
BROKEN = '''\
from spectral_bench.methods.kmeans import KMeans


class Broken(KMeans):
    """Fails."""

    def fit(self, patches, *, context):
        raise ValueError("as ever")
'''


@pytest.mark.parametrize("option", [("--device", "cpu"), ("--threads", "2")])
def test_options_of_probes_are_refused_without_any(bench: Bench, lab: Lab, option: tuple[str, str]) -> None:
    result = bench("plan", "--grid", lab.write("runs: [{method: kmeans}]"), "--out", lab.out, *option)
    assert (result.code, result.err) == (2, "error: --device and --threads are for probes; give --probe too\n")


@pytest.mark.slow
def test_data_that_is_not_there_is_said_before_anything_is_measured(bench: Bench, lab: Lab) -> None:
    grid = lab.write("runs: [{method: kmeans, dataset: ade20k}]")
    (lab.folder / "data").mkdir()
    result = bench("plan", "--grid", grid, "--out", lab.out, "--probe", "--data-root", lab.folder / "data")
    assert result.code == 2
    assert "ade20k" in result.err
    assert not lab.out.exists()


@pytest.mark.slow
@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_measured_as_such_and_its_hours_are_told(bench: Bench, lab: Lab) -> None:
    grid = lab.write("{defaults: {subset: 8, eval_subset: 4}, runs: [{method: kmeans, params: {k: 8}}]}")
    result = bench("plan", "--grid", grid, "--out", lab.out, "--probe", "--device", "cuda")
    assert result.code == 0, result.err
    assert "GPU-hours of these: " in result.out
    (run,) = json.loads(bench("plan", "--grid", grid, "--out", lab.out, "--json").out)["runs"]
    assert run["machine"].startswith("GPU ")
    assert run["device_bytes"] > 0


@pytest.mark.slow
def test_rows_are_measured_once_and_kept_for_later_plans(bench: Bench, lab: Lab) -> None:
    (lab.folder / "broken.py").write_text(BROKEN)
    grid = lab.write(GRID.replace("examples/none.py", "broken.py"))
    result = bench("plan", "--grid", grid, "--out", lab.out, "--probe", "--threads", 1, "--json")
    assert result.code == 0, result.err
    assert "measured 2 rows" in result.err
    assert "warning: not measured: Broken" in result.err
    assert "ValueError: as ever" in result.err
    runs = {(run["method"].partition(":")[0], run["seed"]): run for run in json.loads(result.out)["runs"]}
    first, second = runs["neuralef", 0], runs["neuralef", 1]
    # 2000 steps were not made, and are predicted from those that were.
    assert first["basis"] == "probes"
    assert min(first["stages"][stage] for stage in ("fit", "graph", "evaluate")) > 0
    assert first["seconds_low"] < first["seconds"] < first["seconds_high"]
    assert first["bytes"] > 10**8
    assert "features" not in second["stages"]
    assert runs["kmeans", 0]["stages"]["features"] > 0
    assert [run["seconds"] for name, run in runs.items() if "broken" in name[0]] == [None, None]
    assert lab.store.runs() == []
    assert not (lab.out / "probes" / ".scratch").exists()
    assert MOST_STEPS < 2000
    later = json.loads(bench("plan", "--grid", grid, "--out", lab.out, "--json").out)
    assert [run["seconds"] for run in later["runs"]] == [run["seconds"] for run in json.loads(result.out)["runs"]]
    wrong = bench("plan", "--grid", grid, "--out", lab.out, "--probe", "--set", "runs[2].method=kmeanz")
    assert (wrong.code, wrong.out) == (2, "")  # said before anything is measured
    rest = bench(
        "plan", "--grid", lab.write(GRID.rpartition("  - ")[0]), "--out", lab.out, "--probe", "--set", "steps=9000"
    )
    assert "nothing to probe: all that is left was measured before" in rest.out
