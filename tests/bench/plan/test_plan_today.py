"""Finished runs are compared with the data of today."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from plan_lab import Lab, evaluation_record, fit_record, unhealthy

from spectral_bench.bench.plan.build import with_stale_anew
from spectral_bench.bench.plan.today import CurrentData, data_states
from spectral_bench.common.errors import DataError
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.datasets.registry import open_data
from spectral_bench.results.contingency import ContingencyBuilder

ONE = "{name: one, defaults: {subset: 8}, runs: [{method: kmeans, params: {k: 8}}]}"


class Today:
    """Digests of today by what they are of; None for data that is not at hand."""

    def __init__(self, images: str | None, labels: str | None) -> None:
        self._images, self._labels = images, labels

    def images(self, dataset: str, split: str) -> str | None:
        return self._images

    def labels(self, dataset: str, split: str) -> str | None:
        return self._labels

    def count(self, dataset: str, split: str) -> int | None:
        return None

    def sizes(self, dataset: str, split: str, subset: int | None = None) -> Iterator[tuple[int, int]]:
        return iter(())


@pytest.fixture
def finished(lab: Lab) -> Lab:
    (run,) = lab.plan(ONE).runs
    lab.store.write_fit(fit_record(run.spec, data_digest="i"))
    record = evaluation_record(run.spec, run.views[0], data_digest="i", label_files="l")
    lab.store.write_evaluation(record, ContingencyBuilder(8, 12).build())
    return lab


@pytest.mark.parametrize(
    ("today", "news"),
    [
        (Today("i", "l"), ""),
        (Today(None, None), ""),
        (Today("i", "m"), "data changed since: synthetic val labels"),
        (Today("j", None), "data changed since: synthetic train images, synthetic val images"),
    ],
)
def test_a_finished_run_is_stale_where_its_data_is_another_today(finished: Lab, today: Today, news: str) -> None:
    (run,) = finished.plan(ONE, data=today).runs
    assert (run.condition.state, run.condition.reason) == ("stale" if news else "done", news)
    assert run.condition.finished


def test_it_can_be_done_again(finished: Lab) -> None:
    (run,) = with_stale_anew(finished.plan(ONE, data=Today("j", "l"))).runs
    assert not run.condition.finished
    assert not run.condition.fitted


def test_records_that_say_nothing_of_their_data_are_left_alone(lab: Lab) -> None:
    (run,) = lab.plan(ONE).runs
    lab.finish(run.spec, run.views)
    assert lab.plan(ONE, data=Today("j", "m")).runs[0].condition.state == "done"


def test_what_the_roots_hold(tmp_path: Path) -> None:
    data = CurrentData(DataRoots((tmp_path,)))
    assert data.images("camvid", "val") is None
    assert data.labels("camvid", "val") is None
    assert data.images("nothing of this name", "val") is None
    assert data.images("synthetic", "val") not in (None, data.images("synthetic", "train"))
    assert data.labels("synthetic", "val") is not None


def test_data_that_cannot_be_read_are_not_at_hand(tmp_path: Path) -> None:
    lists = tmp_path / "VOCdevkit" / "VOC2010" / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_bytes(b"\xff\xfe")
    roots = DataRoots((tmp_path,))
    with pytest.raises(DataError, match="is no UTF-8 text"):
        open_data("pascal_context", roots).images("train").digest()
    assert CurrentData(roots).images("pascal_context", "train") is None


def test_a_partial_run_and_one_that_did_not_converge_are_done_again_too(lab: Lab) -> None:
    (run,) = lab.plan(ONE).runs
    lab.store.write_fit(fit_record(run.spec, data_digest="i"))
    partial = lab.plan(ONE, data=Today("j", "l"))
    assert partial.runs[0].condition.state == "partial"
    assert "data changed since: synthetic train images" in partial.runs[0].condition.reason
    assert not with_stale_anew(partial).runs[0].condition.fitted
    record = evaluation_record(run.spec, run.views[0], "not_converged", health=[unhealthy()], label_files="l")
    lab.store.write_evaluation(record, ContingencyBuilder(8, 12).build())
    ended = lab.plan(ONE, data=Today("i", "m"))
    assert ended.runs[0].condition.state == "not_converged"
    assert ended.runs[0].condition.reason.endswith("data changed since: synthetic val labels")
    assert not with_stale_anew(ended).runs[0].condition.fitted


@pytest.mark.parametrize(
    ("images", "state", "data_state"),
    [("i+c", "done", "same names and sizes"), ("i", "done", "as it was"), ("j+c", "stale", "changed")],
)
def test_a_record_of_an_earlier_release_is_held_against_names_and_sizes(
    finished: Lab, images: str, state: str, data_state: str
) -> None:
    today = Today(images, "l")
    (run,) = finished.plan(ONE, data=today).runs
    assert run.condition.state == state
    assert data_states(finished.store.fit_record(run.run_id), today) == {"synthetic train images": data_state}
