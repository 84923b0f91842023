"""The embedded default on generated images: what a method sees from a cache and what it sees online."""

import pytest
import torch

from spectral_bench.bench.features import open_training_source, open_view_features, planned_bytes
from spectral_bench.bench.features.backbones import backbone_info, load_backbone
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.datasets.registry import open_data
from spectral_bench.datasets.subset import subset
from spectral_bench.results.specification import BackboneSpec, Features, FitSpec, Resize, TrainingData, Transform, View

BACKBONE = BackboneSpec(name="efficientnet_lite0")
RESIZE = Resize(mode="exact", size=(96, 128))
MODES = {
    "online": Features(mode="online"),
    "float32": Features(dtype="float32"),
    "float16": Features(dtype="float16"),
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    backbone = load_backbone("efficientnet_lite0", {}, "cpu")
    return {
        "backbone": lambda: backbone,
        "folder": tmp_path_factory.mktemp("store") / "features",
        "device": "cpu",
        "workers": 2,
        "inference_batch": 4,
        "cache_limit": 10**9,
        "progress": lambda done, total: None,
        "should_stop": lambda: False,
    }


@pytest.fixture(scope="module")
def batches(settings):
    """The patches of six images, by mode: from a training source and from a view."""
    images = open_data("synthetic", DataRoots()).images("val")
    ids = subset(images.ids, 6)
    data = TrainingData(dataset="synthetic", split="val", subset=6, transform=Transform(resize=RESIZE))
    view = View(dataset="synthetic", split="val", subset=6, resize=RESIZE)
    found = {}
    for name, features in MODES.items():
        spec = FitSpec(data=data, features=features, backbone=BACKBONE, method="kmeans")
        source = open_training_source(spec, images=images, ids=ids, **settings)
        items = open_view_features(view, backbone_spec=BACKBONE, features=features, images=images, ids=ids, **settings)
        found[name] = (list(source.images()), [item.patches for item in items])
    return found


def scores(batch, centres: torch.Tensor) -> torch.Tensor:
    """Minus the squared distance of each patch's last level to each centre, relative to the largest distance."""
    distance = torch.cdist(batch.features[-1].flatten(0, 2).double(), centres).square()
    return -distance / distance.max()


@pytest.fixture(scope="module")
def centres(batches):
    rows = torch.cat([batch.features[-1].flatten(0, 2) for batch in batches["online"][0]]).double()
    return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:16]]


def test_training_and_evaluation_see_the_same(batches):
    for training, evaluation in batches.values():
        for one, other in zip(training, evaluation, strict=True):
            assert one.image_ids == other.image_ids
            assert one.grid == other.grid == (6, 8)
            assert torch.equal(one.features[-1], other.features[-1])


def test_a_cache_in_float32_gives_the_scores_of_computed_features(batches, centres):
    for one, other in zip(batches["online"][1], batches["float32"][1], strict=True):
        assert (scores(one, centres) - scores(other, centres)).abs().max() < 1e-4


def test_half_precision_moves_next_to_no_patch_to_another_cluster(batches, centres):
    moved = total = 0
    for one, other in zip(batches["online"][1], batches["float16"][1], strict=True):
        moved += int((scores(one, centres).argmax(1) != scores(other, centres).argmax(1)).sum())
        total += one.grid[0] * one.grid[1]
        assert (scores(one, centres) - scores(other, centres)).abs().max() < 2e-3
    assert total == 6 * 48
    assert moved <= total * 0.01


def test_caches_take_the_planned_bytes(batches, settings):
    sizes = sorted(
        sum(file.stat().st_size for file in folder.glob("*.bin"))
        for folder in settings["folder"].iterdir()
        if folder.is_dir()
    )
    info = backbone_info("efficientnet_lite0")
    assert sizes == [planned_bytes(6, 1, 96, 128, info, dtype) for dtype in ("float16", "float32")]


def test_high_levels_tell_images_apart_better_than_chance(batches):
    """Features of one texture are alike: a patch's nearest other patch often lies beside it."""
    batch = batches["online"][0][0]
    rows = torch.nn.functional.normalize(batch.features[-1].flatten(0, 2), dim=1)
    similarity = (rows @ rows.T).fill_diagonal_(-1)
    nearest = similarity.argmax(1)
    index = torch.arange(len(rows))
    steps = (index // 8 - nearest // 8).abs() + (index % 8 - nearest % 8).abs()
    assert (steps == 1).float().mean() > 0.5
