import pytest
import torch

from spectral_bench.bench.features.pipeline import equal_grids
from spectral_bench.bench.features.recipes import DrawnRecipe, WholeRecipe, WindowRecipe
from spectral_bench.common.errors import DataError, RunInterrupted
from spectral_bench.results.specification import Resize, Transform

WHOLE = WholeRecipe(Resize())
WINDOWS = WindowRecipe(Resize(), 32, 16)


def levels(work, recipe, indices):
    return [batch for _, batch in work.features(recipe, indices)]


def same(one, other) -> bool:
    tensors = zip((*one.features, one.pixels), (*other.features, other.pixels), strict=True)
    return one.crops == other.crops and one.image_ids == other.image_ids and all(torch.equal(a, b) for a, b in tensors)


@pytest.mark.parametrize("recipe", [WHOLE, WINDOWS, DrawnRecipe(Transform(crop=32, photometric=True), 0, (0, 1))])
def test_results_depend_neither_on_workers_nor_on_the_batch(make_images, make_work, recipe):
    images = make_images(4)
    reference = levels(make_work(images, inference_batch=1), recipe, range(4))
    for workers, size in ((0, 3), (2, 8), (1, 100)):
        found = levels(make_work(images, workers=workers, inference_batch=size), recipe, range(4))
        assert all(same(one, other) for one, other in zip(found, reference, strict=True))


def test_images_come_in_the_order_asked_for(make_images, make_work):
    work = make_work(make_images(5), workers=2, inference_batch=2)
    looks = [look for look, _ in work.features(WHOLE, [3, 0, 4])]
    assert [look.image_id for look in looks] == ["image3", "image0", "image4"]
    assert all(look.original == (48, 64) for look in looks)


def test_all_windows_of_an_image_make_one_batch(make_images, make_work):
    (batch,) = levels(make_work(make_images(1), inference_batch=2), WINDOWS, [0])
    assert len(batch) == len(batch.crops) == 6
    assert batch.grid == (2, 2)
    assert batch.image_ids == ("image0",) * 6


def test_images_of_different_sizes_do_not_share_a_forward_pass(make_sized_images, make_work):
    images = make_sized_images({"a": (32, 32), "b": (48, 32), "c": (48, 32), "d": (32, 32)})
    batches = levels(make_work(images, inference_batch=8), WHOLE, range(4))
    assert [batch.grid for batch in batches] == [(2, 2), (3, 2), (3, 2), (2, 2)]


def test_equal_grids_names_the_first_two_images_that_differ(make_sized_images, make_work):
    images = make_sized_images({"a": (32, 32), "b": (31, 32), "c": (48, 32), "d": (64, 32)})
    stream = equal_grids(make_work(images).features(WHOLE, range(4)))
    assert [next(stream)[0].image_id for _ in range(2)] == ["a", "b"]  # 31 pixels are padded to the same grid
    with pytest.raises(DataError, match=r"a \(2 x 2 patches\) and c \(3 x 2 patches\) differ.*transform\.crop"):
        next(stream)


def test_progress_counts_images(make_images, make_work):
    seen = []
    work = make_work(make_images(4), progress=lambda done, total: seen.append((done, total)))
    assert len(list(work.with_progress(WHOLE))) == 4
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_stop_signal_ends_the_work(make_images, make_work):
    asked = []
    work = make_work(make_images(5), should_stop=lambda: asked.append(1) or len(asked) > 2)
    with pytest.raises(RunInterrupted, match="after 2 of 5 images"):
        list(work.with_progress(WHOLE))


def test_an_unreadable_image_is_named(make_images, make_work):
    images = make_images(3)
    images.broken.add("image1")
    stream = make_work(images, workers=1, inference_batch=1).features(WHOLE, range(3))
    with pytest.raises(DataError, match=r"image1\.png"):
        list(stream)


def test_the_backbone_is_loaded_once_and_only_when_needed(make_images, tiny):
    from spectral_bench.bench.features.pipeline import Extraction

    images, calls = make_images(2), []
    work = Extraction(images, images.ids, lambda: calls.append(1) or tiny)
    assert not calls
    list(work.features(WHOLE, range(2)))
    list(work.features(WHOLE, range(2)))
    assert len(calls) == 1


def test_padding_of_crops_has_the_backbones_mean_colour(make_images, make_work, tiny):
    work = make_work(make_images(1, (20, 20)))
    (look,) = work.decoded(DrawnRecipe(Transform(crop=32), 0, (0,)), [0])
    assert (look.shots[0][20:] == tiny.fill).all()
    assert (look.shots[0][:, 20:] == tiny.fill).all()
