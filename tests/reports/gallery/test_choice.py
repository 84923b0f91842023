from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_samples import FAILED, VIEW, WHOLE, Outcome, add_row, contingency, outcomes, write_grid

from spectral_bench.reports.collect import collect
from spectral_bench.reports.gallery.choice import MOST_METHODS, choose, galleries, median_seed, shown_rows
from spectral_bench.reports.rows import ScoredRow
from spectral_bench.results.contingency import Contingency
from spectral_bench.results.specification import Protocol, Scoring
from spectral_bench.results.store import Store


def uneven(*wrong: int) -> Contingency:
    """An image for each number of wrong pixels of each hundred."""
    parts = [contingency(value) for value in wrong]
    image = np.concatenate([part.image + index for index, part in enumerate(parts)]).astype(np.int32)
    arrays = (np.concatenate([getattr(part, name) for part in parts]) for name in ("cluster", "label", "count"))
    return Contingency(tuple(f"image{index}" for index in range(len(wrong))), 2, 2, image, *arrays)


def titles(found: list[ScoredRow]) -> list[str]:
    return [entry.row.title for entry in found]


def test_images_by_their_rules_each_once():
    scores = np.array([[0.9, 0.1, 0.5, 0.4, 0.9, np.nan], [0.9, 0.2, 0.5, 0.6, 0.1, 0.3]])
    found = {image.image_id: image.heading for image in choose(list("abcdef"), scores)}
    assert found == {"a": "best", "d": "median", "b": "worst", "e": "largest disagreement"}
    assert choose(list("abcdef"), scores)[0].scores == (0.9, 0.9)


def test_one_fit_disagrees_with_nobody_and_one_image_is_shown_once():
    assert [image.heading for image in choose(list("abc"), np.array([[0.1, 0.2, 0.3]]))] == ["best", "median", "worst"]
    assert [image.heading for image in choose(["a"], np.array([[0.1], [0.3]]))] == ["best, largest disagreement"]
    assert choose(["a"], np.array([[np.nan]])) == []


def test_the_widest_range_of_all_is_told_on_an_image_that_has_a_heading_already():
    scores = np.array([[0.9, 0.5, 0.1, 0.6], [0.9, 0.6, 0.7, 0.8]])
    found = {image.image_id: image.heading for image in choose(list("abcd"), scores)}
    assert found == {"a": "best", "b": "median", "c": "worst, largest disagreement"}


@given(st.integers(1, 4), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_headings_are_true_and_no_image_is_shown_twice(fits: int, images: int, seed: int):
    scores = np.random.default_rng(seed).integers(0, 4, (fits, images)) / 4
    found = choose([str(index) for index in range(images)], scores)
    shown = {rule: int(image.image_id) for image in found for rule in image.rules}
    means, ranges = scores.mean(axis=0), np.ptp(scores, axis=0)
    assert len({image.image_id for image in found}) == len(found) >= min(images, 3)
    assert means[shown["best"]] == means.max()
    if images > 1:
        assert means[shown["worst"]] == means.min()
    if images > 2:
        assert means[shown["median"]] == np.sort(means)[(images - 1) // 2]
    assert ("largest disagreement" in shown) == (ranges.max() > 0)
    if ranges.max() > 0:
        assert ranges[shown["largest disagreement"]] == ranges.max()


def test_a_method_is_shown_by_its_baseline_or_its_best_row(store: Store):
    rows = [
        add_row(store, "base", outcomes(30), method="neuralef", role="baseline"),
        add_row(store, "better", outcomes(10), method="neuralef", role="variation", factor="k", value=4),
        add_row(store, "k1", outcomes(30)),
        add_row(store, "k2", outcomes(20)),
        add_row(store, "broken", {0: FAILED}, method="spin"),
    ]
    found = galleries(collect(write_grid(store, *rows)), store)
    assert [titles([fit.entry for fit in gallery.fits]) for gallery in found] == [["base", "k2"]]


def test_of_many_methods_the_best_are_shown(store: Store):
    rows = [add_row(store, f"row {index}", outcomes(10 + index), method=f"m{index}") for index in (9, *range(9))]
    shown = titles(shown_rows(collect(write_grid(store, *rows))))
    assert shown == [f"row {index}" for index in range(MOST_METHODS)]


@pytest.mark.parametrize(("wrong", "seed"), [((10,), 0), ((10, 30), 1), ((10, 30, 20), 2), ((5, 40, 20, 10), 2)])
def test_a_row_is_shown_by_its_median_seed(store: Store, wrong: tuple[int, ...], seed: int):
    (entry,) = collect(write_grid(store, add_row(store, "a", outcomes(*wrong))))
    assert median_seed(entry).seed == seed


def test_one_gallery_a_data_set_with_the_images_of_its_contingency(store: Store):
    seeds = {0: Outcome(counts=uneven(10, 40, 20, 30))}
    hungarian = Protocol(name="h", view=VIEW, scoring=Scoring(matching="hungarian"))
    city = Protocol(name="c", view=VIEW.model_copy(update={"dataset": "cityscapes"}), scoring=Scoring())
    rows = [
        add_row(store, "a", seeds, protocols=[WHOLE, hungarian]),
        add_row(store, "b", {0: Outcome(counts=uneven(10, 45, 49, 30))}, method="b", protocols=[WHOLE]),
        add_row(store, "c", seeds, protocols=[city], dataset="cityscapes"),
    ]
    first, second = galleries(collect(write_grid(store, *rows)), store)
    assert (first.dataset, second.dataset) == ("synthetic", "cityscapes")
    assert {image.heading: image.image_id for image in first.images} == {
        "best": "image0",
        "median, largest disagreement": "image2",
        "worst": "image1",
    }
    assert first.images[0].scores == pytest.approx((90 / 110, 90 / 110))


def test_fits_of_other_images_are_left_out(store: Store):
    rows = [
        add_row(store, "a", {0: Outcome(counts=uneven(10, 40))}),
        add_row(store, "b", {0: Outcome(counts=uneven(10, 40, 20))}, method="b"),
    ]
    (found,) = galleries(collect(write_grid(store, *rows)), store)
    assert titles([fit.entry for fit in found.fits]) == ["a"]


def test_nothing_finished_no_gallery(store: Store):
    assert galleries(collect(write_grid(store, add_row(store, "a", {0: FAILED}))), store) == []
