"""Clusters that are named with the labels of a few images of another split."""

from __future__ import annotations

import numpy as np
from report_samples import CLASSES, VIEW, Outcome, add_row, outcomes, write_grid

from spectral_bench.common.seeds import SeedStreams, labelled_images
from spectral_bench.reports import build_table, render
from spectral_bench.reports.collect import collect
from spectral_bench.results.contingency import Contingency, ContingencyBuilder
from spectral_bench.results.metrics import score
from spectral_bench.results.specification import Protocol, Scoring
from spectral_bench.results.store import Store


def halves() -> Contingency:
    """Two images of two clusters: cluster 0 is class 0 in the first, of 9 pixels, and class 1 in the other, of 5."""
    builder = ContingencyBuilder(2, 2)
    for image, (count, swapped) in enumerate(((9, False), (5, True))):
        clusters = np.repeat([[0, 1]], count, axis=1)
        builder.add(f"image{image}", clusters, 1 - clusters if swapped else clusters)
    return builder.build()


def test_chosen_images_keep_their_counts_and_order() -> None:
    counts = halves()
    assert counts.chosen([1]).image_ids == ("image1",)
    assert (counts.chosen([1]).matrix() == counts.matrix([1])).all()
    assert counts.chosen([1, 0]) == counts
    assert counts.chosen([]).n_pixels == 0


def test_a_label_budget_names_clusters_by_as_many_images_of_the_own_draw(store: Store):
    """Cluster 0 is a class in one half of the images and the other class in the rest, so that the draw decides."""
    train = VIEW.model_copy(update={"split": "train"})
    few = Scoring(fit_split="train", label_budget=1)
    fitted = Protocol(name="few", view=VIEW, fit_view=train, scoring=few)
    both = [fitted, Protocol(name="train", view=train, scoring=Scoring())]
    write_grid(store, add_row(store, "a", {seed: Outcome(counts=halves()) for seed in range(6)}, protocols=both))
    entry = collect(store, protocol="few")[0]
    for result in entry.done:
        (chosen,) = labelled_images(halves().n_images, 1, SeedStreams(result.seed))
        expected = score(halves(), CLASSES, "iou", fit_on=halves().chosen([chosen]))
        assert result.scores is not None
        assert result.scores.miou == expected.miou
    assert len({result.scores.miou for result in entry.done if result.scores is not None}) > 1
    assert entry.replicated  # in their draws, for all counted the same
    assert not collect(store, protocol="train")[0].replicated
    assert "fitted on 1 image of train" in render(build_table(store, protocol="few"), "markdown")


def test_a_label_budget_of_more_images_than_there_are_is_told_in_the_cell(store: Store):
    train = VIEW.model_copy(update={"split": "train"})
    fitted = Protocol(name="few", view=VIEW, fit_view=train, scoring=Scoring(fit_split="train", label_budget=99))
    both = [fitted, Protocol(name="train", view=train, scoring=Scoring())]
    write_grid(store, add_row(store, "a", outcomes(10), protocols=both))
    entry = collect(store, protocol="few")[0]
    assert "label_budget = 99: expected at most the " in entry.seeds[0].reason
