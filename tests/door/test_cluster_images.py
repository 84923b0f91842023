from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import spectral_bench as sb
from spectral_bench.bench.predict.cluster import common_size, upright_size
from spectral_bench.bench.predict.images import Wanted, predict
from spectral_bench.common.errors import ConfigError, DataError, StoreError
from spectral_bench.results.store import Store

SIZES = ((70, 96), (96, 70), (64, 128), (110, 75))


def draw(path: Path, size: tuple[int, int], seed: int, **options: Any) -> None:
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 255, (size[0] // 8 + 1, size[1] // 8 + 1, 3), dtype=np.uint8)
    Image.fromarray(blocks.repeat(8, 0).repeat(8, 1)[: size[0], : size[1]]).save(path, **options)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for index, size in enumerate(SIZES):
        draw(folder / f"photo{index}.png", size, index)
    return folder


@pytest.fixture(scope="module")
def masks(photos: Path) -> sb.ClusteredImages:
    return sb.cluster_images(photos, "kmeans", 4, size=64)


def test_each_image_has_a_mask_of_its_own_size_under_its_name(masks: sb.ClusteredImages, photos: Path) -> None:
    assert list(masks) == ["photo0", "photo1", "photo2", "photo3"]
    assert [mask.shape for mask in masks.values()] == list(SIZES)
    assert masks.paths["photo2"] == photos / "photo2.png"
    assert masks.n_clusters == 4
    assert masks.failed_checks == ()
    seen = np.unique(np.concatenate([mask.ravel() for mask in masks.values()]))
    assert seen.dtype == np.int64
    assert set(seen) <= set(range(4))
    assert len(seen) > 1


def test_what_is_saved_is_what_is_given(masks: sb.ClusteredImages, tmp_path: Path) -> None:
    written = masks.save(tmp_path / "out")
    assert [path.name for path in written[:2]] == ["photo0.png", "photo0_overlay.jpg"]
    assert [path.name for path in written[-3:]] == ["contact_sheet.jpg", "legend.csv", "settings.json"]
    assert all(path.is_file() for path in written)
    assert len(masks.save(tmp_path / "bare", overlays=False)) == 4 + 3
    with pytest.raises(StoreError, match=r"bare: holds files already .*, or overwrite=True to write over those of the"):
        masks.save(tmp_path / "bare")
    assert not list((tmp_path / "bare").glob("*_overlay.jpg"))
    assert len(masks.save(tmp_path / "bare", overlays=False, overwrite=True)) == 4 + 3
    for name, mask in masks.items():
        with Image.open(tmp_path / "bare" / f"{name}.png") as image:
            assert image.mode == "P"
            np.testing.assert_array_equal(np.array(image), mask)
    with pytest.raises(ConfigError, match="masks would lie among the images"):
        masks.save(masks.paths["photo0"].parent)


def test_an_image_that_has_gone_is_told_before_anything_is_saved(tmp_path: Path) -> None:
    for name in ("a", "b"):
        draw(tmp_path / f"{name}.png", (64, 64), 0)
    masks = sb.cluster_images(tmp_path, "kmeans", 2, size=64)
    (tmp_path / "b.png").unlink()
    with pytest.raises(DataError, match=r"b\.png"):
        masks.save(tmp_path / "out")
    assert not (tmp_path / "out").exists()


GRID = """
name: photos
protocols: [whole]
defaults:
  dataset: folder:{folder}/data.yaml
  backbone: efficientnet_lite0
  transform: {{resize: {{mode: exact, size: [64, 80]}}}}
  features: {{dtype: float32}}
  seeds: [3]
runs:
  - {{method: kmeans, params: {{k: 4, max_patches: 50}}}}
  - {{method: deep_spectral, params: {{k: 4, segments: 3, published: true}}}}
"""
DATA = """
title: Photos
evaluation_size: [64, 80]
splits:
  train: {images: images, labels: labels}
  val: {images: images, labels: labels}
classes:
  - {name: all, ids: [0]}
"""


def test_the_bits_are_those_of_a_grids_run_whose_fit_bench_predict_applies(photos: Path, tmp_path: Path) -> None:
    """Of a method that draws patches, and of one that looks at each image and at antialiased colours."""
    (tmp_path / "images").symlink_to(photos)
    (tmp_path / "labels").mkdir()
    for index, size in enumerate(SIZES):
        Image.fromarray(np.zeros(size, np.uint8)).save(tmp_path / "labels" / f"photo{index}.png")
    (tmp_path / "data.yaml").write_text(DATA)
    (tmp_path / "grid.yaml").write_text(GRID.format(folder=tmp_path))
    options = {"executor": "inline", "device": "cpu", "threads": torch.get_num_threads()}
    frame = sb.run(tmp_path / "grid.yaml", tmp_path / "store", **options)
    store, files = Store.open(tmp_path / "store"), sorted(photos.iterdir())
    for run_id, method in zip(frame["run_id"], frame["method"], strict=True):
        params = dict(store.fit_record(run_id).spec.params)  # type: ignore[union-attr]
        masks = sb.cluster_images(files, method, params.pop("k"), size=(64, 80), seed=3, device="cpu", **params)
        predict(store, run_id, files, tmp_path / run_id, wanted=Wanted(overlays=False), device="cpu")
        for name, mask in masks.items():
            with Image.open(tmp_path / run_id / f"{name}.png") as stored:
                np.testing.assert_array_equal(mask, np.array(stored), err_msg=f"{method} {name}")
        assert len({int(value) for mask in masks.values() for value in np.unique(mask)}) > 1, method


def test_seeds_decide(photos: Path) -> None:
    def cluster(**options: int) -> np.ndarray:
        found = sb.cluster_images(photos, "kmeans", size=64, **options)
        return np.concatenate([mask.ravel() for mask in found.values()])

    assert np.array_equal(cluster(seed=1), cluster(random_state=1, n_clusters=8))
    assert not np.array_equal(cluster(seed=1), cluster(seed=2))


def test_images_are_seen_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    draw(tmp_path / "turned.png", (64, 96), 0, exif=exif)
    assert upright_size(tmp_path / "turned.png") == (96, 64)
    masks = sb.cluster_images(tmp_path / "turned.png", "kmeans", 2, size=64)
    assert masks["turned"].shape == (96, 64)
    assert masks.size == (96, 64)


@pytest.mark.parametrize(
    ("sizes", "side", "expected"),
    [
        ([(300, 400)] * 3, 150, (150, 200)),
        ([(400, 300)], 150, (200, 150)),
        ([(100, 200), (100, 100), (200, 100)], 64, (64, 64)),
        ([(100, 400), (100, 100)], 50, (50, 100)),
    ],
)
def test_the_common_size_has_the_middle_shape(
    sizes: list[tuple[int, int]], side: int, expected: tuple[int, int]
) -> None:
    assert common_size(sizes, side) == expected


def test_a_size_may_be_an_integer_of_numpy_and_a_backbone_ones_own(photos: Path) -> None:
    own = f"{Path(__file__).parents[2] / 'examples' / 'own_backbone.py'}:ColourPyramid"
    assert sb.cluster_images(photos, "kmeans", 2, size=np.int64(64), backbone=own).size[0] == 64  # type: ignore[arg-type]


def test_strips_want_both_sides_stated() -> None:
    with pytest.raises(ConfigError, match=r"the images are 10 times as long as that; state \(height, width\)"):
        common_size([(10, 100)], 320)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "kmean"}, 'did you mean "kmeans"'),
        ({"backbone": "efficientnet_lite"}, 'did you mean "efficientnet_lite0"'),
        ({"backbone_options": {"weigths": "random"}}, 'did you mean "weights"'),
        ({"segment": 3}, 'did you mean "segments"'),
        ({"method": "kmeans", "k": 65}, "k = 65: expected at most 64, the number of training patches in 4 images"),
        ({"k": 3, "n_clusters": 3}, "give one of them"),
        ({"method": "neuralef", "batch_size": 16}, "batch_size = 16: expected at most the 4 training images"),
        ({"method": "oracle"}, "is fitted with labels"),
        ({"size": 8}, "size: 8; expected the short side"),
        ({"size": (64,)}, r"size: \(64,\); expected the short side"),
        ({"size": ()}, r"size: \(\); expected the short side"),
        ({"size": np.int64(8)}, "expected the short side"),
        ({"backbone": Path("own.py:Mine")}, "backbone: .*; expected a name, or the text path/to/file.py:Class"),
        ({"device": "gpu"}, 'unknown device "gpu"'),
        ({"precision": "float16"}, "expected one of float32, bfloat16"),
    ],
)
def test_wrong_settings_are_told_before_a_backbone_is_loaded(
    options: dict[str, Any], message: str, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spectral_bench.bench.predict.cluster.fresh_features", None)
    with pytest.raises(ConfigError, match=message) as caught:
        sb.cluster_images(photos, **{"size": 64, **options})
    assert "\n" not in str(caught.value)


def test_wrong_images_are_told_before_a_backbone_is_loaded(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spectral_bench.bench.predict.cluster.fresh_features", None)
    (tmp_path / "empty").mkdir()
    (tmp_path / "photo0.png").write_bytes(b"no image")
    whole = (photos / "photo1.png").read_bytes()
    (tmp_path / "torn.png").write_bytes(whole[: len(whole) // 2] + whole[-12:])
    for images, message in (
        ([], "no images"),
        (tmp_path / "gone", "gone: no such image"),
        (tmp_path / "empty", "holds no image"),
        (tmp_path / "photo0.png", "photo0.png: cannot be read as an image"),
        (tmp_path / "torn.png", "torn.png: cannot be read as an image"),
        ([photos, tmp_path / "photo0.png"], "has the same stem"),
        (np.zeros((2, 8, 8, 3)), "images: ndarray; expected a folder"),
        ([photos, 3], "images: int; expected a folder"),
    ):
        with pytest.raises(DataError, match=message):
            sb.cluster_images(images)
