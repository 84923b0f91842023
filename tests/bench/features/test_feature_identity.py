import pytest

from spectral_bench.bench.features.cache.meta import cache_request, planned_by_first, used_weights
from spectral_bench.bench.features.recipes import WholeRecipe, WindowRecipe
from spectral_bench.common.errors import DataError
from spectral_bench.results.specification import BackboneSpec, Features, Resize

RANDOM = {"weights": "random", "seed": 1}
WHOLE = WholeRecipe(Resize())


def request(work, backbone, **changes):
    arguments = {"source": {"dataset": "fake", "split": "val", "subset": None}, "limit": 10**6} | changes
    return cache_request(work, WHOLE, backbone, Features(), **arguments)


def test_options_left_at_their_default_do_not_change_the_key(make_images, make_work):
    work = make_work(make_images(2))
    one = request(work, BackboneSpec(name="test_vit", options={"weights": "random"}))
    other = request(work, BackboneSpec(name="test_vit", options={"weights": "random", "seed": 0}, weights="random-0"))
    assert one.key == other.key
    assert one.channels == (64, 64, 64)
    assert one.ids == ("image0", "image1")


def test_data_weights_and_split_change_the_key(make_images, make_work):
    work = make_work(make_images(2))
    spec = BackboneSpec(name="test_vit", options=RANDOM)
    keys = {
        request(work, spec).key,
        request(work, spec, source={"dataset": "fake", "split": "train", "subset": None}).key,
        request(work, spec, source={"dataset": "other", "split": "val", "subset": None}).key,
        request(work, spec, source={"dataset": "fake", "split": "val", "subset": 1}).key,
        request(work, BackboneSpec(name="test_vit", options=RANDOM | {"seed": 2})).key,
        request(work, BackboneSpec(name="efficientnet_lite0")).key,
    }
    assert len(keys) == 6


def test_how_much_room_there_is_does_not(make_images, make_work):
    work = make_work(make_images(2))
    spec = BackboneSpec(name="test_vit", options=RANDOM)
    assert request(work, spec, limit=1).key == request(work, spec).key


def test_weights_other_than_planned_are_refused(make_images, make_work):
    work = make_work(make_images(1))
    planned = BackboneSpec(name="test_vit", options=RANDOM, weights="random-1")
    assert used_weights(planned, work) == "random-1"
    with pytest.raises(DataError, match=r"planned with weights 0123456789abcdef; this machine has random-1"):
        used_weights(planned.model_copy(update={"weights": "0123456789abcdef"}), work)


def test_weights_known_from_the_plan_need_not_be_here(make_images, make_work, monkeypatch):
    monkeypatch.setattr("spectral_bench.bench.features.cache.meta.weights_digest", lambda name, options: None)
    spec = BackboneSpec(name="test_vit.r160_in1k", weights="0123456789abcdef")
    assert used_weights(spec, make_work(make_images(1))) == "0123456789abcdef"


def test_weights_that_are_not_here_are_fetched_to_be_known(make_images, make_work, monkeypatch):
    answers = [None, "fedcba9876543210"]
    monkeypatch.setattr("spectral_bench.bench.features.cache.meta.weights_digest", lambda name, options: answers.pop(0))
    assert used_weights(BackboneSpec(name="test_vit.r160_in1k"), make_work(make_images(1))) == "fedcba9876543210"
    monkeypatch.setattr("spectral_bench.bench.features.cache.meta.weights_digest", lambda name, options: None)
    with pytest.raises(DataError, match="file cannot be found"):
        used_weights(BackboneSpec(name="test_vit.r160_in1k"), make_work(make_images(1)))


def test_planned_bytes_take_the_first_image_for_all(make_sized_images, make_work):
    work = make_work(make_sized_images({"a": (48, 64), "b": (480, 640)}))
    spec = BackboneSpec(name="test_vit", options=RANDOM)
    assert planned_by_first(work, WHOLE, spec, "float16") == 2 * 12 * 195 * 2
    assert planned_by_first(work, WindowRecipe(Resize(), 32, 16), spec, "float16") == 2 * 6 * 4 * 195 * 2


def test_other_weights_under_the_same_name_change_the_key(make_images, make_work, monkeypatch):
    work, keys = make_work(make_images(1)), set()
    for weights in ("0123456789abcdef", "fedcba9876543210"):
        monkeypatch.setattr(
            "spectral_bench.bench.features.cache.meta.weights_digest", lambda name, options, w=weights: w
        )
        keys.add(request(work, BackboneSpec(name="efficientnet_lite0")).key)
    assert len(keys) == 2
