from __future__ import annotations

import pytest
from report_samples import FAILED, VIEW, WHOLE, Outcome, add_row, outcomes, write_grid

from spectral_bench.reports import build_published_table
from spectral_bench.reports.collect import collect
from spectral_bench.reports.overview_table import overview_table
from spectral_bench.reports.table import CellState, Table
from spectral_bench.results.manifest import ManifestRow
from spectral_bench.results.specification import Protocol, Scoring
from spectral_bench.results.store import Store

CITY = Protocol(name="whole", view=VIEW.model_copy(update={"dataset": "cityscapes"}), scoring=Scoring())
PROTOCOLS = {"synthetic": WHOLE, "cityscapes": CITY}


def row(
    store: Store, method: str, dataset: str, backbone: str, seeds: dict[int, Outcome], **settings: object
) -> ManifestRow:
    stated = {"dataset": dataset, **settings, "backbone": backbone}
    title = ", ".join([method, *(f"{key}={value}" for key, value in stated.items())])
    return add_row(
        store,
        title,
        seeds,
        method=method,
        protocols=[PROTOCOLS[dataset]],
        dataset=dataset,
        backbone=backbone,
        settings=stated,
    )


def overview(store: Store, *rows: ManifestRow) -> Table:
    found = overview_table(collect(write_grid(store, *rows)))
    assert found is not None
    return found


def test_methods_and_backbones_down_data_sets_across(store: Store):
    rows = [
        row(store, method, dataset, backbone, outcomes(wrong))
        for wrong, (method, dataset, backbone) in enumerate(
            [
                ("kmeans", "synthetic", "s"),
                ("kmeans", "synthetic", "b"),
                ("kmeans", "cityscapes", "s"),
                ("n_ef", "synthetic", "s"),
                ("n_ef", "cityscapes", "s"),
                ("n_ef", "cityscapes", "b"),
            ],
            start=10,
        )
    ]
    table = overview(store, *rows)
    lines = [(found.cells["method"].value, found.cells["backbone"].value) for found in table.rows]
    assert lines == [("kmeans", "s"), ("kmeans", "b"), ("n_ef", "s"), ("n_ef", "b")]
    first = table.rows[0].cells
    assert (first["mIoU_1"].runs, first["mIoU_2"].runs) == (tuple(rows[0].runs.values()), tuple(rows[2].runs.values()))
    assert "mIoU_2" not in table.rows[1].cells
    assert [column.label for column in table.columns[3:5]] == ["synthetic mIoU (1)", "synthetic accuracy (1)"]
    assert "(2) cityscapes: protocol whole, val, matching: IoU, many-to-one." in [note.text for note in table.notes]


def test_settings_that_follow_from_the_data_set_are_told_below(store: Store):
    rows = [
        row(store, "ef", dataset, "s", outcomes(10), batch_size=size, k=k)
        for dataset, size in (("synthetic", 16), ("cityscapes", 8))
        for k in (4, 8)
    ]
    table = overview(store, *rows)
    assert [found.cells["method"].value for found in table.rows] == ["ef, k=4", "ef, k=8"]
    assert "ef: batch_size = 16 on synthetic, 8 on cityscapes." in [note.text for note in table.notes]


def test_bold_failures_and_labels_are_those_of_the_main_table(store: Store):
    rows = [
        row(store, "a", "synthetic", "s", outcomes(10, 11, 12, 13, 14)),
        row(store, "a", "cityscapes", "s", {0: FAILED}),
        row(store, "b", "synthetic", "s", outcomes(40, 42, 41, 43, 42)),
        row(store, "b", "cityscapes", "s", outcomes(40)),
        row(store, "oracle", "synthetic", "s", outcomes(1)).model_copy(update={"uses_labels": True}),
    ]
    a, b, oracle = overview(store, *rows).rows
    assert (a.cells["mIoU_1"].bold, b.cells["mIoU_1"].bold) == (True, False)
    assert a.cells["mIoU_2"].state is CellState.FAILED
    assert a.cells["mIoU_2"].marks
    assert (oracle.ranked, oracle.cells["method"].marks) == (False, ("†",))


@pytest.mark.parametrize("role", ["row", "baseline"])
def test_there_is_none_where_it_would_repeat_the_main_table(store: Store, role: str):
    rows = [row(store, "a", "synthetic", "s", outcomes(10)), row(store, "b", "synthetic", "s", outcomes(10))]
    rows = [found.model_copy(update={"role": role}) for found in rows]
    assert overview_table(collect(write_grid(store, *rows))) is None


def test_rows_that_would_meet_in_one_cell_keep_their_titles(store: Store):
    rows = [
        add_row(store, title, outcomes(10), settings={"dataset": "synthetic"})
        for title in ("x, dataset=synthetic", "x")
    ]
    rows.append(row(store, "y", "synthetic", "s", outcomes(10)))
    rows.append(row(store, "y", "cityscapes", "s", outcomes(10)))
    names = [found.cells["method"].value for found in overview(store, *rows).rows]
    assert names == ["x, dataset=synthetic", "x", "y"]


def test_what_a_one_to_one_matching_leaves_over_is_marked_at_the_cell(store: Store):
    sky = Protocol(name="sky", view=VIEW, scoring=Scoring(classes="sky", matching="hungarian"))
    write_grid(store, add_row(store, "a", outcomes(10, 12), protocols=[WHOLE, sky]))
    told = "One-to-one matching of 2 clusters to 1 classes"
    table = overview_table(collect(store))
    assert table is not None
    (symbol,) = [note.symbol for note in table.notes if note.text.startswith(told)]
    assert [table.rows[0].cells[key].marks for key in ("mIoU_1", "mIoU_2")] == [(), (symbol,)]
    beside = build_published_table(store)
    (symbol,) = [note.symbol for note in beside.notes if note.text.startswith(told)]
    assert [row.cells["configuration"].marks for row in beside.rows] == [(), (symbol,)]
