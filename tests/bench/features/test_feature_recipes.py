import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_bench.bench.features.recipes import (
    CentreRecipe,
    DrawnRecipe,
    Shot,
    WholeRecipe,
    WindowRecipe,
    cached_recipe,
    epoch_recipe,
    resized,
    view_recipe,
)
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.geometry import Crop
from spectral_bench.datasets.transforms import Photometric, apply_crop, distort
from spectral_bench.results.identity import canonical
from spectral_bench.results.specification import Features, Resize, Transform, View

EXACT = Resize(mode="exact", size=(48, 64))
RANDOM = Transform(scale=(0.5, 2.0), crop=32, flip=True, photometric=True)
FILL = (10, 20, 30)


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_whole_image_after_resizing():
    (shot,) = WholeRecipe(EXACT).shots(0, 100, 200)
    assert shot == Shot(Crop((48, 64), 0, 0, 48, 64), None)
    assert shot.take(picture(100, 200), FILL).shape == (48, 64, 3)


def test_resizing_follows_its_mode():
    assert resized(Resize(), 30, 40) == (30, 40)
    assert resized(EXACT, 30, 40) == (48, 64)
    assert resized(Resize(mode="short_side", short_side=60), 30, 40) == (60, 80)


def test_windows_cover_the_frame():
    shots = WindowRecipe(Resize(), 32, 24).shots(0, 50, 64)
    assert [(s.crop.top, s.crop.left) for s in shots] == [(0, 0), (0, 24), (0, 32), (18, 0), (18, 24), (18, 32)]
    assert all(s.crop.height == s.crop.width == 32 for s in shots)


def test_drawn_shots_depend_on_seed_round_and_image_alone():
    recipe = DrawnRecipe(RANDOM, 3, (0, 1))
    first = recipe.shots(4, 60, 80)
    assert len(first) == 2
    assert first[0] != first[1]
    assert first == DrawnRecipe(RANDOM, 3, (0, 1)).shots(4, 60, 80)
    assert first[1:] == DrawnRecipe(RANDOM, 3, (1,)).shots(4, 60, 80)
    assert first != DrawnRecipe(RANDOM, 4, (0, 1)).shots(4, 60, 80)
    assert first != recipe.shots(5, 60, 80)


@settings(max_examples=40, deadline=None)
@given(height=st.integers(16, 90), width=st.integers(16, 90), index=st.integers(0, 50))
def test_drawn_crops_have_their_size_whatever_the_image(height, width, index):
    (shot,) = DrawnRecipe(RANDOM, 0, (0,)).shots(index, height, width)
    assert shot.take(picture(height, width), FILL).shape == (32, 32, 3)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(("top", "left"), [(0, 0), (10, 20)])
def test_padding_is_not_distorted(flip, top, left):
    image = picture(24, 30)
    crop = Crop((24, 30), top, left, 32, 40, flip)
    change = Photometric(brightness=20.0, contrast=1.3, saturation=0.6, hue=25.0)
    taken = Shot(crop, change).take(image, FILL)
    plain = apply_crop(image, crop, FILL)
    expected = distort(plain, change).copy()
    inside = np.zeros((32, 40), bool)
    inside[: 24 - top, : 30 - left] = True
    inside = inside[:, ::-1] if flip else inside
    expected[~inside] = FILL
    np.testing.assert_array_equal(taken, expected)
    assert (taken[~inside] == FILL).all()
    assert (taken[inside] != plain[inside]).any()


def test_a_distortion_of_a_full_crop_touches_every_pixel():
    image = np.full((32, 32, 3), 100, np.uint8)
    taken = Shot(Crop.whole(32, 32), Photometric(brightness=20.0)).take(image, FILL)
    assert (taken == 120).all()


def test_cached_recipe_draws_views_only_where_something_is_random():
    assert cached_recipe(Transform(resize=EXACT), Features()) == WholeRecipe(EXACT)
    assert cached_recipe(RANDOM, Features(views=3)) == DrawnRecipe(RANDOM, 0, (0, 1, 2))
    with pytest.raises(ConfigError, match=r"features\.views: 2, but the transform draws nothing"):
        cached_recipe(Transform(resize=EXACT), Features(views=2))


def test_epoch_recipe_draws_afresh_each_epoch():
    shots = [epoch_recipe(RANDOM, 1, epoch).shots(0, 60, 80) for epoch in range(3)]
    assert len(set(shots)) == 3
    assert epoch_recipe(Transform(resize=EXACT), 1, 5) == WholeRecipe(EXACT)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, WholeRecipe(Resize())),
        ({"resize": EXACT}, WholeRecipe(EXACT)),
        ({"centre_crop": 32}, CentreRecipe(Resize(), 32)),
        ({"window": 32, "stride": 16}, WindowRecipe(Resize(), 32, 16)),
        ({"window": 32}, WindowRecipe(Resize(), 32, 32)),
    ],
)
def test_view_recipe(options, expected):
    assert view_recipe(View(dataset="d", split="val", **options)) == expected


def test_views_that_contradict_themselves_are_refused():
    with pytest.raises(ConfigError, match="exclude each other"):
        view_recipe(View(dataset="d", split="val", window=32, stride=16, centre_crop=32))
    with pytest.raises(ConfigError, match="leaves gaps"):
        view_recipe(View(dataset="d", split="val", window=32, stride=33))


def test_each_recipe_has_its_own_material():
    recipes = [
        WholeRecipe(Resize()),
        WholeRecipe(EXACT),
        CentreRecipe(EXACT, 32),
        CentreRecipe(EXACT, 48),
        WindowRecipe(EXACT, 32, 16),
        WindowRecipe(EXACT, 32, 32),
        DrawnRecipe(RANDOM, 0, (0,)),
        DrawnRecipe(RANDOM, 0, (0, 1)),
        DrawnRecipe(RANDOM, 1, (0,)),
        DrawnRecipe(RANDOM.model_copy(update={"flip": False}), 0, (0,)),
    ]
    assert len({canonical(recipe.material()) for recipe in recipes}) == len(recipes)
