from __future__ import annotations

import numpy as np
import pytest
from report_samples import CLASSES, FAILED, VIEW, Outcome, add_row, contingency, miou, outcomes, write_grid

from spectral_bench.reports import build_table, build_tables, render
from spectral_bench.results.contingency import Contingency
from spectral_bench.results.specification import Protocol, Scoring
from spectral_bench.results.statistics import bootstrap_miou
from spectral_bench.results.store import Store


def uneven(wrong: int) -> Contingency:
    """Two images, the second with half of the wrong pixels."""
    first, second = contingency(wrong, 1), contingency(wrong // 2, 1)
    return Contingency(
        ("image0", "image1"),
        2,
        2,
        np.concatenate([first.image, second.image + 1]).astype(np.int32),
        np.concatenate([first.cluster, second.cluster]),
        np.concatenate([first.label, second.label]),
        np.concatenate([first.count, second.count]),
    )


def test_intervals_over_images_only_on_request(store: Store):
    write_grid(store, add_row(store, "a", outcomes(10)))
    assert "mIoU_images" not in render(build_table(store), "csv")
    assert "mIoU_images_low" in render(build_table(store, resamples=10), "csv")
    assert "It speaks about these fits" in render(build_tables(store, resamples=10)[0], "markdown")


def test_the_interval_is_that_of_the_bootstrap(store: Store):
    fits = [uneven(20), uneven(30)]
    write_grid(store, add_row(store, "a", {seed: Outcome(counts=counts) for seed, counts in enumerate(fits)}))
    table = build_table(store, resamples=50)
    expected = bootstrap_miou(fits, CLASSES, "iou", resamples=50)
    cell = table.rows[0].cells["mIoU_images"]
    assert (cell.low, cell.high) == pytest.approx((100 * expected.low, 100 * expected.high))
    assert cell.value == pytest.approx(table.rows[0].cells["mIoU"].value)
    assert cell.low is not None
    assert cell.high is not None
    assert cell.low < (cell.number or 0) < cell.high


def test_a_matching_fitted_elsewhere_is_not_fitted_anew(store: Store):
    train = VIEW.model_copy(update={"split": "train"})
    fitted = Protocol(name="fitted", view=VIEW, fit_view=train, scoring=Scoring(fit_split="train"))
    both = [fitted, Protocol(name="t", view=train, scoring=Scoring())]
    write_grid(store, add_row(store, "a", {0: Outcome(counts=uneven(20))}, protocols=both))
    table = build_table(store, protocol="fitted", resamples=50)
    expected = bootstrap_miou([uneven(20)], CLASSES, "iou", fit_on=[uneven(20)], resamples=50)
    assert table.rows[0].cells["mIoU_images"].low == pytest.approx(100 * expected.low)


def test_one_image_has_no_spread_and_a_failed_row_no_interval(store: Store):
    write_grid(store, add_row(store, "a", outcomes(10)), add_row(store, "b", {0: FAILED}))
    one, failed = build_table(store, resamples=10).rows
    assert one.cells["mIoU_images"].low == pytest.approx(miou(10))
    assert failed.cells["mIoU_images"].value is None
