import pytest
import torch

from spectral_bench.bench.features import open_training_source, open_view_features
from spectral_bench.bench.features.pipeline import extract
from spectral_bench.common.errors import ConfigError, DataError, RunInterrupted
from spectral_bench.datasets.transforms import apply_crop, centre_crop, window_crops
from spectral_bench.results.specification import BackboneSpec, Features, FitSpec, Resize, TrainingData, Transform, View

BACKBONE = BackboneSpec(name="test_vit", options={"weights": "random", "seed": 1})
EXACT = Resize(mode="exact", size=(40, 56))
FLOAT32 = Features(dtype="float32")


def open_(images, how, features=FLOAT32, backbone_spec=BACKBONE, **view):
    spec = View(dataset="fake", split="val", **view)
    return open_view_features(
        spec, backbone_spec=backbone_spec, features=features, images=images, ids=images.ids, **how
    )


def no_backbone():
    raise AssertionError("the backbone is not needed")


def test_whole_images(make_sized_images, how):
    images = make_sized_images({"a": (48, 64), "b": (70, 33)})
    view = open_(images, how)
    first, second = view
    assert view.image_ids == ("a", "b")
    assert len(view) == 2
    assert (first.image_id, first.original, first.frame, first.cover) == ("a", (48, 64), (48, 64), (48, 64))
    assert (second.original, second.frame, second.cover) == ((70, 33), (70, 33), (80, 48))
    assert second.patches.grid == (5, 3)
    assert len(second.patches) == 1


def test_resized_images(make_images, how):
    (item,) = open_(make_images(1, (100, 90)), how, resize=EXACT)
    assert (item.original, item.frame, item.cover) == ((100, 90), (40, 56), (48, 64))


@pytest.mark.parametrize("features", [FLOAT32, Features(mode="online")])
def test_windows_hold_the_features_of_their_crops(make_images, how, tiny, features):
    images = make_images(2, (60, 90))
    for item in open_(images, how, features, resize=EXACT, window=32, stride=16):
        crops = window_crops(40, 56, 32, 16)
        assert item.patches.crops == crops
        assert item.frame == (40, 56)
        assert item.cover == (32, 32)
        pixels = [apply_crop(images.image(item.image_id), crop, tiny.fill) for crop in crops]
        expected = extract(tiny, pixels, [item.image_id] * len(crops), crops)
        assert torch.equal(item.patches.pixels, expected.pixels)
        for level, target in zip(item.patches.features, expected.features, strict=True):
            assert torch.equal(level, target)


def test_a_centre_crop(make_images, how):
    (item,) = open_(make_images(1, (60, 90)), how, resize=Resize(mode="short_side", short_side=40), centre_crop=36)
    assert item.frame == (40, 60)
    assert item.patches.crops == (centre_crop(40, 60, 36),)
    assert item.cover == (48, 48)


def test_cached_and_computed_features_are_the_same(make_sized_images, how):
    images = make_sized_images({"a": (48, 64), "b": (70, 33), "c": (48, 64)})
    for one, other in zip(open_(images, how), open_(images, how, Features(mode="online")), strict=True):
        assert (one.image_id, one.original, one.frame, one.cover) == (
            other.image_id,
            other.original,
            other.frame,
            other.cover,
        )
        pairs = zip(
            (*one.patches.features, one.patches.pixels), (*other.patches.features, other.patches.pixels), strict=True
        )
        assert all(torch.equal(a, b) for a, b in pairs)


def test_a_view_can_be_gone_through_again(make_images, how):
    view = open_(make_images(3), how)
    assert [item.image_id for item in view] == [item.image_id for item in view] == ["image0", "image1", "image2"]


def test_a_complete_cache_needs_no_backbone(make_images, how):
    assert not open_(make_images(2), how).reused
    view = open_(make_images(2), {**how, "backbone": no_backbone})
    assert view.reused
    assert len(list(view)) == 2


def test_online_views_write_nothing(make_images, how):
    view = open_(make_images(2), how, Features(mode="online"))
    assert len(list(view)) == 2
    assert not view.reused
    assert not how["folder"].exists()


def test_training_and_evaluation_share_the_cache_of_whole_images(make_images, how):
    images = make_images(3)
    data = TrainingData(dataset="fake", split="val", transform=Transform(resize=EXACT))
    spec = FitSpec(data=data, features=FLOAT32, backbone=BACKBONE, method="kmeans")
    open_training_source(spec, images=images, ids=images.ids, **how)
    assert open_(images, {**how, "backbone": no_backbone}, resize=EXACT).reused


@pytest.mark.parametrize(
    "change",
    [
        {"window": 32, "stride": 16},
        {"centre_crop": 32},
        {"resize": EXACT},
        {"subset": 2},
        {"backbone_spec": BackboneSpec(name="test_vit", options={"weights": "random", "seed": 2})},
        {"features": Features(dtype="float16")},
    ],
)
def test_whatever_changes_the_features_has_a_cache_of_its_own(make_images, how, change):
    images = make_images(2)
    open_(images, how)
    assert not open_(images, how, **change).reused
    assert open_(images, {**how, "backbone": no_backbone}).reused


def test_scoring_and_labels_do_not_touch_the_cache(make_images, how):
    open_(make_images(2), how)
    assert open_(make_images(2), {**how, "backbone": no_backbone}, label_resize=True).reused


def test_a_native_network_covers_just_its_crop(make_images, how):
    name = "vit_xsmall_patch16_clip_224"
    from spectral_bench.bench.features.backbones import load_backbone

    options = {"weights": "random"}
    native = load_backbone(name, options, "cpu")
    spec = BackboneSpec(name=name, options=options)
    (item,) = open_(make_images(1, (50, 70)), {**how, "backbone": lambda: native}, backbone_spec=spec)
    assert item.cover == (50, 70)
    assert item.patches.grid == (14, 14)


def test_contradictions_and_stops_are_raised(make_images, how):
    with pytest.raises(ConfigError, match="exclude each other"):
        open_(make_images(1), how, window=32, centre_crop=32)
    with pytest.raises(RunInterrupted):
        open_(make_images(2), {**how, "should_stop": lambda: True})
    assert not list(how["folder"].glob("*/*"))


@pytest.mark.parametrize("features", [FLOAT32, Features(mode="online")])
def test_one_image_can_be_looked_at_alone(make_images, how, features):
    view = open_(make_images(3, (60, 90)), how, features, resize=EXACT, window=32, stride=16)
    for index, item in enumerate(view):
        alone = view.at(index)
        assert (alone.image_id, alone.original, alone.patches.crops) == (
            item.image_id,
            item.original,
            item.patches.crops,
        )
        torch.testing.assert_close(alone.patches.features[-1], item.patches.features[-1])


def test_features_of_images_that_change_while_they_are_read_are_not_kept(make_images, how):
    images = make_images(3)
    real = images.image

    def replaced(image_id):
        images.version = "2"
        return real(image_id)

    images.image = replaced
    with pytest.raises(DataError, match="images changed while features were extracted"):
        open_(images, how)
    assert not list(how["folder"].glob("*/meta.json"))
    images.image = real
    assert not open_(images, how).reused
