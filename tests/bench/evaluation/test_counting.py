"""From scores and labels to contingency, with labels of the wrong size, value or place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from spectral_bench.bench.evaluation.counting import ScoredImage, assign, count, view_label
from spectral_bench.bench.evaluation.layout import window_layout
from spectral_bench.common.errors import DataError
from spectral_bench.common.geometry import Crop
from spectral_bench.datasets.transforms import centre_crop, resize_label, short_side_size
from spectral_bench.results.specification import Resize, View

N_LABELS = 6


@dataclass
class Labels:
    """A label loader over arrays in memory."""

    maps: dict[str, NDArray[np.uint16]]

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.maps)

    def label(self, image_id: str) -> NDArray[np.uint16]:
        return self.maps[image_id]


def view(**settings: object) -> View:
    return View(dataset="d", split="val", **settings)  # type: ignore[arg-type]


def random_label(size: tuple[int, int], seed: int) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(0, N_LABELS, size).astype(np.uint16)


def scored(image_id: str, size: tuple[int, int], n_clusters: int = 4) -> ScoredImage:
    """An image of this size that is resized to 32 x 48 and looked at as a whole."""
    wanted = view(resize=Resize(mode="exact", size=(32, 48)))
    scores = torch.randn(1, n_clusters, 4, 6, generator=torch.Generator().manual_seed(size[0]))
    layout = window_layout(wanted, size, (Crop.whole(32, 48),), (4, 6), (32, 48))
    return ScoredImage(image_id, size, scores, layout)


def test_counts_equal_a_loop() -> None:
    sizes = {"a": (30, 50), "b": (64, 40), "c": (32, 48)}
    labels = Labels({name: random_label(size, index) for index, (name, size) in enumerate(sizes.items())})
    images = [scored(name, size) for name, size in sizes.items()]
    done: list[int] = []
    contingency = count(images, labels, n_clusters=4, n_labels=N_LABELS, counted=done.append)
    expected = np.zeros((4, N_LABELS), dtype=np.int64)
    for image in images:
        np.add.at(expected, (assign(image).numpy(), labels.label(image.image_id)), 1)
    np.testing.assert_array_equal(contingency.matrix(), expected)
    assert contingency.image_ids == ("a", "b", "c")
    assert contingency.n_pixels == sum(height * width for height, width in sizes.values())
    assert done == [1, 2, 3]


def test_images_may_come_from_a_generator_once() -> None:
    labels = Labels({"a": random_label((30, 50), 0)})
    images = (scored(name, (30, 50)) for name in "a")
    assert count(images, labels, n_clusters=4, n_labels=N_LABELS).n_images == 1
    assert count(images, labels, n_clusters=4, n_labels=N_LABELS).n_images == 0


def test_another_assignment_takes_the_place_of_the_argmax() -> None:
    labels = Labels({"a": random_label((30, 50), 0)})

    def last(image: ScoredImage) -> torch.Tensor:
        return torch.full(image.layout.target, 3)

    matrix = count([scored("a", (30, 50))], labels, n_clusters=4, n_labels=N_LABELS, assign=last).matrix()
    assert matrix[3].sum() == 30 * 50


def test_a_label_of_another_size_names_image_and_sizes() -> None:
    labels = Labels({"street_7": random_label((50, 30), 0)})
    with pytest.raises(DataError, match="street_7: label of 50 x 30 pixels for an image of 30 x 50"):
        count([scored("street_7", (30, 50))], labels, n_clusters=4, n_labels=N_LABELS)


def test_a_label_value_outside_of_the_list_is_an_error() -> None:
    label = random_label((30, 50), 0)
    label[3, 4] = 255
    with pytest.raises(DataError, match="street_7: label value 255; expected 0 to 5"):
        count([scored("street_7", (30, 50))], Labels({"street_7": label}), n_clusters=4, n_labels=N_LABELS)


def test_scores_with_nan_name_the_image() -> None:
    image = scored("street_7", (30, 50))
    image.scores[0, 0, 0, 0] = torch.nan
    with pytest.raises(FloatingPointError, match="street_7"):
        count([image], Labels({"street_7": random_label((30, 50), 0)}), n_clusters=4, n_labels=N_LABELS)


def test_more_clusters_than_announced_are_an_error() -> None:
    image = scored("a", (30, 50), n_clusters=9)
    with pytest.raises(ValueError, match="expected 0 to 2"):
        count([image], Labels({"a": random_label((30, 50), 0)}), n_clusters=3, n_labels=N_LABELS)


def test_a_label_in_full_resolution_is_left_as_it_is() -> None:
    label = random_label((30, 50), 0)
    image = scored("a", (30, 50))
    assert view_label(Labels({"a": label}), "a", (30, 50), image.layout) is label


@pytest.mark.parametrize("size", [(33, 50), (50, 33), (32, 32), (320, 411)])
def test_a_centre_crop_cuts_the_resized_label_where_it_cuts_the_image(size: tuple[int, int]) -> None:
    wanted = view(resize=Resize(mode="short_side", short_side=32), centre_crop=32, label_resize=True)
    resized = short_side_size(*size, 32)
    crop = centre_crop(*resized, 32)
    layout = window_layout(wanted, size, (crop,), (4, 4), (32, 32))
    label = random_label(size, 1)
    expected = resize_label(label, resized)[crop.top : crop.top + 32, crop.left : crop.left + 32]
    np.testing.assert_array_equal(view_label(Labels({"a": label}), "a", size, layout), expected)


def test_a_resized_label_without_a_crop() -> None:
    wanted = view(resize=Resize(mode="exact", size=(32, 48)), label_resize=True)
    layout = window_layout(wanted, (30, 50), (Crop.whole(32, 48),), (4, 6), (32, 48))
    label = random_label((30, 50), 2)
    found = view_label(Labels({"a": label}), "a", (30, 50), layout)
    np.testing.assert_array_equal(found, resize_label(label, (32, 48)))


def test_a_crop_of_an_image_in_its_own_size() -> None:
    crop = centre_crop(30, 50, 40)
    layout = window_layout(view(centre_crop=40), (30, 50), (crop,), (5, 5), (40, 40))
    label = random_label((30, 50), 3)
    image = ScoredImage("a", (30, 50), torch.randn(1, 4, 5, 5), layout)
    np.testing.assert_array_equal(view_label(Labels({"a": label}), "a", (30, 50), layout), label[:, 5:45])
    counted = count([image], Labels({"a": label}), n_clusters=4, n_labels=N_LABELS)
    assert counted.n_pixels == 30 * 40
    np.testing.assert_array_equal(counted.matrix().sum(axis=0), np.bincount(label[:, 5:45].ravel(), minlength=6))
