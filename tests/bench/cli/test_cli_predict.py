"""``bench predict`` on a run that was carried out: classes by its own matching, scores, contours, the legend."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from cli_lab import Bench, Result
from PIL import Image

from spectral_bench.bench.features.backbones.network import FrozenNetwork
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.datasets.registry import open_data
from spectral_bench.methods.testing import text_file
from spectral_bench.results.contingency import ContingencyBuilder
from spectral_bench.results.store import Store

Predict = Callable[..., Result]
COLOURS = {"grass": (40, 160, 40), "sky": (120, 170, 250), "brick": (170, 60, 40)}
DATA = """
title: Walls
splits:
  train: {images: pictures, labels: labels}
  val: {images: pictures, labels: labels}
classes:
  - {name: grass, ids: [3], colour: [1, 200, 3]}
  - {name: sky, ids: [5, 6], colour: [4, 5, 200]}
  - {name: brick, ids: [9], colour: [200, 8, 9]}
  - {name: unseen, ids: [11], colour: [10, 11, 12]}
ignore: [0]
"""
GRID = """
name: walls
protocols:
  - whole
  - {name: onetoone, extends: whole, scoring: {matching: hungarian_present}}
  - {name: apiece, extends: whole, scoring: {matching: per_image_hungarian}}
defaults: {dataset: "folder:data.yaml", transform: {resize: {mode: exact, size: [96, 96]}}}
runs: [{method: kmeans, params: {k: 3, scores: distance}}]
"""
IDS = {"grass": 3, "sky": 5, "brick": 9}


@pytest.fixture(scope="module")
def walls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of three bands of colour, labelled; a store in which they are clustered."""
    folder = tmp_path_factory.mktemp("walls")
    rng = np.random.default_rng(0)
    for name in ("pictures", "labels"):
        (folder / name).mkdir()
    for index in range(3):
        order = list(COLOURS)[index:] + list(COLOURS)[:index]
        bands = np.repeat(np.array([COLOURS[name] for name in order]), 32, 0)[:, None].repeat(96, 1)
        noise = rng.integers(-20, 20, bands.shape)
        Image.fromarray((bands + noise).clip(0, 255).astype(np.uint8)).save(folder / "pictures" / f"w{index}.png")
        label = np.repeat(np.array([IDS[name] for name in order], np.uint8), 32)[:, None].repeat(96, 1)
        Image.fromarray(label).save(folder / "labels" / f"w{index}.png")
    (folder / "data.yaml").write_text(DATA)
    (folder / "g.yaml").write_text(GRID)
    return folder


@pytest.fixture
def predict(bench: Bench, walls: Path, tmp_path: Path) -> Predict:
    """Predicts the pictures by the one run of the store, which the first call carries out."""
    if not (walls / "store").exists():
        options = ["--out", walls / "store", "--executor", "inline", "--device", "cpu"]
        assert bench("run", "--grid", walls / "g.yaml", *options).code == 0
    (run_id,) = Store.open(walls / "store").runs()

    def call(*options: object) -> Result:
        given = [run_id, walls / "pictures", "--to", tmp_path / "out", "--out", walls / "store", *options]
        return bench("predict", *given, "--device", "cpu")

    return call


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def legend(folder: Path) -> list[dict[str, str]]:
    with (folder / "legend.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_classes_are_those_of_the_runs_own_matching_and_say_that_labels_gave_them(
    predict: Predict, walls: Path, tmp_path: Path
) -> None:
    assert predict().code == 0
    clusters = {path.stem: read(path) for path in (tmp_path / "out").glob("w?.png")}
    assert {row["cluster"] for row in legend(tmp_path / "out")} == {"0", "1", "2"}
    best = by_iou(clusters, {name: read(walls / "labels" / f"{name}.png") for name in clusters})
    result = predict("--classes", "--overwrite")
    told = (
        "classes by the matching of protocol whole (iou), which uses the labels of folder:data.yaml val: "
        f"{len(set(best.tolist()))} of 4 classes for 3 clusters"
    )
    assert result.out.splitlines()[0] == told
    for name, before in clusters.items():
        np.testing.assert_array_equal(read(tmp_path / "out" / f"{name}.png"), best[before])
    rows = legend(tmp_path / "out")
    assert [(row["name"], row["class"], row["colour"]) for row in rows] == [
        ("grass", "0", "#01c803"),
        ("sky", "1", "#0405c8"),
        ("brick", "2", "#c80809"),
        ("unseen", "3", "#0a0b0c"),
        ("no class", "255", "#000000"),
    ]
    assert {row["matched_by"] for row in rows} == {"labels of folder:data.yaml val, protocol whole (iou)"}
    named = {int(cluster): int(row["class"]) for row in rows for cluster in row["clusters"].split()}
    assert named == dict(enumerate(best.tolist()))


def by_iou(clusters: dict[str, np.ndarray], labels: dict[str, np.ndarray]) -> np.ndarray:
    """The class of largest intersection over union of each of three clusters."""
    found = np.concatenate([clusters[name].ravel() for name in clusters])
    truth = np.concatenate([labels[name].ravel() for name in clusters])
    score = np.zeros((3, 3))
    for cluster in range(3):
        for index, value in enumerate(IDS.values()):
            both, either = (found == cluster) & (truth == value), (found == cluster) | (truth == value)
            score[cluster, index] = both.sum() / either.sum()
    return score.argmax(1)


def test_the_matching_of_another_protocol(predict: Predict) -> None:
    result = predict("--classes", "--protocol", "onetoone")
    assert "protocol onetoone (hungarian_present)" in result.out, result.err
    result = predict("--overwrite", "--classes", "--protocol", "onetwo")
    assert (result.code, 'did you mean "onetoone"?' in result.err) == (2, True)
    result = predict("--overwrite", "--classes", "--protocol", "apiece")
    assert (result.code, "per_image_hungarian gives a cluster another class in each image" in result.err) == (2, True)
    result = predict("--protocol", "whole")
    assert (result.code, "chooses the matching of --classes" in result.err) == (2, True)


def test_the_largest_score_of_a_pixel_is_its_cluster(
    predict: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = predict("--scores", "--no-overlays")
    assert result.out.splitlines()[0].startswith("scores: float32, height x width x 3, the largest being the pixel's")
    assert "a patch has minus the squared distance to each centre" in result.out
    scores = np.load(tmp_path / "out" / "w1_scores.npy")
    assert (scores.shape, scores.dtype) == ((96, 96, 3), np.float32)
    np.testing.assert_array_equal(scores.argmax(-1), read(tmp_path / "out" / "w1.png"))
    assert len(np.unique(scores)) > 1000
    monkeypatch.setattr("spectral_bench.bench.predict.images.shutil.disk_usage", lambda place: SimpleNamespace(free=10))
    result = predict("--scores", "--overwrite")
    assert (result.code, "the scores of 3 images in 3 clusters take 0.0 GB" in result.err) == (2, True)


def test_contours_are_drawn_on_overlays(predict: Predict, tmp_path: Path) -> None:
    def overlay(*options: str) -> np.ndarray:
        assert predict(*options, "--overwrite").code == 0
        return read(tmp_path / "out" / "w0_overlay.jpg")

    white = [int((picture.min(-1) > 190).sum()) for picture in (overlay(), overlay("--contours"))]
    assert white[0] == 0
    assert white[1] > 48
    assert predict("--contours", "--no-overlays").code == 2


def test_masks_hold_words_where_a_text_names_clusters(walls: Path, predict: Predict, tmp_path: Path) -> None:
    network = "vit_xsmall_patch16_clip_224"
    text = text_file(("left", "right", "other"), 512, backbone=network, backbone_weights="random-0")
    given = ("--names", text, "--names-option", "weights=random")
    result = predict(*given, "--no-overlays")
    assert result.code == 0, result.err
    assert "named by text, clusters by their mean features of" in result.out
    assert "no label used" in result.out
    rows = legend(tmp_path / "out")
    assert [row["name"] for row in rows] == ["left", "right", "other", "no class"]
    assert sorted(" ".join(row["clusters"] for row in rows).split()) == ["0", "1", "2"]
    assert "give one of them" in predict(*given, "--classes").err


def test_a_folder_that_holds_files_is_refused_before_any_work(
    predict: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert predict("--scores").code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with monkeypatch.context() as patched:
        patched.setattr("spectral_bench.bench.predict.images.predict", None)
        refused = predict("--classes")
    says = (
        "holds files already (legend.csv, w0.png, w0_overlay.jpg and 7 more); give a folder of its own, or --overwrite"
    )
    assert (refused.code, refused.errors) == (2, [f"error: {out}: {says} to write over those of the same names"])
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    result = predict("--classes", "--overwrite")
    told = "not of this command, and left as they were: w0_scores.npy, w1_scores.npy, w2_scores.npy"
    assert (result.code, result.errors) == (0, [f"warning: {out}: {told}"])
    assert legend(out)[0]["class"] == "0"


SYNTHETIC = """
name: counted
protocols: [{protocol}]
defaults: {{dataset: synthetic, subset: 8, eval_subset: 6, features: {{{features}}}}}
runs: [{{method: kmeans, params: {{k: 12, input: last_l2, scores: distance}}}}]
"""


@pytest.mark.parametrize(
    ("protocol", "features"),
    [
        ("whole", "dtype: float16"),
        ("whole", "dtype: float32"),
        ("whole", "mode: online"),
        ("{name: both, extends: whole, view: {flip: features}}", "dtype: float16"),
    ],
)
def test_masks_of_evaluated_images_are_those_of_the_evaluation(
    bench: Bench, tmp_path: Path, protocol: str, features: str
) -> None:
    (tmp_path / "g.yaml").write_text(SYNTHETIC.format(protocol=protocol, features=features))
    assert bench("run", "--grid", "g.yaml", "--out", "o", "--executor", "inline", "--device", "cpu").code == 0
    store = Store.open(tmp_path / "o")
    (run_id,) = store.runs()
    (view_id,) = store.load_run(run_id).evaluations
    counted = store.contingency(run_id, view_id)
    data = open_data("synthetic", DataRoots())
    images, labels = data.images("val"), data.labels("val")
    (tmp_path / "photos").mkdir()
    for name in counted.image_ids:
        Image.fromarray(images.image(name)).save(tmp_path / "photos" / f"{name}.png")
    # One image and all others: what else is looked at decides nothing.
    alone = tmp_path / "photos" / f"{counted.image_ids[0]}.png"
    for given, out in ((alone, "one"), ("photos", "all")):
        result = bench("predict", run_id, given, "--to", out, "--out", "o", "--device", "cpu", "--no-overlays")
        assert result.code == 0, result.err
    assert (tmp_path / "one" / alone.name).read_bytes() == (tmp_path / "all" / alone.name).read_bytes()
    builder = ContingencyBuilder(counted.n_clusters, counted.n_labels)
    for name in counted.image_ids:
        builder.add(name, read(tmp_path / "all" / f"{name}.png").astype(np.int64), labels.label(name))
    assert builder.build() == counted


def test_features_that_the_cache_of_the_run_could_not_hold_are_refused(
    predict: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of, name = FrozenNetwork.features, "features"
    monkeypatch.setattr(FrozenNetwork, name, lambda network, images: tuple(1e6 * one for one in of(network, images)))
    result = predict()
    says = "error: image w0: its features are beyond float16, as which the run's own are kept"
    assert (result.code, result.errors) == (2, [says])
    assert not (tmp_path / "out").exists()
