"""Backbones of one's own from a grid to masks, and the command that checks them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cli_lab import Bench

from spectral_bench.results.store import Store

EXAMPLE = Path(__file__).parents[3] / "examples" / "own_backbone.py"
GRID = """\
name: own
defaults: {subset: 4, eval_subset: 2, seeds: [0], method: kmeans, params: {k: 4, iterations: 2}}
runs:
  - {backbone: "mine.py:ColourPyramid", backbone_options: {reach: 2}}
  - {backbone: "mine.py:ColourPyramid", features: {mode: online}}
"""


def project(folder: Path, text: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "mine.py").write_text((text or EXAMPLE.read_text()).replace("\nimport torch\n", "\nimport torch, aid\n"))
    (folder / "aid.py").write_text("ONE = 1\n")
    (folder / "g.yaml").write_text(GRID)
    return folder


def plan(bench: Bench, folder: Path) -> list[dict[str, Any]]:
    result = bench("plan", "--grid", folder / "g.yaml", "--out", "o", "--json")
    assert result.code == 0, result.err
    found: list[dict[str, Any]] = json.loads(result.out)["runs"]
    return found


def states(bench: Bench, folder: Path) -> list[str]:
    return [run["state"] for run in plan(bench, folder)]


def run(bench: Bench, folder: Path, executor: str, *more: str) -> None:
    done = bench("run", "--grid", folder / "g.yaml", "--out", "o", "--executor", executor, "--threads", "1", *more)
    assert done.code == 0, done.err


def test_a_backbone_of_ones_own_from_a_grid_to_masks(bench: Bench, tmp_path: Path) -> None:
    folder = project(tmp_path / "one")
    first = plan(bench, folder)
    assert [one["state"] for one in first] == ["new", "new"]
    run(bench, folder, "inline")
    assert states(bench, folder) == ["done", "done"]
    store = Store.open(tmp_path / "o")
    record = store.fit_record(first[0]["run_id"])
    assert record is not None
    backbone = record.spec.backbone
    assert (backbone.options, backbone.weights) == ({"reach": 2}, "none")
    assert backbone.known_as.startswith("ColourPyramid:")
    assert backbone.name == f"{folder}/mine.py:ColourPyramid"
    assert {"mine.py", "aid.py"} <= record.code.keys()
    assert (store.path / "weights.json").exists() is False  # its digest is part of the identity, not of a name
    assert "backbone: mine.py:ColourPyramid" in bench("report", "--out", "o").out
    (tmp_path / "photos").mkdir()
    shutil.copy(Path(__file__).parents[3] / "docs" / "images" / "gallery.png", tmp_path / "photos")
    masks = bench("predict", first[0]["run_id"], "photos", "--to", "masks", "--out", "o")
    assert masks.code == 0, masks.err
    assert list((tmp_path / "masks").rglob("*.png"))


def test_it_is_known_by_its_content(bench: Bench, tmp_path: Path) -> None:
    folder = project(tmp_path / "one")
    run(bench, folder, "inline")
    ids = [one["run_id"] for one in plan(bench, folder)]
    copy = shutil.copytree(folder, tmp_path / "two")
    assert states(bench, copy) == ["done", "done"]
    project(copy, f"# a remark\n{EXAMPLE.read_text()}")
    assert states(bench, copy) == ["done", "done"]
    (copy / "aid.py").write_text("ONE = 2\n")
    edited = plan(bench, copy)  # not where the run was made, so another backbone
    assert [one["state"] for one in edited] == ["new", "new"]
    assert not {one["run_id"] for one in edited} & set(ids)
    (folder / "aid.py").write_text("ONE = 2\n")
    stale = plan(bench, folder)
    assert [(one["run_id"], one["state"], one["reason"]) for one in stale] == [
        (run_id, "stale", "code changed since: aid.py") for run_id in ids
    ]


@pytest.mark.slow
def test_edited_code_makes_features_and_runs_of_its_own(bench: Bench, tmp_path: Path) -> None:
    folder = project(tmp_path / "one")
    run(bench, folder, "local")
    ids, caches = [one["run_id"] for one in plan(bench, folder)], set((tmp_path / "o" / "features").iterdir())
    project(folder, EXAMPLE.read_text().replace("colour = network(inputs)", "colour = -network(inputs)"))
    run(bench, folder, "local", "--rerun-stale")
    now = plan(bench, folder)
    assert [one["state"] for one in now] == ["done", "done"]
    assert not {one["run_id"] for one in now} & set(ids)
    made = {path for path in set((tmp_path / "o" / "features").iterdir()) - caches if path.is_dir()}
    assert len(made) == 2  # of the training images, and of those that are evaluated


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("mine.py:ColourPyramid", "gone.py:ColourPyramid", "no such file"),
        ("mine.py:ColourPyramid", "mine.py:Colour", 'did you mean "ColourPyramid"?'),
        ("mine.py:ColourPyramid", "mine.py:BackboneOptions", "is not a backbone: expected a subclass of"),
        ("reach: 2", "reach: 9", "reach = 9: input should be less than or equal to 8"),
        ("reach: 2", "raech: 2", 'did you mean "reach"?'),
    ],
)
@pytest.mark.parametrize("command", ["plan", "run"])
def test_what_is_wrong_is_told_before_work_starts(
    bench: Bench, tmp_path: Path, command: str, old: str, new: str, message: str
) -> None:
    folder = project(tmp_path / "one")
    (folder / "g.yaml").write_text(GRID.replace(old, new, 1))
    result = bench(command, "--grid", folder / "g.yaml", "--out", "o")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"error: {folder / 'g.yaml'}:4")
    assert message in result.err
    assert len(result.err.splitlines()) == 1
    assert not (tmp_path / "o").exists()


class TestCheckBackbone:
    @pytest.mark.slow
    def test_one_that_keeps_all(self, bench: Bench, tmp_path: Path) -> None:
        project(tmp_path)
        result = bench("check-backbone", "mine.py:ColourPyramid", "--set", "reach=2")
        assert result.code == 0, result.out
        assert "mine.py:ColourPyramid: 11 of 11 promises kept on cpu" in result.out

    def test_one_that_breaks_one(self, bench: Bench, tmp_path: Path) -> None:
        broken = EXAMPLE.read_text().replace("colour = network(inputs)", "colour = network(inputs - inputs.mean())")
        project(tmp_path, broken)
        result = bench("check-backbone", "mine.py:ColourPyramid", "--json")
        found = {promise: text for promise, text in json.loads(result.out).items() if text}
        assert result.code == 1
        assert found.keys() == {"batch_size"}
        assert "differ by" in found["batch_size"]

    @pytest.mark.slow
    def test_one_that_does_not_load(self, bench: Bench, tmp_path: Path) -> None:
        project(tmp_path, EXAMPLE.read_text().replace("return nn.AvgPool2d(self.stride)", "raise OSError('no disk')"))
        result = bench("check-backbone", "mine.py:ColourPyramid")
        assert result.code == 1
        assert "bad  load" in result.out
        assert "OSError: no disk" in result.out
        assert "?    levels       cannot be judged: it does not load" in result.out
        assert "3 of 11 promises kept" in result.out

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("mine.py:Colour",), 'did you mean "ColourPyramid"'),
            (("gone.py:Mine",), "no such file"),
            (("efficientnet_lit0",), 'did you mean "efficientnet_lite0"'),
            (("mine.py:ColourPyramid", "--set", "reach=9"), "less than or equal to 8"),
            (("mine.py:ColourPyramid", "--set", "reach"), "--set reach"),
            (("mine.py:ColourPyramid", "--device", "tpu"), "tpu"),
        ],
    )
    def test_bad_input(self, bench: Bench, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
        project(tmp_path)
        result = bench("check-backbone", *arguments)
        assert (result.code, result.out) == (2, "")
        assert message in result.err
        assert len(result.err.splitlines()) == 1


def test_what_its_levels_raise_is_one_line_with_its_place(bench: Bench, tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    first = next(line.strip() for line in text.partition("def levels")[2].splitlines() if " = " in line)
    project(tmp_path / "one", text.replace(first, f"raise OSError('no level')\n        {first}", 1))
    (tmp_path / "photos").mkdir()
    shutil.copy(Path(__file__).parents[3] / "docs" / "images" / "gallery.png", tmp_path / "photos")
    name = f"{tmp_path}/one/mine.py:ColourPyramid"
    given = ["photos", "--to", "m", "--backbone", name, "--size", 64, "--k", 2]
    result = bench("cluster", *given, "--method", "kmeans")
    lines = (tmp_path / "one" / "mine.py").read_text().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if "no level" in text)
    place = f"({tmp_path}/one/mine.py, line {line}); --debug shows the traceback"
    assert (result.code, result.errors) == (1, [f"error: backbone {name}: OSError: no level {place}"])
    assert not (tmp_path / "m").exists()
