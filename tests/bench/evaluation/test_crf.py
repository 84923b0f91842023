"""A CRF over one image: against direct calls of the library, and against dense mean field in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from crf_reference import beliefs
from numpy.typing import NDArray
from torch import Tensor

from spectral_bench.bench.evaluation.counting import view_image, view_label
from spectral_bench.bench.evaluation.crf import crf_bytes, energies, refine
from spectral_bench.bench.evaluation.layout import WindowLayout, full_scores, label_map, window_layout
from spectral_bench.bench.features.recipes import view_recipe
from spectral_bench.common.geometry import Crop
from spectral_bench.datasets.transforms import window_crops
from spectral_bench.results.specification import Crf, Resize, View

pytest.importorskip("pydensecrf.densecrf")

LAYOUT = WindowLayout(window_crops(24, 40, 20, 12), (5, 5), (20, 20), Crop.whole(24, 40), (12, 18))
WIDE = Crf(bilateral_sxy=5.0, bilateral_srgb=20.0)


def picture(layout: WindowLayout = LAYOUT, seed: int = 0) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    height, width = layout.target
    classes = np.kron(rng.integers(0, 4, (3, 4)), np.ones((height // 3 + 1, width // 4 + 1), int))[:height, :width]
    colours = np.stack([classes * 60, 200 - classes * 50, classes % 2 * 100], -1) + rng.normal(0, 4, (height, width, 3))
    return colours.clip(0, 255).astype(np.uint8)


def random_scores(layout: WindowLayout = LAYOUT, n_clusters: int = 5, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(len(layout.crops), n_clusters, *layout.grid, generator=generator)


def test_energies_are_minus_the_logarithm_of_the_softmax_cut_at_1e_5() -> None:
    scores = random_scores() * 10
    resampled = full_scores(scores, LAYOUT).double().reshape(-1, 5)
    expected = -np.log(np.clip(torch.softmax(resampled, dim=1).T.numpy(), 1e-5, 1))
    found = energies(scores, LAYOUT)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    assert found.max() == pytest.approx(-np.log(1e-5))
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_it_is_what_the_library_gives_with_the_settings_of_the_paper() -> None:
    import pydensecrf.densecrf as library

    scores, image = random_scores(), picture()
    direct = library.DenseCRF2D(18, 12, 5)
    direct.setUnaryEnergy(energies(scores, LAYOUT))
    direct.addPairwiseGaussian(sxy=1, compat=3)
    direct.addPairwiseBilateral(sxy=67, srgb=3, rgbim=image, compat=4)
    expected = np.array(direct.inference(10)).argmax(axis=0).reshape(12, 18)
    found = refine(scores, LAYOUT, image, Crf())
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, expected)
    assert (found != label_map(scores, LAYOUT).numpy()).mean() > 0.2


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "crf",
    [Crf(), Crf(black_image=True), Crf(iterations=1), Crf(gaussian_weight=0), Crf(bilateral_weight=0), WIDE],
    ids=["paper", "black", "one", "colour", "place", "wide"],
)
def test_it_is_mean_field_up_to_the_lattice(crf: Crf, seed: int) -> None:
    """The library's filters are approximate: where two clusters are about as likely, some pixels tip over."""
    scores, image = random_scores(seed=seed), picture(seed=seed)
    seen = np.zeros_like(image) if crf.black_image else image
    expected = beliefs(energies(scores, LAYOUT).astype(np.float64), seen, crf).argmax(axis=0).reshape(12, 18)
    found = refine(scores, LAYOUT, image, crf)
    assert (found == expected).mean() >= 0.9
    before = label_map(scores, LAYOUT).numpy()
    assert (found == expected).mean() > (before == expected).mean() + 0.05


def test_without_weights_nothing_changes() -> None:
    scores = random_scores()
    found = refine(scores, LAYOUT, picture(), Crf(gaussian_weight=0, bilateral_weight=0))
    np.testing.assert_array_equal(found, label_map(scores, LAYOUT).numpy())


def test_an_image_that_cannot_be_written_to_will_do() -> None:
    image = picture()
    expected = refine(random_scores(), LAYOUT, image, Crf())
    frozen = np.asfortranarray(image)
    frozen.flags.writeable = False
    np.testing.assert_array_equal(refine(random_scores(), LAYOUT, frozen, Crf()), expected)


def test_a_black_image_hides_the_picture() -> None:
    scores = random_scores()
    found = [refine(scores, LAYOUT, picture(seed=seed), Crf(black_image=True)) for seed in range(2)]
    np.testing.assert_array_equal(*found)
    seen = [refine(scores, LAYOUT, picture(seed=seed), Crf()) for seed in range(2)]
    assert not np.array_equal(*seen)


def test_the_colours_count_on_the_scale_of_0_to_255() -> None:
    scores, image = random_scores(), picture()
    faint = (image / 255).astype(np.uint8)  # what the released code handed over
    np.testing.assert_array_equal(refine(scores, LAYOUT, faint, Crf()), refine(scores, LAYOUT, image * 0, Crf()))


def test_scores_that_are_not_finite_are_refused() -> None:
    scores = random_scores()
    scores[0, 0, 0, 0] = torch.nan
    with pytest.raises(FloatingPointError):
        refine(scores, LAYOUT, picture(), Crf())


def test_what_the_library_cannot_count_is_refused() -> None:
    huge = WindowLayout((Crop.whole(9, 9),), (1, 1), (9, 9), Crop.whole(9, 9), (4096, 4096))
    with pytest.raises(OverflowError, match="256 clusters of 4096 x 4096 pixels"):
        refine(torch.zeros(1, 256, 1, 1), huge, np.zeros((4096, 4096, 3), np.uint8), Crf())


def test_memory_grows_with_clusters_and_pixels() -> None:
    assert crf_bytes(256, (320, 320)) == 8 * crf_bytes(32, (320, 320)) == 4 * crf_bytes(256, (160, 160))
    assert crf_bytes(256, (320, 320)) > 10 * 4 * 256 * 320 * 320


class OneImage:
    """An image whose red channel is its own label."""

    ids = ("a",)

    def __init__(self, height: int, width: int) -> None:
        label = np.random.default_rng(0).integers(0, 9, (height // 10 + 1, width // 10 + 1))
        self.ids_of = np.kron(label, np.ones((10, 10), int))[:height, :width].astype(np.uint16)

    def image(self, image_id: str) -> NDArray[np.uint8]:
        return np.stack([self.ids_of * 20] * 3, -1).astype(np.uint8)

    def label(self, image_id: str) -> NDArray[np.uint16]:
        return self.ids_of

    def digest(self) -> str:
        return ""


@pytest.mark.parametrize(
    "view",
    [
        {"resize": Resize(mode="exact", size=(64, 80))},
        {"resize": Resize(mode="short_side", short_side=48), "window": 32, "stride": 16},
        {"resize": Resize(mode="short_side", short_side=48), "centre_crop": 48, "label_resize": True},
        {"centre_crop": 48},
        {"centre_crop": 128},
        {"resize": Resize(mode="short_side", short_side=48), "label_resize": True},
    ],
)
def test_the_image_lies_pixel_by_pixel_over_the_label(view: dict[str, object]) -> None:
    look, source = View(dataset="x", split="val", **view), OneImage(90, 70)  # type: ignore[arg-type]
    crops = tuple(shot.crop for shot in view_recipe(look).shots(0, 90, 70))
    layout = window_layout(look, (90, 70), crops, (8, 8), (crops[0].height, crops[0].width))
    image, label = view_image(source, "a", layout), view_label(source, "a", (90, 70), layout)
    assert image.shape == (*label.shape, 3)
    assert (np.abs(image[..., 0].astype(int) - 20 * label.astype(int)) <= 1).mean() > 0.6  # all but the soft edges
    assert len(np.unique(label)) > 3
