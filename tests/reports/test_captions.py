"""Captions and columns say what decides the numbers: training images, K, weights, settings, own data by title."""

from __future__ import annotations

from typing import Any

import pytest
from report_samples import START, WHOLE, add_row, outcomes, write_grid

from spectral_bench.reports import build_table, render
from spectral_bench.reports.ablation_table import ablation_tables
from spectral_bench.reports.ablations import ablations
from spectral_bench.reports.api import all_tables
from spectral_bench.reports.collect import collect
from spectral_bench.reports.figures.ablation import ablation_figure, points
from spectral_bench.reports.overview_table import overview_table
from spectral_bench.reports.per_class_table import per_class_tables
from spectral_bench.reports.renderers.macros import number_names
from spectral_bench.reports.table import Table
from spectral_bench.results.manifest import DataFacts, Manifest, ManifestRow
from spectral_bench.results.specification import View
from spectral_bench.results.store import Store


def row(store: Store, title: str = "a", method: str = "kmeans", **changes: Any) -> ManifestRow:
    return add_row(store, title, outcomes(10), method=method, **{"unusual": {}, **changes})


def caption(table: Table) -> str:
    return table.folded().caption


def test_what_all_rows_share_and_is_no_default_is_in_the_caption(store: Store):
    one = row(store, "a", unusual={"precision": "bfloat16", "alpha": 0.5})
    two = row(store, "b", unusual={"precision": "bfloat16", "alpha": 0.1})
    table = build_table(write_grid(store, one, two))
    assert "; common settings: precision = bfloat16; " in caption(table)
    assert "alpha" not in caption(table)


def test_what_all_rows_of_a_method_share_is_told_with_the_method(store: Store):
    spin = [row(store, title, "spin", unusual={"decay": 0.9, "width": n}) for title, n in (("b", 8), ("c", 9))]
    table = build_table(write_grid(store, row(store, "a"), *spin))
    assert "common settings: in rows of spin decay = 0.9;" in caption(table)


def test_what_several_methods_share_is_told_once(store: Store):
    spin, neural = {"decay": 0.9, "epochs": 4, "size": [4, 4]}, {"epochs": 4, "size": [4, 4]}
    rows = [row(store, "b", "spin", unusual=spin), row(store, "c", "neuralef", unusual=neural), row(store, "a")]
    told = "in rows of spin decay = 0.9; in rows of spin and neuralef epochs = 4, size = [4, 4];"
    assert f"common settings: {told}" in caption(build_table(write_grid(store, *rows)))


def test_what_is_trained_on_is_told_where_it_is_another_data_set(store: Store):
    store = write_grid(store, row(store, "a"), row(store, "b", train_dataset="camvid"))
    assert "trained on" in [column.label for column in build_table(store).folded().columns]
    same = build_table(write_grid(store, row(store, "a")))
    assert "trained on" not in caption(same)
    assert "train_dataset" in render(same, "csv").splitlines()[0].split(",")


def test_what_neither_caption_nor_title_tells_has_a_note(store: Store):
    rows = [row(store, "named", unusual={"beta": 0.2, "tol": 1}), row(store, "kmeans, tol=2", unusual={"tol": 2})]
    table = build_table(write_grid(store, *rows))
    marks = [line.cells["configuration"].marks for line in table.rows]
    assert [note.text for note in table.notes if note.symbol in marks[0]] == ["With beta = 0.2, tol = 1."]
    assert marks[1] == ()


def test_a_baselines_own_value_has_a_note_where_no_caption_tells_it(store: Store):
    base = row(store, "base", role="baseline", unusual={"alpha": 0.1})
    varied = {"role": "variation", "factor": "alpha", "value": 0.5, "baseline": [0.1], "unusual": {"alpha": 0.5}}
    store = write_grid(store, base, row(store, "kmeans, alpha=0.5", **varied))
    assert [note.text for note in build_table(store).notes if note.symbol] == ["With alpha = 0.1."]
    (table,) = ablation_tables(collect(store))
    assert not [note for note in table.notes if note.symbol]
    assert "one change at a time, from alpha = 0.1." in caption(table)


def test_defaults_and_nothing_in_common_are_not_told(store: Store):
    assert "settings" not in caption(build_table(write_grid(store, row(store), row(store, "b", "spin"))))


def test_grids_of_before_tell_what_they_state(store: Store):
    old = {"unusual": None, "settings": {"alpha": 0.5, "k": 3, "dataset": "synthetic"}}
    assert "common settings: alpha = 0.5;" in caption(build_table(write_grid(store, row(store, **old))))


def test_training_images_and_weights_are_told(store: Store):
    one = row(store, weights="random", train_split="trainval")
    text = caption(build_table(write_grid(store, one)))
    assert "data set: synthetic; training images: trainval, all; " in text
    assert "weights: random; " in text
    unfinished = one.model_copy(update={"runs": {0: "kmeans-s0-000000000000"}, "subset": 7, "train_split": "train"})
    assert "training images: subset of 7; " in caption(build_table(write_grid(store, unfinished)))


def test_numbers_keep_their_names_whatever_columns_tell(store: Store):
    rows = [
        row(store, "base", role="baseline"),
        row(store, "v", "spin", role="variation", factor="k", value=2, train_split="trainval", weights="random"),
    ]
    (table,) = ablation_tables(collect(write_grid(store, *rows)))
    assert {"training images", "weights"} <= {column.label for column in table.folded().columns}
    assert number_names(table) == ["baseline", "k-2"]


def test_rows_of_other_weights_stand_beside_the_usual_ones(store: Store):
    table = build_table(write_grid(store, row(store, weights="random"), row(store, "b")))
    assert [line.cells["weights"].value for line in table.rows] == ["random", "pre-trained"]
    assert "weights" not in caption(table)
    assert "| weights " in render(table, "markdown")


@pytest.mark.parametrize("form", ["markdown", "latex", "csv"])
def test_k_shows_where_rows_differ_in_it_though_no_row_states_it(store: Store, form: str):
    waiting = {"runs": {0: "spin-s0-000000000000"}}
    store = write_grid(store, row(store), row(store, "b", "spin").model_copy(update={**waiting, "k": 9}))
    table = build_table(store)
    assert [line.cells["k"].value for line in table.rows] == [2, 9]
    assert "K" in render(table, form) or "k" in render(table, form).splitlines()[0].split(",")
    assert "K" in [column.label for column in table.folded().columns]


def test_one_k_is_in_the_caption_of_every_table(store: Store):
    entries = collect(write_grid(store, row(store), row(store, "b", "spin")))
    assert all("K: 2" in caption(table) for table in all_tables(entries) if table.name != "overview")


def test_columns_of_classes_tell_k_where_rows_differ(store: Store):
    waiting = row(store, "b", "spin").model_copy(update={"runs": {0: "spin-s0-000000000000"}, "k": 9})
    (table,) = per_class_tables(collect(write_grid(store, row(store), waiting)))
    assert [column.label for column in table.columns[-2:]] == ["a (K = 2)", "b (K = 9)"]


def test_the_overview_tells_it_in_remarks(store: Store):
    other = WHOLE.model_copy(update={"view": View(dataset="synthetic", split="test"), "name": "test"})
    rows = [
        add_row(
            store, title, outcomes(10), method=method, protocols=[WHOLE, other], unusual={"tol": 0.5}, weights=words
        )
        for title, method, words in (("a", "kmeans", "random"), ("b", "spin", ""))
    ]
    table = overview_table(collect(write_grid(store, *rows)))
    assert table is not None
    remarks = [note.text for note in table.notes]
    assert "K: 2." in remarks
    assert "Weights: random (a); pre-trained (b)." in remarks
    assert "Common settings: tol = 0.5." in remarks


def baseline_and(store: Store, **variation: Any) -> Store:
    base = row(store, "base", role="baseline")
    return write_grid(store, base, row(store, "v", "spin", role="variation", **variation))


def test_ablations_tell_the_baselines_own_values(store: Store):
    store = baseline_and(store, factor="orthogonality", value="initialisation", baseline=["constraint"])
    (table,) = ablation_tables(collect(store))
    assert caption(table).startswith(
        "Ablation of base: one change at a time, from orthogonality = constraint. Grid: example;"
    )


@pytest.mark.parametrize(
    ("factor", "value", "baseline", "label"),
    [("orthogonality", "initialisation", ["constraint"], "constraint"), ("subset", 5, [None], "null")],
)
def test_figures_label_the_baseline_with_its_default(
    store: Store, factor: str, value: object, baseline: list[Any], label: str
):
    entries = collect(baseline_and(store, factor=factor, value=value, baseline=baseline))
    drawn = points(entries[0], entries[1:], factor)
    assert [(point.value, point.baseline) for point in drawn] == [(label, True), (value, False)]
    (ablation,) = ablations(entries)
    ticks = [tick.get_text() for tick in ablation_figure(ablation).axes[0].get_xticklabels()]
    assert ticks == [label, str(value)]


def test_data_of_ones_own_go_by_their_title(store: Store):
    path, twin, single = "folder:data/lanes.yaml", "folder:other/lanes.yaml", "folder:one.yaml"
    rows = [row(store, name, dataset=name, train_dataset=name) for name in (path, twin, single, "synthetic")]
    data = {path: DataFacts(title="Lanes"), twin: DataFacts(title="Lanes"), single: DataFacts(title="One")}
    data["synthetic"] = DataFacts(title="Something generated")
    store.write_manifest(Manifest(name="g", written=START, rows=rows, data=data))
    shown = [line.cells["dataset"].value for line in build_table(store).rows]
    assert shown == [f"Lanes ({path})", f"Lanes ({twin})", "One", "synthetic"]
