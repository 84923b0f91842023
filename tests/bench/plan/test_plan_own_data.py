"""A user's own images are counted and measured at planning: what is asked of them is checked as of any data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from plan_lab import Lab

from spectral_bench.bench.plan.today import CurrentData
from spectral_bench.common.documents.problems import InvalidDocument
from spectral_bench.datasets.folder import FolderDataSet
from spectral_bench.datasets.interface import DataRoots

OWN = "{title: Own, splits: {train: {images: t, labels: t}, val: {images: v, labels: v}}, classes: {0: a, 1: b}%s}"


def images(folder: Path, count: int, sizes: Sequence[tuple[int, int]] = ((64, 96),)) -> None:
    """Grey images of two values, that are their own labels."""
    folder.mkdir()
    for index in range(count):
        height, width = sizes[index % len(sizes)]
        Image.fromarray(np.full((height, width), index % 2, np.uint8)).save(folder / f"{index}.png")


@pytest.fixture
def own(lab: Lab) -> Lab:
    """Eight images to train on, of 4 x 6 patches each, and six to evaluate."""
    images(lab.folder / "t", 8)
    images(lab.folder / "v", 6)
    (lab.folder / "own.yaml").write_text(OWN % "")
    return lab


def refused(lab: Lab, run: str) -> list[str]:
    """What is wrong with a run, without the path of the grid and of the description."""
    with pytest.raises(InvalidDocument) as caught:
        lab.plan(f"defaults: {{dataset: 'folder:own.yaml'}}\nruns:\n  - {{{run}}}\n", data=CurrentData(DataRoots()))
    lines = (line.removeprefix(f"{lab.folder}/g.yaml:3: ") for line in caught.value.problems)
    return [line.replace(f"folder:{lab.folder}/own.yaml", "own") for line in lines]


@pytest.mark.parametrize(
    ("run", "fault"),
    [
        (
            "method: kmeans, params: {k: 193}",
            "params.k: k = 193: expected at most 192, the number of training patches in 8 images (of own train)",
        ),
        (
            "method: neuralef, params: {k: 4}",
            "params: batch_size = 16: expected at most the 8 training images (of own train)",
        ),
        ("method: kmeans, subset: 9", "subset: own train has 8 images only"),
        ("method: kmeans, eval_subset: 7", "eval_subset: own val has 6 images only"),
        (
            "method: kmeans, params: {k: 25}, subset: 1",
            "params.k: k = 25: expected at most 24, the number of training patches in 1 images "
            "(of own train with subset: 1)",
        ),
        (
            "method: kmeans, params: {k: 4}, protocols: [{name: p, view: {split: train, subset: 9}, scoring: {}}]",
            "protocols[0].view.subset: 9 images are more than the 8 of own train",
        ),
        (
            "method: kmeans, params: {k: 4}, "
            "protocols: [{name: p, view: {}, scoring: {fit_split: train, label_budget: 9}}]",
            "protocols[0].scoring.label_budget: 9 images are more than the 8 of own train",
        ),
    ],
)
def test_what_own_data_is_too_small_for_is_refused_at_its_line(own: Lab, run: str, fault: str) -> None:
    assert refused(own, run) == [f"runs[0].{fault}"]


def test_sizes_that_a_description_or_a_transform_gives_need_no_image(own: Lab) -> None:
    (own.folder / "own.yaml").write_text(OWN % ", evaluation_size: [32, 32]")
    assert "at most 32, " in refused(own, "method: kmeans, params: {k: 33}")[0]
    assert "at most 128, " in refused(own, "method: kmeans, params: {k: 129}, transform: {crop: 64}")[0]


def test_a_short_side_is_taken_from_the_images(own: Lab) -> None:
    resize = "{resize: {mode: short_side, short_side: 32}}"  # 32 x 48: 2 x 3 patches
    assert "at most 48, " in refused(own, f"method: kmeans, params: {{k: 49}}, transform: {resize}")[0]


def test_nothing_is_said_of_patches_in_images_of_several_sizes(lab: Lab) -> None:
    """Their sum is not that of the first times their number; a fit refuses them for their sizes."""
    images(lab.folder / "t", 8, ((32, 32), (64, 64)))
    images(lab.folder / "v", 1)
    (lab.folder / "own.yaml").write_text(OWN % "")
    grid = "defaults: {dataset: 'folder:own.yaml'}\nruns: [{method: kmeans, params: {k: 40}}]\n"
    assert len(lab.plan(grid, data=CurrentData(DataRoots())).runs) == 1
    assert "at most the 8 training images" in refused(lab, "method: neuralef, params: {k: 4000}")[0]


def test_data_that_is_not_at_hand_is_planned_unchecked(lab: Lab) -> None:
    (lab.folder / "own.yaml").write_text(OWN % "")
    grid = "defaults: {dataset: 'folder:own.yaml'}\nruns: [{method: kmeans, params: {k: 4000}, subset: 100}]\n"
    assert len(lab.plan(grid, data=CurrentData(DataRoots())).runs) == 1


@pytest.mark.parametrize("more", ["", ", stride: 16"])
def test_features_that_were_computed_elsewhere_are_checked_alike(own: Lab, more: str) -> None:
    for split in ("t", "v"):
        (own.folder / "files" / split).mkdir(parents=True)
    for name, split, count in (("train", "t", 8), ("val", "v", 6)):
        (own.folder / "files" / split).rename(own.folder / "files" / name)
        for index in range(count):
            np.save(own.folder / "files" / name / f"{index}.npy", np.zeros((4, 6, 3), np.float32))
    files = f"backbone: mine, features: {{mode: files, root: 'files/{{split}}'{more}}}"
    assert "at most 192, " in refused(own, f"method: kmeans, params: {{k: 193}}, {files}")[0]
    assert "at most the 8 training images" in refused(own, f"method: neuralef, {files}")[0]
    assert refused(own, f"method: kmeans, subset: 9, {files}") == ["runs[0].subset: own train has 8 images only"]


def test_a_missing_folder_of_features_is_said_at_its_root_not_at_protocols(own: Lab) -> None:
    (own.folder / "files" / "train").mkdir(parents=True)
    np.save(own.folder / "files" / "train" / "0.npy", np.zeros((4, 6, 3), np.float32))
    files = "backbone: mine, features: {mode: files, root: 'files/{split}'}"
    (line,) = refused(
        own, f"method: kmeans, params: {{k: 2}}, {files}, protocols: [whole, {{name: w, extends: whole}}]"
    )
    assert line == f"runs[0].features.root: {own.folder}/files/val: no such folder; there: train"
    (own.folder / "files" / "train").rename(own.folder / "gone")
    lines = refused(own, f"method: kmeans, params: {{k: 4}}, {files}")
    assert [line.partition(": ")[0] for line in lines] == ["runs[0].features.root"] * 2


def test_rows_of_a_grid_read_the_headers_of_images_once(own: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    header = FolderDataSet.image_size

    def telling(self: FolderDataSet, path: Path) -> tuple[int, int]:
        read.append(path.name)
        return header(self, path)

    monkeypatch.setattr(FolderDataSet, "image_size", telling)
    rows = "\n".join(f"  - {{method: kmeans, params: {{k: {1000 + row}}}}}" for row in range(5))
    with pytest.raises(InvalidDocument) as caught:
        own.plan(f"defaults: {{dataset: 'folder:own.yaml'}}\nruns:\n{rows}\n", data=CurrentData(DataRoots()))
    assert len(caught.value.problems) == 5
    assert sorted(read) == sorted(f"{index}.png" for index in range(8))


def test_misfits_of_an_own_method_that_raise_are_told(own: Lab) -> None:
    (own.folder / "mine.py").write_text(
        "from spectral_bench.methods.kmeans import KMeans\n\n\n"
        "class Mine(KMeans):\n"
        "    class Params(KMeans.Params):\n"
        "        k: int | None = None\n"
    )
    (fault,) = refused(own, "method: 'mine.py:Mine'")
    assert "mine.py:Mine: its parameters' misfits raised TypeError: " in fault
