"""``bench init``: grids that plan and run as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from cli_lab import Bench
from PIL import Image

from spectral_bench.bench.grid.load import load_grid
from spectral_bench.datasets.registry import data_info, names

LABELLED = [name for name in names() if name not in ("folder", "imagenet")]

DESCRIPTION = """
title: Leaves
splits: {first: {images: pictures, labels: masks}, second: {images: pictures, labels: masks}}
classes: [{name: leaf, ids: [1]}, {name: ground, ids: [0]}]
"""


@pytest.fixture
def leaves(tmp_path: Path) -> Path:
    """A description of three labelled images, whose splits are called neither train nor val."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "my leaves"
    for name in ("pictures", "masks"):
        (folder / name).mkdir(parents=True)
    for stem in "abc":
        Image.fromarray(rng.integers(0, 256, (64, 96, 3), dtype=np.uint8)).save(folder / "pictures" / f"{stem}.png")
        Image.fromarray(rng.integers(0, 2, (64, 96), dtype=np.uint8)).save(folder / "masks" / f"{stem}.png")
    (folder / "leaves.yaml").write_text(DESCRIPTION)
    return folder / "leaves.yaml"


@pytest.mark.parametrize("name", LABELLED)
def test_the_grid_of_each_data_set_is_valid(bench: Bench, name: str, tmp_path: Path) -> None:
    result = bench("init", name, "--to", f"{name}.yaml")
    assert result.code == 0
    assert (f"warning: {name} is not on this machine" in result.err) == (name != "synthetic")
    grid = load_grid(tmp_path / f"{name}.yaml")
    assert {row.settings.dataset for row in grid.rows} == {name}
    assert bench("plan", f"{name}.yaml").code == 0
    comments = (tmp_path / f"{name}.yaml").read_text()
    info = data_info(name)
    assert f"# clusters; the data set has {len(info.class_sets[info.default_classes].classes)} classes" in comments
    assert max(map(len, comments.splitlines())) <= 100


def test_it_is_the_synthetic_data_set_by_default_and_nothing_is_overwritten(bench: Bench, tmp_path: Path) -> None:
    result = bench("init")
    assert result.out == (
        "grid.yaml written; go on with:\n  python -m bench plan grid.yaml\n  python -m bench run grid.yaml\n"
    )
    before = (tmp_path / "grid.yaml").read_bytes()
    again = bench("init", "camvid")
    assert (again.code, again.out) == (2, "")
    assert again.err.startswith("error: grid.yaml: is there already")
    assert (tmp_path / "grid.yaml").read_bytes() == before


def test_subsets_are_stated_where_there_are_more_images(
    bench: Bench, camvid: Callable[..., Path], tmp_path: Path
) -> None:
    bench("init", "camvid")
    here = yaml.safe_load((tmp_path / "grid.yaml").read_text())["defaults"]
    assert (here["subset"], here["eval_subset"]) == (64, 32)
    root = camvid()
    assert bench("init", "camvid", "--to", "two.yaml", "--data-root", root).err == ""
    tiny = yaml.safe_load((tmp_path / "two.yaml").read_text())
    assert "subset" not in tiny["defaults"]
    assert tiny["ablate"]["base"]["params"]["batch_size"] == 2  # of two images


@pytest.mark.parametrize("to", ["camvid.yaml", "grids/camvid.yaml"])
@pytest.mark.parametrize("root", ["some data", "123", "{tmp}/some data"])
def test_the_grid_knows_the_data_roots_that_it_was_made_with(
    bench: Bench, camvid: Callable[..., Path], tmp_path: Path, root: str, to: str
) -> None:
    """So that what is said to go on with finds the data, and what another machine states goes before."""
    given = Path(root.format(tmp=tmp_path))
    camvid(given.name)
    assert bench("init", "camvid", "--to", to, "--data-root", given).code == 0
    dry = bench("run", to, "--dry-run", "--device", "cpu")
    assert (dry.code, dry.err.replace("warning: ", "")[:6]) == (0, "camvid")  # of its two images: fewer than published
    stated = yaml.safe_load(Path(to).read_text())["data_root"]
    assert Path(stated).is_absolute() == given.is_absolute()
    assert bench("init", "synthetic", "--to", "other.yaml", "--data-root", given).code == 0
    assert "data_root" not in Path("other.yaml").read_text()


def test_one_s_own_data_set(bench: Bench, leaves: Path, tmp_path: Path) -> None:
    for number, name in enumerate((f"folder:{leaves}", str(leaves), "my leaves/leaves.yaml")):
        target = tmp_path / "grids" / f"{number}.yaml"
        assert bench("init", name, "--to", target).code == 0
        grid = yaml.safe_load(target.read_text())
        assert grid["name"] == "first-leaves"
        assert grid["defaults"]["dataset"] == "folder:../my leaves/leaves.yaml"
        assert (grid["defaults"]["train_split"], grid["defaults"]["split"]) == ("first", "second")
        assert bench("plan", target).code == 0


@pytest.mark.slow
def test_it_runs_as_it_is(bench: Bench, leaves: Path) -> None:
    bench("init", leaves)
    result = bench("run", "grid.yaml", "--set", "seeds=[0]", "--set", "steps=2", "--set", "k=4", "--executor", "inline")
    assert result.code == 0, result.err
    assert "k-means" in result.out or "kmeans" in result.out
    assert "neuralef" in result.out


def test_images_without_labels_get_a_grid_that_fits_only(bench: Bench, leaves: Path) -> None:
    leaves.write_text("{title: Leaves, splits: {photos: {images: pictures}}}")
    assert bench("init", leaves).err == ""
    text = Path("grid.yaml").read_text()
    grid = yaml.safe_load(text)
    assert grid["protocols"] == []
    assert (grid["defaults"]["train_split"], grid["defaults"].get("split")) == ("photos", None)
    assert [row.settings.method for row in load_grid(Path("grid.yaml")).rows] == ["neuralef", "kmeans"]
    assert max(map(len, text.splitlines())) <= 100
    result = bench("run", "grid.yaml", "--set", "steps=2", "--set", "k=4", "--executor", "inline", "--device", "cpu")
    assert (result.code, result.err) == (0, "")
    assert "first-leaves: 2 rows fit only (protocols: []), so there is nothing to score" in result.out


def test_images_without_labels_that_are_not_here(bench: Bench) -> None:
    result = bench("init", "imagenet")
    assert (result.code, "warning: imagenet is not on this machine" in result.err) == (0, True)
    plan = bench("plan", "grid.yaml")
    assert (plan.code, plan.out.count("fit only")) == (0, 2)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["camvd"], 'unknown data set "camvd"; did you mean "camvid"?'),
        (["pictures"], "pictures: is a folder; a data set of your own is named by a YAML file that describes it"),
        (["pictures"], "bench data init pictures writes one"),
        (["gone.yaml"], "gone.yaml: no such file"),
        (["--to", "grid.txt"], "--to grid.txt: expected the name of a YAML file, such as grid.yaml"),
        (["--to", "file/grid.yaml"], "file: expected a folder, found a file"),
    ],
)
def test_a_bad_use(bench: Bench, tmp_path: Path, arguments: list[str], says: str) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "file").write_text("x")
    before = sorted(tmp_path.rglob("*"))
    result = bench("init", *arguments)
    assert (result.code, result.out) == (2, "")
    assert says in result.err
    assert sorted(tmp_path.rglob("*")) == before
