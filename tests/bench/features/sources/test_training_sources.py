import inspect

import pytest
import torch

from spectral_bench.bench.features import open_training_source
from spectral_bench.bench.features import source as opening
from spectral_bench.common.errors import ConfigError, DataError, RunInterrupted, StoreError
from spectral_bench.methods.interface import PatchSource
from spectral_bench.results.specification import BackboneSpec, Features, FitSpec, Resize, TrainingData, Transform

BACKBONE = BackboneSpec(name="test_vit", options={"weights": "random", "seed": 1}, weights="random-1")
CROPS = Transform(scale=(0.5, 1.5), crop=32, flip=True, photometric=True)
PLAIN = Transform()
CACHE = Features(dtype="float32")
ONLINE = Features(mode="online")


def make_spec(transform=PLAIN, features=CACHE, seed=0, backbone=BACKBONE):
    data = TrainingData(dataset="fake", transform=transform)
    return FitSpec(data=data, features=features, backbone=backbone, method="kmeans", seed=seed)


def open_(spec, images, how, **changes):
    return open_training_source(spec, images=images, **{"ids": images.ids, **how, **changes})


def no_backbone():
    raise AssertionError("the backbone is not needed")


def tensors(batch):
    return (*batch.features, batch.pixels)


def same(one, other) -> bool:
    pairs = zip(tensors(one), tensors(other), strict=True)
    return one.image_ids == other.image_ids and one.crops == other.crops and all(torch.equal(a, b) for a, b in pairs)


def same_all(one, other) -> bool:
    one, other = list(one), list(other)
    return len(one) == len(other) > 0 and all(map(same, one, other))


MODES = [
    pytest.param(PLAIN, CACHE, id="cache"),
    pytest.param(CROPS, Features(dtype="float32", views=2), id="views"),
    pytest.param(PLAIN, ONLINE, id="online"),
    pytest.param(CROPS, ONLINE, id="crops"),
]


def test_sources_offer_all_that_methods_may_ask_for():
    for name, member in vars(PatchSource).items():
        if not name.startswith("_") or name == "__len__":
            found = inspect.getattr_static(opening.TrainingSource, name)
            assert isinstance(found, type(member)), name
            if inspect.isfunction(member):
                assert list(inspect.signature(found).parameters) == list(inspect.signature(member).parameters)


@pytest.mark.parametrize(("transform", "features"), MODES)
class TestEveryMode:
    def test_sizes(self, transform, features, make_images, how):
        source = open_(make_spec(transform, features), make_images(5), how)
        rows, columns = source.grid
        assert source.image_ids == tuple(f"image{i}" for i in range(5))
        assert source.channels == (64, 64, 64)
        assert len(source) == 5
        assert source.n_patches == 5 * rows * columns
        assert [source.n_batches(size) for size in (1, 2, 3, 5, 6)] == [5, 2, 1, 1, 0]

    def test_batches_are_full_shuffled_and_of_float32(self, transform, features, make_images, how):
        source = open_(make_spec(transform, features), make_images(5), how)
        batches = list(source.batches(0, 2))
        assert [len(batch) for batch in batches] == [2, 2]
        assert all(batch.grid == source.grid for batch in batches)
        assert all(tensor.dtype == torch.float32 for batch in batches for tensor in tensors(batch))
        seen = [name for batch in batches for name in batch.image_ids]
        assert len(set(seen)) == 4
        orders = {tuple(b.image_ids for b in source.batches(epoch, 1)) for epoch in range(4)}
        assert len(orders) > 1

    def test_the_same_seed_gives_the_same_batches(self, transform, features, make_images, how):
        spec = make_spec(transform, features)
        one, other = (open_(spec, make_images(5), how) for _ in range(2))
        assert same_all(one.batches(1, 2), other.batches(1, 2))
        assert same_all(one.batches(1, 2), one.batches(1, 2))

    def test_another_seed_gives_another_order(self, transform, features, make_images, how):
        one, other = (open_(make_spec(transform, features, seed), make_images(8), how) for seed in (0, 1))
        ids = [[batch.image_ids for batch in source.batches(0, 1)] for source in (one, other)]
        assert sorted(ids[0]) == sorted(ids[1])
        assert ids[0] != ids[1]

    def test_an_epoch_can_be_taken_up_in_the_middle(self, transform, features, make_images, how):
        source = open_(make_spec(transform, features), make_images(7), how)
        assert same_all(list(source.batches(2, 2))[1:], source.batches(2, 2, start=1))
        assert list(source.batches(2, 2, start=3)) == []

    def test_workers_and_inference_batch_do_not_matter(self, transform, features, make_images, how, tmp_path):
        spec = make_spec(transform, features)
        one = open_(spec, make_images(5), how)
        changes = {"workers": 2, "inference_batch": 1, "folder": tmp_path / "other"}
        other = open_(spec, make_images(5), how, **changes)
        assert same_all(one.batches(3, 2), other.batches(3, 2))
        assert same_all(one.images(), other.images())

    def test_images_pass_in_order_one_by_one(self, transform, features, make_images, how):
        source = open_(make_spec(transform, features), make_images(3), how)
        batches = list(source.images())
        assert [batch.image_ids for batch in batches] == [("image0",), ("image1",), ("image2",)]
        assert same_all(batches, source.images())

    def test_a_subsample_consists_of_patches_of_epoch_0(self, transform, features, make_images, how):
        source = open_(make_spec(transform, features), make_images(4), how)
        shots = {batch.image_ids[0]: batch for batch in source.batches(0, 1)}
        sample = source.subsample(7)
        assert all(len(tensor) == 7 for tensor in (*sample.features, sample.pixels, sample.position))
        keys = [(int(i), *map(int, p)) for i, p in zip(sample.image_index, sample.position, strict=True)]
        assert len(set(keys)) == 7
        assert keys == sorted(keys)
        for number, (image, row, column) in enumerate(keys):
            batch = shots[source.image_ids[image]]
            assert torch.equal(sample.pixels[number], batch.pixels[0, row, column])
            for level, target in zip(sample.features, batch.features, strict=True):
                assert torch.equal(level[number], target[0, row, column])

    def test_subsamples_are_seeded(self, transform, features, make_images, how):
        images = make_images(4)
        one, other = (open_(make_spec(transform, features, seed), images, how) for seed in (0, 1))
        assert torch.equal(one.subsample(6).features[1], one.subsample(6).features[1])
        places = [torch.column_stack([s.image_index, s.position]) for s in (one.subsample(6), other.subsample(6))]
        assert not torch.equal(*places)

    def test_a_large_subsample_is_everything(self, transform, features, make_images, how):
        source = open_(make_spec(transform, features), make_images(3), how)
        sample = source.subsample(10**6)
        assert len(sample.pixels) == source.n_patches
        assert sample.image_index.bincount().tolist() == [source.n_patches // 3] * 3

    def test_statistics_are_those_of_epoch_0(self, transform, features, make_images, how):
        source = open_(make_spec(transform, features), make_images(4), how)
        rows = source.subsample(source.n_patches)
        statistics = source.statistics()
        for mean, std, level in zip(statistics.mean, statistics.std, rows.features, strict=True):
            torch.testing.assert_close(mean, level.mean(0), rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(std, level.std(0, correction=0), rtol=1e-4, atol=1e-5)
        assert source.statistics() is statistics


def test_cached_and_online_features_are_the_same_where_nothing_is_drawn(make_images, how):
    cached, online = (open_(make_spec(PLAIN, features), make_images(4), how) for features in (CACHE, ONLINE))
    assert same_all(cached.batches(1, 2), online.batches(1, 2))
    assert same_all(cached.images(), online.images())


def test_half_precision_stays_within_its_rounding(make_images, how):
    exact, half = (
        open_(make_spec(PLAIN, features), make_images(2), how) for features in (CACHE, Features(dtype="float16"))
    )
    for one, other in zip(exact.images(), half.images(), strict=True):
        for a, b in zip(tensors(one), tensors(other), strict=True):
            assert ((a - b).abs() <= a.abs() * 2**-11 + 2**-24).all()


def test_epochs_take_turns_with_cached_views(make_images, how):
    source = open_(make_spec(CROPS, Features(dtype="float32", views=2)), make_images(4), how)

    def crops(epoch):
        return {batch.image_ids[0]: batch.crops[0] for batch in source.batches(epoch, 1)}

    assert crops(0) == crops(2) != crops(1) == crops(3)


def test_cached_views_are_shared_by_all_seeds(make_images, how):
    features = Features(views=2)
    open_(make_spec(CROPS, features, 0), make_images(3), how)
    source = open_(make_spec(CROPS, features, 7), make_images(3), how, backbone=no_backbone)
    assert source.reused
    assert len(list(how["folder"].glob("*/meta.json"))) == 1


def test_online_crops_are_drawn_afresh_each_epoch(make_images, how):
    images = make_images(3)
    sources = [open_(make_spec(CROPS, ONLINE, seed), images, how) for seed in (0, 1)]
    drawn = {batch.crops[0] for source in sources for epoch in range(3) for batch in source.batches(epoch, 1)}
    assert len(drawn) == 2 * 3 * 3


def test_online_images_are_whole_whatever_is_drawn(make_sized_images, how):
    images = make_sized_images({"a": (48, 64), "b": (64, 48)})
    source = open_(make_spec(CROPS, ONLINE), images, how)
    assert [batch.grid for batch in source.images()] == [(3, 4), (4, 3)]
    assert all(not batch.crops[0].flip for batch in source.images())


def test_an_online_subsample_reads_only_the_images_it_needs(make_images, how):
    images = make_images(30)
    source = open_(make_spec(PLAIN, ONLINE), images, how)
    images.reads.clear()
    sample = source.subsample(2)
    assert len(images.reads) == len(sample.image_index.unique()) <= 2


def test_long_online_passes_can_be_stopped_but_batches_are_left_to_the_method(make_images, how):
    source = open_(make_spec(PLAIN, ONLINE), make_images(4), how, should_stop=lambda: True)
    for long in (source.statistics, lambda: source.subsample(5)):
        with pytest.raises(RunInterrupted, match="after 0 of"):
            long()
    assert len(list(source.batches(0, 2))) == 2


@pytest.mark.parametrize("features", [CACHE, ONLINE])
def test_images_of_different_sizes_are_refused(features, make_sized_images, how):
    images = make_sized_images({"a": (48, 64), "b": (48, 64), "c": (64, 48), "d": (32, 32)})
    with pytest.raises(DataError, match=r"training images a .* and c .* differ in size.*transform\.resize"):
        for _ in open_(make_spec(PLAIN, features), images, how).subsample(10**6).features:
            pass
    assert not list(how["folder"].glob("*/meta.json"))
    for transform in (Transform(resize=Resize(mode="exact", size=(48, 48))), Transform(crop=48)):
        assert len(open_(make_spec(transform, features), images, how).subsample(10**6).pixels) == 4 * 9


def test_a_cache_of_unequal_images_made_by_an_evaluation_is_refused_for_training(make_sized_images, how):
    from spectral_bench.bench.features import open_view_features
    from spectral_bench.results.specification import View

    images = make_sized_images({"a": (48, 64), "b": (64, 48)})
    view = View(dataset="fake", split="train")
    open_view_features(view, backbone_spec=BACKBONE, features=CACHE, images=images, ids=images.ids, **how)
    with pytest.raises(DataError, match=r"training images a .* and b .* differ in size"):
        open_(make_spec(), images, how, backbone=no_backbone)


def test_a_random_size_needs_a_crop(make_images, how):
    with pytest.raises(ConfigError, match=r"transform\.scale: \[0\.5, 2\.0\].*set transform\.crop"):
        open_(make_spec(Transform(scale=(0.5, 2.0))), make_images(2), how)


def test_a_complete_cache_needs_no_backbone_and_no_image(make_images, how):
    open_(make_spec(), make_images(3), how)
    images = make_images(3)
    source = open_(make_spec(), images, how, backbone=no_backbone)
    assert source.reused
    assert len(list(source.batches(0, 3))) == 1
    assert images.reads == []


def test_changed_data_are_extracted_again(make_images, how):
    open_(make_spec(), make_images(3), how)
    images = make_images(3)
    images.version = "2"
    assert not open_(make_spec(), images, how).reused


def test_a_corrupt_image_leaves_no_cache(make_images, how):
    images = make_images(4)
    images.broken.add("image2")
    with pytest.raises(DataError, match=r"image2\.png"):
        open_(make_spec(), images, how, workers=2)
    assert not list(how["folder"].glob("*/*"))


def test_a_stop_while_extracting_leaves_no_cache_and_the_next_call_starts_again(make_images, how):
    seen = []
    with pytest.raises(RunInterrupted):
        open_(make_spec(), make_images(4), how, should_stop=lambda: seen.append(1) or len(seen) > 2)
    assert not list(how["folder"].glob("*/*"))
    assert len(open_(make_spec(), make_images(4), how)) == 4


def test_progress_is_reported_while_the_cache_is_written(make_images, how):
    seen = []
    open_(make_spec(), make_images(4), how, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_limit_is_checked_before_extraction(make_images, how):
    planned = 4 * 3 * 4 * (3 * 64 + 3) * 4
    images = make_images(4)
    with pytest.raises(StoreError, match=r"would take 37\.4 kB, more than the limit of 37\.4 kB"):
        open_(make_spec(), images, how, cache_limit=planned - 1, backbone=no_backbone)
    open_(make_spec(), images, how, cache_limit=planned)
