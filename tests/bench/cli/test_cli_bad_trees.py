"""Faults of data sets: ``data verify`` lists all of them with their paths, ``run`` stops before it trains."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from cli_lab import Bench
from dataset_trees import SIZE, cityscapes, folder, label_map, labels, pascal_context, photo, random_ids
from PIL import Image
from plan_lab import Lab


def verified(bench: Bench, name: str, root: Path) -> list[str]:
    """The lines that name something below ``root``, after the exit code was seen to be 1."""
    result = bench("data", "verify", name, "--data-root", root, "--all", "--jobs", 2)
    assert result.code == 1
    return [line for line in result.out.splitlines() if line.startswith(str(root))]


def refused(bench: Bench, lab: Lab, root: Path, dataset: str, count: int) -> str:
    """What ``run`` says of a split with ``count`` faults; nothing must have been begun."""
    grid = lab.write(f"runs: [{{method: kmeans, dataset: {dataset}, train_dataset: synthetic, params: {{k: 4}}}}]")
    result = bench("run", "--grid", grid, "--out", lab.out, "--data-root", root)
    assert result.code == 2
    assert not lab.out.exists()
    (line,) = result.errors
    assert (f"(and {count - 1} more; see bench data verify)" in line) == (count > 1)
    return line


def all_are_told(bench: Bench, lab: Lab, root: Path, dataset: str, starts: list[str]) -> None:
    """``verify`` lists each fault once and nothing else; a run is refused with one of them and their number."""
    found = verified(bench, dataset, root)
    assert len(found) == len(starts)
    for start in starts:
        assert sum(line.startswith(start) for line in found) == 1, (start, found)
    assert any(start in refused(bench, lab, root, dataset, 6) for start in starts)


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-30])
    return path


def test_cityscapes(bench: Bench, lab: Lab, tmp_path: Path) -> None:
    root = tmp_path / "data"
    base = cityscapes(root)
    shutil.rmtree(base / "leftImg8bit/val/lindau")
    shutil.rmtree(base / "gtFine/val/lindau")
    masks, images = base / "gtFine/val", base / "leftImg8bit/val"
    truncated = cut(images / "frankfurt/frankfurt_000000_000019_leftImg8bit.png")
    small = labels(masks / "munster/munster_000001_000019_gtFine_labelIds.png", random_ids(0, 33, (24, 32)))
    photo(images / "munster/munster_000001_000019_leftImg8bit.png")
    beyond = labels(masks / "munster/munster_000000_000019_gtFine_labelIds.png", np.full(SIZE, 34))
    twin = photo(images / "munster/frankfurt_000000_000019_leftImg8bit.png")
    starts = [
        f"{images}/lindau: this city of split val is missing",
        f"{masks}/lindau: this city of split val is missing",
        f"{truncated}: cannot be read as an image",
        f"{small}: label of 24 x 32 pixels (height x width), but its image",
        f"{beyond}: label value 34 at row 0, column 0; expected 0 to 33",
        f"{twin}: has the same stem as {truncated}",
    ]
    all_are_told(bench, lab, root, "cityscapes", starts)


def test_pascal_context(bench: Bench, lab: Lab, tmp_path: Path) -> None:
    root = tmp_path / "data"
    voc = pascal_context(root)
    listed, mats, images = voc / "ImageSets/Main/val.txt", voc / "trainval", voc / "JPEGImages"
    listed.write_text(listed.read_text() + "2010_999999\n")
    truncated = cut(images / "2008_010000.jpg")
    inks = photo(images / "2008_010001.jpg", mode="CMYK")
    unnamed = label_map(mats / "2008_010002.mat", random_ids(0, 9), "Labels")
    small = label_map(mats / "2008_010003.mat", random_ids(0, 9, (24, 32)))
    beyond = label_map(mats / "2008_010004.mat", np.full(SIZE, 460))
    starts = [
        f"{images}/2010_999999.jpg: no such file, but {listed} names 2010_999999",
        f"{truncated}: cannot be read as an image",
        f"{inks}: pixels of mode CMYK",
        f"{unnamed}: holds no variable LabelMap; found: Labels",
        f"{small}: label of 24 x 32 pixels (height x width), but its image",
        f"{beyond}: label value 460; expected 0 to 459",
    ]
    all_are_told(bench, lab, root, "pascal_context", starts)


def test_a_label_value_that_is_no_class_stops_a_run_before_it_trains(bench: Bench, lab: Lab, tmp_path: Path) -> None:
    description = folder(tmp_path)
    bad = labels(tmp_path / "mine/masks/b.png", np.full(SIZE, 9))
    grid = lab.write(
        f"runs: [{{method: kmeans, train_dataset: synthetic, dataset: 'folder:{description}', params: {{k: 4}}}}]"
    )
    result = bench("run", "--grid", grid, "--out", lab.out)
    expected = f"expected one of 3, 7, 255, the classes and ignored values of {description}"
    assert (result.code, result.errors) == (2, [f"error: {bad}: label value 9; {expected}"])
    assert not lab.out.exists()


def test_labels_outside_of_the_subset_that_is_evaluated_do_not_matter(bench: Bench, lab: Lab, tmp_path: Path) -> None:
    from spectral_bench.datasets.subset import subset

    description = folder(tmp_path)
    (kept,) = subset("ab", 1)
    labels(tmp_path / f"mine/masks/{'ab'.replace(kept, '')}.png", np.full(SIZE, 9))
    row = f"{{method: kmeans, train_dataset: synthetic, dataset: 'folder:{description}', eval_subset: 1}}"
    assert bench("run", "--grid", lab.write(f"runs: [{row}]"), "--out", lab.out, "--dry-run").code == 0


def test_a_sound_tree_is_counted_against_the_published_numbers(bench: Bench, tmp_path: Path) -> None:
    pascal_context(tmp_path, n=3)
    result = bench("data", "verify", "pascal_context", "--data-root", tmp_path, "--json")
    reports = {report["split"]: report for report in json.loads(result.out)}
    assert result.code == 0
    assert {split: (r["found"], r["official"], r["read"], r["complete"]) for split, r in reports.items()} == {
        "train": (3, 4998, 3, False),
        "val": (3, 5105, 3, False),
    }


def test_data_sets_are_listed_with_what_a_root_holds(bench: Bench, tmp_path: Path) -> None:
    cityscapes(tmp_path)
    listed = {one["name"]: one for one in json.loads(bench("list", "datasets", "--json", "--data-root", tmp_path).out)}
    assert listed["cityscapes"]["held"] == "train, val"
    assert listed["cityscapes"]["splits"] == {"train": 2975, "val": 500}
    assert listed["cityscapes"]["classes"] == ["19", "27"]
    assert listed["ade20k"]["held"] == "no"
    assert listed["pascal_context"]["classes"] == ["59", "60"]
    text = bench("list", "datasets", "--data-root", tmp_path).out
    assert "train 2975, val 500" in text


def test_preparing_pascal_context_goes_on_where_it_stopped(bench: Bench, tmp_path: Path) -> None:
    voc = pascal_context(tmp_path, n=3)
    command = ("data", "prepare", "pascal_context", "--data-root", tmp_path, "--jobs", 2)
    assert bench(*command).out == "pascal_context: 6 files converted\n"
    png = voc / "SegmentationClassContext/2008_010001.png"
    assert Image.open(png).mode == "L"
    png.unlink()
    assert bench(*command).out == "pascal_context: 1 file converted\n"
    assert bench("data", "verify", "pascal_context", "--data-root", tmp_path).code == 0


def test_an_image_replaced_by_one_of_its_size_makes_runs_stale_and_features_anew(
    bench: Bench, lab: Lab, tmp_path: Path
) -> None:
    description = folder(tmp_path)
    for path in (tmp_path / "mine/images").iterdir():
        Image.open(path).save(path.with_suffix(".bmp"))
        path.unlink()
    grid = lab.write(f"runs: [{{method: kmeans, dataset: 'folder:{description}', train_split: val, params: {{k: 4}}}}]")
    inline = ("--grid", grid, "--executor", "inline")
    assert bench("run", *inline, "--out", lab.out).code == 0
    (old,) = (json.loads(path.read_text())["files"] for path in lab.out.glob("features/*/meta.json"))
    image = min((tmp_path / "mine/images").iterdir())
    size, flipped = image.stat().st_size, Image.open(image).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    flipped.save(image)
    assert image.stat().st_size == size
    assert "data changed since" in bench("plan", "--grid", grid, "--out", lab.out).out
    stores = (lab.out, tmp_path / "fresh")
    assert [bench("run", *inline, "--set", "k=5", "--out", store).code for store in stores] == [0, 0]
    here, fresh = (
        [json.loads(path.read_text())["files"] for path in one.glob("features/*/meta.json")] for one in stores
    )
    assert len(here) == 2
    assert old in here
    assert [files for files in here if files != old] == fresh
