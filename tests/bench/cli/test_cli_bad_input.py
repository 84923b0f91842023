"""Bad input that reaches the command line: exit code 2, one clear line, no traceback, nothing written."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cli_lab import Bench, Result
from PIL import Image
from plan_lab import SMALL, Lab

from spectral_bench.bench.cli.preflight import check_data
from spectral_bench.datasets.interface import DataRoots

CAMVID = "{name: c, defaults: {dataset: camvid}, runs: [{method: kmeans, params: {k: 8}}]}"


def refused(result: Result, *says: str, lines: int = 1) -> None:
    assert result.code == 2
    assert result.out == ""
    assert len(result.errors) == lines, result.err
    assert all(line.startswith("error: ") for line in result.errors)
    assert "Traceback" not in result.err
    for text in says:
        assert text in result.err


@pytest.mark.parametrize("command", ["plan", "run"])
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("runs: [{method: kmeans}]\nrnus: 1", 'g.yaml:2: rnus: unknown key "rnus"; did you mean "runs"? valid: ablate'),
        ("runs:\n  - {method: kmaens}", 'g.yaml:2: runs[0].method: unknown method "kmaens"; did you mean "kmeans"?'),
        ("runs: [{method: kmeans, dataset: camvd}]", 'unknown data set "camvd"; did you mean "camvid"?'),
        ("runs: [{method: kmeans, backbone: efficientnet_lite}]", "unknown backbone"),
        ("runs: [{method: kmeans, protocols: [hole]}]", 'unknown protocol "hole"; did you mean "whole"?'),
        ("runs: [{method: kmeans, params: {kk: 1}}]", 'unknown parameter of kmeans "kk"'),
        ("runs: [{method: kmeans, params: {k: many}}]", "runs[0].params.k: kmeans: k = 'many'"),
        ("runs: [{method: kmeans, params: {k: -1}}]", "runs[0].params.k: kmeans: k = -1"),
        ("runs: [{method: kmeans}, {method: kmeans}]", "g.yaml:1: runs[1]: the same run as runs[0] on "),
        ("runs: [{method: kmeans", "not valid YAML"),
        ("runs: []", "the grid has no runs"),
        (f"name: {'n' * 400}\nruns: [{{method: kmeans}}]", "g.yaml:1: name: expected a name of at most 100 letters"),
        ("runs: [{method: kmeans, params: {k: 400}, subset: 2}]", "runs[0].params.k: k = 400: expected at most 384"),
        ("", "the grid is empty"),
    ],
)
def test_a_bad_grid(bench: Bench, lab: Lab, command: str, text: str, says: str) -> None:
    grid = lab.write(text)
    refused(bench(command, "--grid", grid, "--out", lab.out), says)
    assert not lab.out.exists()


def test_all_faults_of_a_grid_are_said_at_once(bench: Bench, lab: Lab) -> None:
    grid = lab.write("runs:\n  - {method: a}\n  - {method: b}\n  - {method: kmeans, dataset: c}\n")
    refused(bench("run", "--grid", grid, "--out", lab.out), ":2: ", ":3: ", ":4: ", lines=3)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--set", "epohs=1"], '--set epohs=1: unknown key or parameter "epohs"'),
        (["--set", "seeds"], "--set seeds: expected key=value"),
        (["--set", "seeds=[0, 0]"], "the seed 0 stands here twice"),
        (["--data-root", "nowhere"], "--data-root nowhere: no such folder"),
        (["--cache-limit", "many"], '--cache-limit: expected a size such as 50GB or 800MB, got "many"'),
        (["--cache-limit", "1kB"], "the feature caches of the plan take"),
        (["--device", "gpu"], '--device: unknown device "gpu"; valid: auto, cpu, cuda, cuda:N'),
        (["--device", "cuda:99"], 'device "cuda:99"'),
        (["--executor", "lcal"], '--executor: unknown executor "lcal"; did you mean "local"?'),
        (["--executor", "inline", "--jobs", "2"], "--jobs 2: the executor inline carries out one run at a time"),
        (["--gpus", "0,0"], '--gpus: expected different devices such as 0,1, got "0,0"'),
        (["--gpus", "0", "--jobs", "2"], "--jobs 2: more than the 1 device of --gpus 0"),
        (["--gpus", "0", "--device", "cpu"], "--gpus 0: each run sees one GPU only, as cuda:0, but its device is cpu"),
        (["--gpus", "0", "--executor", "inline"], "--gpus 0: the executor inline hands out no GPUs"),
        (["--gpus", "97,98"], "--gpus 97,98: CUDA does not find the GPU 97 on this machine; see bench doctor"),
    ],
)
def test_a_bad_option_of_run(bench: Bench, lab: Lab, options: list[str], says: str) -> None:
    refused(bench("run", "--grid", lab.write(SMALL), "--out", lab.out, *options), says)
    assert not lab.out.exists()


@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_path_that_records_cannot_hold(bench: Bench, lab: Lab, tmp_path: Path, command: str) -> None:
    grid, odd = lab.write(SMALL), tmp_path / "st\udcffore"
    refused(bench(command, "--grid", grid, "--out", odd), "st\\udcffore: this path is no UTF-8")
    assert not odd.exists()
    odd.mkdir()
    refused(bench(command, "--grid", grid, "--out", lab.out, "--data-root", odd), "--data-root", "is no UTF-8")


def test_a_missing_data_root(bench: Bench, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = lab.write(CAMVID)
    refused(bench("run", "--grid", grid, "--out", lab.out), "camvid: no data root is given (--data-root, $BENCH_DATA")
    monkeypatch.setenv("BENCH_DATA", str(lab.folder / "nowhere"))
    refused(bench("run", "--grid", grid, "--out", lab.out), f"no such folder: {lab.folder}/nowhere/camvid")
    assert not lab.out.exists()


def test_a_plan_needs_no_data(bench: Bench, lab: Lab) -> None:
    assert bench("plan", "--grid", lab.write(CAMVID), "--out", lab.out).code == 0


def broken(root: Path, kind: str) -> str:
    """Break a data set; returns the file that the error must name."""
    folder = root / "camvid"
    if kind == "image without label":
        (folder / "valannot" / "a.png").unlink()
        return "val/a.png"
    if kind == "label without image":
        (folder / "valannot" / "c.png").write_bytes((folder / "valannot" / "b.png").read_bytes())
        return "valannot/c.png"
    if kind == "label of another size":
        Image.fromarray(np.zeros((30, 48), dtype=np.uint8)).save(folder / "valannot" / "b.png")
        return "valannot/b.png"
    (folder / "val").rename(folder / "elsewhere")
    return "camvid/val"


@pytest.mark.parametrize(
    "kind", ["image without label", "label without image", "label of another size", "missing split"]
)
def test_a_broken_data_set_is_refused_before_anything_runs(
    bench: Bench, lab: Lab, camvid: Callable[..., Path], kind: str
) -> None:
    root = camvid()
    named = broken(root, kind)
    result = bench("run", "--grid", lab.write(CAMVID), "--out", lab.out, "--data-root", root)
    refused(result, named)
    assert not lab.out.exists()


def test_training_asks_for_no_labels(lab: Lab, camvid: Callable[..., Path]) -> None:
    root = camvid()
    (root / "camvid" / "trainannot" / "b.png").unlink()
    check_data(lab.plan(CAMVID), DataRoots((root,)))


def test_several_broken_files_are_counted(bench: Bench, lab: Lab, camvid: Callable[..., Path]) -> None:
    root = camvid()
    for kind in ("image without label", "label without image", "label of another size"):
        broken(root, kind)
    result = bench("run", "--grid", lab.write(CAMVID), "--out", lab.out, "--data-root", root)
    refused(result, "(and 2 more; see bench data verify)")


def test_a_fit_is_not_refused_for_what_is_wrong_with_labels(
    bench: Bench, lab: Lab, camvid: Callable[..., Path]
) -> None:
    root = camvid()
    (root / "camvid" / "trainannot" / "a.png").unlink()
    grid = lab.write(CAMVID)
    assert bench("run", "--grid", grid, "--out", lab.out, "--data-root", root, "--dry-run").code == 0
    (root / "camvid" / "train" / "a.png").write_bytes(b"no image")
    refused(bench("run", "--grid", grid, "--out", lab.out, "--data-root", root, "--dry-run"), "train/a.png")


def test_finished_runs_need_no_data(bench: Bench, lab: Lab) -> None:
    for run in lab.plan(CAMVID).runs:
        lab.finish(run.spec, run.views, code={})
    assert bench("run", "--grid", lab.write(CAMVID), "--out", lab.out).code == 0


@pytest.mark.parametrize("command", ["plan", "run", "status", "report"])
def test_a_store_of_a_newer_release(bench: Bench, lab: Lab, command: str) -> None:
    lab.out.mkdir()
    (lab.out / "store.json").write_text(json.dumps({"kind": "results", "schema_version": 99}))
    grid = ["--grid", lab.write(SMALL)] if command in ("plan", "run") else []
    refused(bench(command, *grid, "--out", lab.out), "store.json", "schema 99")
    assert [path.name for path in lab.out.iterdir()] == ["store.json"]


@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_folder_that_is_no_store(bench: Bench, lab: Lab, command: str) -> None:
    lab.out.mkdir()
    (lab.out / "thesis.tex").write_text("x")
    refused(bench(command, "--grid", lab.write(SMALL), "--out", lab.out), str(lab.out))
    assert [path.name for path in lab.out.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("command", [["status"], ["report"], ["predict", "x", "y.png", "--to", "z"]])
def test_no_store_yet(bench: Bench, lab: Lab, command: list[str]) -> None:
    refused(bench(*command, "--out", lab.out), f"{lab.out}: expected a store of results")
    assert not lab.out.exists()


def test_a_crf_without_its_package(bench: Bench, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    text = "{protocols: [{name: c, extends: whole, view: {crf: {}}}], runs: [{method: kmeans}]}"
    refused(bench("run", "--grid", lab.write(text), "--out", lab.out), "install the extra crf")


def test_weights_other_than_the_stores(bench: Bench, lab: Lab) -> None:
    lab.store.lock_weights("efficientnet_lite0", "0123456789abcdef")
    result = bench("run", "--grid", lab.write(SMALL), "--out", lab.out)
    assert result.code == 2
    assert result.errors[-1].startswith("error: ")
    assert "use another store for other weights" in result.err
    assert not lab.store.manifests()
    assert not lab.store.runs()
