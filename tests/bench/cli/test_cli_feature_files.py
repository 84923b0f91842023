"""Features that were computed elsewhere, from a grid to a report."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from cli_lab import Bench

from spectral_bench.bench.features.cache.arrays import FeatureCache
from spectral_bench.bench.features.cache.meta import CacheMeta
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.results.store import Store

GRID = """\
name: {name}
defaults: {{dataset: {dataset}, subset: {subset}, eval_subset: 3, features: {features}, backbone: {backbone}}}
runs:
  - {{method: kmeans, params: {{k: 8, iterations: 5}}}}
  - {{method: nystrom, params: {{k: 8, samples: 300}}}}
  - {{method: deep_spectral, params: {{k: 8}}}}
"""
_ROOTS = os.environ.get("BENCH_DATA", "../shared/data").split(os.pathsep)
CAMVID = [root for root in map(Path.absolute, map(Path, _ROOTS)) if (root / "camvid").is_dir()]
FILES = '{mode: files, root: "export/{split}", levels: [level0, level1, level2]}'


def write_grid(name: str, features: str, backbone: str, dataset: str = "synthetic", subset: int = 6) -> Path:
    path = Path(f"{name}.yaml")
    path.write_text(GRID.format(name=name, features=features, backbone=backbone, dataset=dataset, subset=subset))
    return path


def export(store: Path, folder: Path, dtype: str) -> None:
    """The features of all caches of a store as files: a folder a split and level."""
    for cached in (store / "features").glob("*/meta.json"):
        meta = CacheMeta.model_validate_json(cached.read_bytes())
        cache = FeatureCache(cached.parent, meta, reused=True)
        for number, image in enumerate(meta.images):
            for level, array in enumerate(cache.batch(number).features):
                place = folder / meta.material["source"]["split"] / f"level{level}"
                place.mkdir(parents=True, exist_ok=True)
                np.save(place / f"{image.id}.npy", array[0].numpy().astype(dtype))


def run(bench: Bench, grid: Path, *more: object) -> None:
    done = bench("run", "--grid", grid, "--out", "o", "--executor", "inline", "--threads", "1", *more)
    assert done.code == 0, done.err


def counts(bench: Bench, grid: Path) -> list[str]:
    """The digest of the counts of each run of a grid."""
    runs = json.loads(bench("plan", "--grid", grid, "--out", "o", "--json").out)["runs"]
    records = [Store.open(Path("o")).load_run(one["run_id"]) for one in runs]
    return [record.contingency_sha256 for one in records if one for record in one.evaluations.values()]


def from_files_and_cache(bench: Bench, dtype: str, dataset: str, *more: object, subset: int = 6) -> None:
    cached = write_grid("cached", f"{{dtype: {dtype}}}", "efficientnet_lite0", dataset, subset)
    run(bench, cached, *more)
    export(Path("o"), Path("export"), dtype)
    stored = write_grid("stored", FILES.replace("mode", f"dtype: {dtype}, mode"), "Lite0 of mine", dataset, subset)
    run(bench, stored, *more)
    first, second = counts(bench, cached), counts(bench, stored)
    assert len(first) == 3
    assert first == second


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_scores_from_files_are_those_from_the_cache_to_the_bit(bench: Bench, dtype: str) -> None:
    """Of methods that look at colours, too: pixels are rounded as the cache's of the same dtype are."""
    from_files_and_cache(bench, dtype, "synthetic")


@pytest.mark.slow
@pytest.mark.camvid
@pytest.mark.skipif(not CAMVID, reason="needs the CamVid images below $BENCH_DATA or ../shared/data")
def test_camvid_from_files_is_camvid_from_the_cache_to_the_bit(bench: Bench) -> None:
    from_files_and_cache(bench, "float16", "camvid", "--data-root", CAMVID[0], subset=4)


def made(n: tuple[int, int, int] = (6, 8, 5)) -> None:
    """Features of noise of all images of the generated data."""
    from spectral_bench.datasets.registry import open_data

    rng = np.random.default_rng(0)
    data = open_data("synthetic", DataRoots())
    for split in ("train", "val"):
        for level in range(3):
            folder = Path("export") / split / f"level{level}"
            folder.mkdir(parents=True, exist_ok=True)
            for image_id in data.images(split).ids:
                np.save(folder / f"{image_id}.npy", rng.normal(size=n).astype("f2"))


def test_what_is_wrong_is_told_before_anything_runs(bench: Bench) -> None:
    made()
    grid = write_grid("stored", FILES, "mine")
    gone = sorted(Path("export/val/level0").glob("*.npy"))[:2]
    for path in gone:
        for level in range(3):
            Path(f"export/val/level{level}", path.name).unlink()
    grid.write_text(grid.read_text().replace("eval_subset: 3, ", ""))
    result = bench("run", "--grid", grid, "--out", "o", "--executor", "inline")
    assert result.code == 2
    assert len(result.errors) == 1
    assert f"no features of {gone[0].stem}, {gone[1].stem}: 2 of the " in result.err
    assert " images of synthetic val have none; expected a file" in result.err
    assert not Path("o").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone": '""'}, "expected a title of 1 to 100 printable characters"),
        ({"backbone_options": "{weights: random}"}, "features lie in files, so there is no network that has options"),
        ({"transform": "{crop: 32}"}, "features of files are of whole images, and this transform draws crops"),
        ({"protocols": "[{name: w, view: {window: 32, stride: 32}}]"}, "protocol w: its view has stride, window, and"),
        ({"features": "{mode: files, root: nowhere}"}, "nowhere: no such folder"),
        ({"features": '{mode: files, root: "export/{split}", views: 2}'}, "2 views an image have no meaning here"),
        ({"features": "{mode: files}"}, "mode files needs root"),
        ({"features": '{mode: files, root: "export/{split}", order: cwh}'}, 'unknown value "cwh"'),
        ({"features": '{mode: files, root: "export/{split}", roots: 1}'}, "roots"),
    ],
)
def test_settings_that_cannot_be(bench: Bench, change: dict[str, str], message: str) -> None:
    made()
    keys = {"method": "kmeans", "params": "{k: 4}", "backbone": "mine", "features": FILES} | change
    text = ", ".join(f"{key}: {value}" for key, value in keys.items())
    Path("g.yaml").write_text(f"name: g\nruns:\n  - {{{text}}}\n")
    result = bench("plan", "--grid", "g.yaml", "--out", "o")
    assert result.code == 2
    assert message in result.err
    assert all(line.startswith("error: ") for line in result.errors)


def test_scores_of_files_are_refined_by_their_images(bench: Bench) -> None:
    made()
    keys = "method: kmeans, params: {k: 4}, eval_subset: 2, subset: 6, backbone: mine"
    view = "{extends: whole, name: w, view: {refine: {iterations: 2}}}"
    Path("g.yaml").write_text(f"name: g\nruns:\n  - {{{keys}, features: {FILES}, protocols: [{view}]}}\n")
    run(bench, Path("g.yaml"))
    (planned,) = json.loads(bench("plan", "--grid", "g.yaml", "--out", "o", "--json").out)["runs"]
    record = Store.open(Path("o")).load_run(planned["run_id"])
    assert record is not None
    (evaluation,) = record.evaluations.values()
    assert "pamr" in [cost.stage for cost in evaluation.costs]


def test_features_need_a_title(bench: Bench) -> None:
    made()
    Path("g.yaml").write_text(f"name: g\nruns:\n  - {{method: kmeans, features: {FILES}}}\n")
    result = bench("plan", "--grid", "g.yaml", "--out", "o")
    assert (result.code, "give the features a title, by the key backbone" in result.err) == (2, True)


@pytest.mark.slow
def test_the_life_of_such_runs(bench: Bench) -> None:
    """Known by content, evaluated anew where files of the evaluated split change, reported, not for other images."""
    made()
    grid = write_grid("stored", FILES, '"vit_small_patch16_224.dino"')  # a title, whatever it reads like
    run(bench, grid)
    plan = json.loads(bench("plan", "--grid", grid, "--out", "o", "--json").out)
    assert [one["state"] for one in plan["runs"]] == ["done"] * 3
    assert plan["caches"] == []
    run_id = plan["runs"][0]["run_id"]
    record = Store.open(Path("o")).load_run(run_id)
    assert record is not None
    assert record.fit.spec.backbone.name == "files:vit_small_patch16_224.dino"
    assert "bench.features.from_files" in record.fit.code
    assert not [name for name in record.fit.code if "timm" in name]
    (evaluation,) = record.evaluations.values()
    assert (evaluation.flops_features, evaluation.warnings) == (None, [])
    report = bench("report", "--out", "o").out
    assert "backbone: vit_small_patch16_224.dino" in report
    assert "features.mode = files" in report
    assert str(Path.cwd()) not in report
    # The same files elsewhere are the same run.
    shutil.copytree("export", "copy")
    moved = write_grid("moved", FILES.replace("export", "copy"), '"vit_small_patch16_224.dino"')
    assert [one["state"] for one in json.loads(bench("plan", "--grid", moved, "--out", "o", "--json").out)["runs"]] == [
        "done"
    ] * 3
    # Its own grid asks for it again.
    again = bench("why", run_id, "--out", "o", "--grid")
    assert again.code == 0, again.err
    Path("again.yaml").write_text(again.out)
    (one,) = json.loads(bench("plan", "--grid", "again.yaml", "--out", "o", "--json").out)["runs"]
    assert (one["run_id"], one["state"]) == (run_id, "done")
    # Other features of what is evaluated: the fit stands, and its evaluation is missing.
    array = next(Path("copy/val/level0").glob("*.npy"))
    np.save(array, np.load(array) + 1)
    states = {one["state"] for one in json.loads(bench("plan", "--grid", moved, "--out", "o", "--json").out)["runs"]}
    assert states == {"partial"}
    # Images without features are refused.
    shutil.copy(Path(__file__).parents[3] / "docs" / "images" / "gallery.png", "photo.png")
    masks = bench("predict", run_id, "photo.png", "--to", "masks", "--out", "o")
    assert masks.code == 2
    assert "were computed elsewhere and lie in files, so there are none of other images" in masks.err
    assert not Path("masks").exists()
    # The gallery of a report is made of the files.
    gallery = bench("report", "--out", "o", "--grid", "stored", "--all", "r")
    assert gallery.code == 0, gallery.err
    assert "No panels" not in gallery.out + gallery.err
