"""Which runs a grid needs, and in which order."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_bench.bench.plan.build import planned_runs
from spectral_bench.bench.plan.estimate import features_key
from spectral_bench.bench.plan.run_ids import ResolvedRow
from spectral_bench.bench.plan.states import PlannedRun
from spectral_bench.bench.plan.titles import row_titles

Rows = Callable[..., list[ResolvedRow]]


def plan(rows: Rows, text: str) -> list[PlannedRun]:
    found = rows(text)
    return planned_runs(found, row_titles(found))


def names(runs: list[PlannedRun]) -> list[tuple[str, int]]:
    return [(run.spec.method, run.spec.seed) for run in runs]


def test_seeds_are_interleaved_so_that_every_row_has_a_number_early(rows: Rows) -> None:
    runs = plan(rows, "{defaults: {seeds: [0, 1]}, runs: [{method: kmeans}, {method: neuralef}]}")
    assert names(runs) == [("kmeans", 0), ("neuralef", 0), ("kmeans", 1), ("neuralef", 1)]


def test_a_fit_that_others_start_from_is_added_without_evaluations_right_before_them(rows: Rows) -> None:
    text = "{defaults: {seeds: [0, 1]}, runs: [{method: kmeans}, {method: neuralef_kmeans, matrix: {k: [4, 8]}}]}"
    runs = plan(rows, text)
    assert names(runs)[:3] == [("kmeans", 0), ("neuralef", 0), ("neuralef_kmeans", 0)]
    bases = [run for run in runs if run.spec.method == "neuralef"]
    dependents = [run for run in runs if run.spec.method == "neuralef_kmeans"]
    assert all(not base.views and not base.asked_for for base in bases)
    assert {run.requires for run in dependents} == {base.run_id for base in bases}
    assert bases[0].title.startswith("for neuralef_kmeans")


def test_a_fit_that_the_grid_asks_for_is_not_added_twice(rows: Rows) -> None:
    for order in ("[{method: neuralef_kmeans}, {method: neuralef}]", "[{method: neuralef}, {method: neuralef_kmeans}]"):
        runs = plan(rows, f"{{runs: {order}}}")
        assert names(runs) == [("neuralef", 0), ("neuralef_kmeans", 0)]
        assert runs[0].asked_for
        assert runs[0].views
        assert runs[0].title == "neuralef"


def test_runs_that_share_features_follow_each_other(rows: Rows) -> None:
    text = (
        "{runs: [{method: kmeans}, {method: kmeans, subset: 16}, {method: neuralef}, {method: neuralef, subset: 16},"
        " {method: kmeans, features: {dtype: float32}}]}"
    )
    keys = [features_key(run.spec) for run in plan(rows, text)]
    assert keys == sorted(keys, key=keys.index)
    assert len(set(keys)) == 3


def test_one_fit_in_several_rows_has_the_views_of_all(rows: Rows) -> None:
    text = (
        "{runs: [{method: kmeans, protocols: [whole]}, {method: kmeans, protocols: [centre320]},"
        " {method: kmeans, train_dataset: synthetic, dataset: camvid}]}"
    )
    (run,) = plan(rows, text)
    assert [view.dataset for view in run.views] == ["synthetic", "synthetic", "camvid"]
    assert [view.centre_crop for view in run.views] == [None, 320, None]


def test_protocols_that_look_alike_share_a_view_and_a_fitted_matching_adds_one(rows: Rows) -> None:
    protocols = (
        "[whole, {name: majority, extends: whole, scoring: {matching: majority}},"
        " {name: fitted, extends: whole, scoring: {fit_split: train}}]"
    )
    (run,) = plan(rows, f"{{runs: [{{method: kmeans, protocols: {protocols}}}]}}")
    assert [view.split for view in run.views] == ["val", "train"]


@settings(max_examples=20, deadline=None)
@given(
    methods=st.lists(st.sampled_from(["kmeans", "neuralef", "neuralef_kmeans"]), min_size=1, max_size=4, unique=True),
    ks=st.lists(st.integers(2, 6), min_size=1, max_size=2, unique=True),
    seeds=st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True),
)
def test_a_base_always_comes_first_and_no_run_twice(
    tmp_path_factory: object, methods: list[str], ks: list[int], seeds: list[int]
) -> None:
    from spectral_bench.bench.grid.load import load_grid
    from spectral_bench.bench.plan.run_ids import resolve_rows

    path = tmp_path_factory.mktemp("g") / "g.yaml"  # type: ignore[attr-defined]
    entries = ", ".join(f"{{method: {method}, matrix: {{k: {ks}}}}}" for method in methods)
    path.write_text(f"{{defaults: {{seeds: {seeds}}}, runs: [{entries}]}}")
    found = resolve_rows(load_grid(path), {})
    runs = planned_runs(found, row_titles(found))
    ids = [run.run_id for run in runs]
    assert len(set(ids)) == len(ids)
    assert {spec.run_id for row in found for spec in row.specs} == {run.run_id for run in runs if run.asked_for}
    for index, run in enumerate(runs):
        assert run.requires is None or run.requires in ids[:index]


def test_views_that_are_equal_are_one_object_and_others_are_not(rows: Rows) -> None:
    runs = plan(rows, "{runs: [{method: kmeans}, {method: neuralef}, {method: kmeans, eval_subset: 8, seeds: [1]}]}")
    by_id = {view.view_id: view for run in runs for view in run.views}
    assert all(view is by_id[view.view_id] for run in runs for view in run.views)
    assert {view.subset for view in by_id.values()} == {None, 8}
