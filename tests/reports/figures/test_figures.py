from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from report_samples import FAILED, VIEW, Outcome, add_row, miou, outcomes, write_grid

from spectral_bench.reports.ablations import ablations
from spectral_bench.reports.collect import collect
from spectral_bench.reports.figures.ablation import ablation_figure, baseline_value, points
from spectral_bench.reports.figures.all import all_figures, caption
from spectral_bench.reports.figures.per_class import per_class_figure
from spectral_bench.reports.figures.stages import bars, stage_figure
from spectral_bench.reports.figures.style import (
    colours,
    legend_columns,
    new_figure,
    printable,
    rendered,
    save,
    set_logarithmic,
    shorten,
    style,
)
from spectral_bench.reports.figures.trade_off import Mark, _memory, marks, pareto_front, trade_off_figure
from spectral_bench.reports.figures.training import collect_curves, training_figure
from spectral_bench.reports.peaks import undisturbed
from spectral_bench.reports.rows import ScoredRow
from spectral_bench.results.manifest import DataFacts, Manifest
from spectral_bench.results.specification import Features, Protocol, Scoring
from spectral_bench.results.store import Store


def curve(store: Store, run_id: str, values: list[float], **more: float) -> None:
    folder = store.run_folder(run_id)
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"step": step, "loss": value, "lr": 0.1 * step, **more}) for step, value in enumerate(values)]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")


pytestmark = pytest.mark.filterwarnings("error")  # such as a layout that does not fit


@pytest.fixture
def entries(store: Store) -> list[ScoredRow]:
    """An ablation of two factors, one failed; a plain row and one that uses labels; curves of two runs."""
    rows = [
        add_row(store, "base", outcomes(20, 22), role="baseline", settings={"k": 8, "graph": "knn"}),
        add_row(store, "k=4", outcomes(30, 33), role="variation", factor="k", value=4),
        add_row(store, "k=64", {0: Outcome(10)}, role="variation", factor="k", value=64),
        add_row(store, "full", {0: FAILED}, role="variation", factor="graph", value="full"),
        add_row(store, "plain", {0: Outcome(25, fit_s=500.0)}),
        add_row(store, "probe", {0: Outcome(2)}, uses_labels=True),
    ]
    write_grid(store, *rows)
    curve(store, rows[0].runs[0], [3.0, 2.0, 1.0])
    curve(store, rows[0].runs[1], [4.0, 3.0])
    return collect(store)


def axes_of(figure: Figure | None) -> list[mpl.axes.Axes]:
    assert figure is not None
    return [axes for axes in figure.axes if axes.get_visible()]


def test_every_figure_of_a_grid_is_drawn_and_written(entries: list[ScoredRow], store: Store, tmp_path: Path):
    found = all_figures(entries, store.run_folder)
    assert list(found) == ["ablation-example-1", "trade-off-1", "per-class-1", "stages-1", "training-1"]
    for name, figure in found.items():
        pdf, svg, png = save(figure, tmp_path / f"{name}.v1")
        assert pdf.name == f"{name}.v1.pdf"
        assert pdf.read_bytes().startswith(b"%PDF")
        assert svg.read_bytes().startswith(b"<?xml")
        assert png.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("form", ["pdf", "png", "svg"])
def test_the_same_data_give_the_same_bytes_whatever_was_drawn_before(entries: list[ScoredRow], form: str):
    first, second = ablation_figure(ablations(entries)[0]), ablation_figure(ablations(entries)[0])
    rendered(second, "png")
    assert rendered(first, form) == rendered(second, form)


def test_figures_fit_one_column(entries: list[ScoredRow], store: Store):
    widths = [figure.get_figwidth() for figure in all_figures(entries, store.run_folder).values()]
    assert max(widths) <= 3.7


def test_times_on_unlike_hardware_have_figures_of_their_own(store: Store):
    cpu = {"environment": {"cpu": "Some CPU"}, "execution": {"device": "cpu"}}
    rows = [
        add_row(store, "a", {0: Outcome(10, **cpu)}),
        add_row(store, "b", {0: Outcome(12, fit_s=20.0, **cpu)}),
        add_row(store, "c", {0: Outcome(14)}),
    ]
    second = Protocol(name="h", view=VIEW, scoring=Scoring(matching="hungarian"))
    rows.append(rows[0].model_copy(update={"protocols": [second]}))  # the same fits: no further bars
    found = all_figures(collect(write_grid(store, *rows)), store.run_folder)
    assert [name for name in found if name.startswith(("stages", "trade-off"))] == [
        "trade-off-1",
        "stages-1",
        "stages-2",
    ]
    assert [found[name].get_suptitle() for name in ("stages-1", "stages-2")] == ["Some CPU", "hardware not recorded"]


def test_long_names_get_a_legend_of_one_column(store: Store):
    rows = [add_row(store, f"a rather long name of a row, number {n}", {0: Outcome(n, fit_s=n)}) for n in (10, 20)]
    figure = trade_off_figure(collect(write_grid(store, *rows)))
    assert figure is not None
    rendered(figure, "svg")
    box = figure.legends[0].get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width
    assert legend_columns(["short", "names"]) == 2


def test_names_that_the_font_lacks_are_told_by_code_point(store: Store):
    assert printable("k_means 方 α $x$") == r"k_means [U+65B9] α \$x\$"
    write_grid(store, add_row(store, "方法 $a$", outcomes(10), method="m"), add_row(store, "b", outcomes(12)))
    figure = stage_figure(collect(store))
    assert figure is not None
    rendered(figure, "svg")  # a missing glyph would warn, and warnings are errors here


def test_nothing_outside_of_a_figure_changes(entries: list[ScoredRow]):
    before = dict(mpl.rcParams)
    stage_figure(entries)
    assert dict(mpl.rcParams) == before


def test_points_of_a_numeric_factor_ascend_with_the_baseline_among_them(entries: list[ScoredRow]):
    found = points(entries[0], entries[1:3], "k")
    assert [(point.value, point.baseline) for point in found] == [(4, False), (8, True), (64, False)]
    assert found[1].summary is not None
    assert found[1].summary.mean == pytest.approx((miou(20) + miou(22)) / 2)
    assert found[2].summary is not None
    assert found[2].summary.low is None


def test_points_of_names_keep_their_order_and_failed_ones_have_no_value(entries: list[ScoredRow]):
    found = points(entries[0], [entries[3]], "graph")
    assert [(point.value, point.summary is None) for point in found] == [("knn", False), ("full", True)]


def test_the_baselines_value_comes_from_its_parameters_or_settings(entries: list[ScoredRow]):
    assert baseline_value(entries[0], "title") == "base"
    assert baseline_value(entries[0], "k") == 8
    assert baseline_value(entries[0], "alpha") is None
    nested = entries[0].row.model_copy(update={"settings": {"params": {"alpha": 0.3}}})
    assert baseline_value(ScoredRow("g", "", nested, entries[0].protocol, ()), "alpha") == 0.3


def test_an_ablation_has_a_panel_a_factor(entries: list[ScoredRow]):
    (ablation,) = ablations(entries)
    k, graph = axes_of(ablation_figure(ablation))
    assert (k.get_xlabel(), graph.get_xlabel()) == ("k", "graph")
    assert k.get_xscale() == "log"
    assert [label.get_text() for label in k.get_xticklabels()] == ["4", "8", "64"]
    assert [label.get_text() for label in graph.get_xticklabels()] == ["knn", "full"]
    assert [text.get_text() for text in graph.texts] == ["no result"]
    assert graph.get_xlim()[0] < 0 < 1 < graph.get_xlim()[1]


COSTS = st.lists(
    st.tuples(st.floats(0.1, 1e4), st.floats(0, 100), st.booleans()).map(lambda found: Mark("x", *found)), max_size=12
)


@given(COSTS)
def test_the_front_holds_exactly_what_no_ranked_row_beats(found: list[Mark]):
    def beaten(mark: Mark) -> bool:
        ranked = [other for other in found if other.ranked]
        return any(
            other.cost <= mark.cost and other.miou >= mark.miou and (other.cost, other.miou) != (mark.cost, mark.miou)
            for other in ranked
        )

    front = pareto_front(found)
    assert {(mark.cost, mark.miou) for mark in front} == {
        (mark.cost, mark.miou) for mark in found if mark.ranked and not beaten(mark)
    }
    assert all(one.cost < other.cost and one.miou < other.miou for one, other in pairwise(front))


def test_marks_need_a_score_and_a_cost(entries: list[ScoredRow]):
    found = marks(entries, lambda result: 1.0 if result.fit is not None else None, 2.0)
    assert [mark.title for mark in found] == ["base", "k=4", "k=64", "plain", "probe †"]
    assert {mark.cost for mark in found} == {0.5}
    assert [mark.ranked for mark in found] == [True, True, True, True, False]


def test_one_row_makes_no_trade_off(entries: list[ScoredRow]):
    assert trade_off_figure(entries[:1]) is None
    assert len(axes_of(trade_off_figure(entries))) == 2


def test_bars_add_up_to_the_run(entries: list[ScoredRow]):
    (axes,) = axes_of(stage_figure(entries))
    ends = {round(patch.get_y() + patch.get_height() / 2): patch.get_x() + patch.get_width() for patch in axes.patches}
    assert ends[0] == pytest.approx(10 + 2)
    assert ends[3] == pytest.approx(500 + 2)
    assert stage_figure([entries[3]]) is None


def test_bars_end_before_the_axis_does(store: Store):
    """A stage that the longest bar has none of ends where the bar does, and matplotlib would end the axis there."""
    rows = [
        add_row(store, "long", {0: Outcome(10, fit_s=90.0)}),
        add_row(store, "short", {0: Outcome(12, health_s=1.0)}, method="m"),
    ]
    (axes,) = axes_of(stage_figure(collect(write_grid(store, *rows))))
    assert axes.get_xlim() == (0, pytest.approx(1.05 * (90 + 2)))


def test_cached_features_have_a_bar_of_their_own(store: Store):
    """The baseline came first and made them, so its bar would be the longest."""
    rows = [
        add_row(store, "first", {0: Outcome(10), 1: Outcome(10, features_reused=True)}),
        add_row(store, "second", {0: Outcome(12, features_reused=True, fit_s=11.0)}),
    ]
    found = {bar.title: sum(bar.seconds.values()) for bar in bars(collect(write_grid(store, *rows)))}
    assert found == {"first": 10 + 2, "second": 11 + 2, "features of random, synthetic": 3}


def test_bars_of_features_name_own_data_by_their_title(store: Store):
    path = "folder:leaves.yaml"
    own = add_row(store, "a", {0: Outcome(10)}, dataset=path, train_dataset=path)
    store.write_manifest(Manifest(name="g", written="", rows=[own], data={path: DataFacts(title="Leaves")}))
    assert [bar.title for bar in bars(collect(store))] == ["a", "features of random, Leaves"]


def test_features_that_each_run_computes_stay_in_its_bar(entries: list[ScoredRow]):
    for entry in entries:
        for result in entry.done:
            assert result.fit is not None
            result.fit.spec = result.fit.spec.model_copy(update={"features": Features(mode="online")})
    first = bars(entries)[0]
    assert (first.title, sum(first.seconds.values())) == ("base", 3 + 10 + 2)
    assert not [bar for bar in bars(entries) if bar.title.startswith("features")]


def test_who_extracted_the_features_stays_on_the_front(store: Store):
    """Both take the same memory for themselves; the better one came first and extracted what both read."""
    rows = [
        add_row(store, "baseline", {0: Outcome(10), 1: Outcome(11, features_reused=True)}),
        add_row(store, "worse", {0: Outcome(30, features_reused=True), 1: Outcome(31, features_reused=True)}),
    ]
    found = marks(collect(write_grid(store, *rows)), _memory, 1.0, undisturbed)
    assert [mark.title for mark in pareto_front(found)] == ["baseline"]
    assert {mark.cost for mark in found} == {4e8}


def test_the_heat_map_leaves_absent_classes_empty(store: Store):
    three = Protocol(name="three", view=VIEW, scoring=Scoring(classes="three"))
    write_grid(store, add_row(store, "a", outcomes(10), protocols=[three]), add_row(store, "f", {0: FAILED}))
    found = collect(store)
    axes = axes_of(per_class_figure(found[:1]))[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["sky", "sea", "ship"]
    values = axes.collections[0].get_array()
    assert values is not None
    assert np.ma.getmaskarray(np.ma.masked_invalid(values)).ravel().tolist() == [False, False, True]
    assert per_class_figure(found[1:]) is None


def test_curves_of_all_seeds_and_no_schedules(entries: list[ScoredRow], store: Store):
    curves = collect_curves(entries, store.run_folder)
    assert curves["loss"] == {"base": [{0: 3.0, 1: 2.0, 2: 1.0}, {0: 4.0, 1: 3.0}]}
    shown = axes_of(training_figure(entries, store.run_folder))
    assert [axes.get_title() for axes in shown] == ["loss", "lr"]  # the seeds stopped at different steps

    for last, run_id in enumerate(entries[0].all_runs):
        curve(store, run_id, [3.0, 2.0, float(last)])
    assert [axes.get_title() for axes in axes_of(training_figure(entries, store.run_folder))] == ["loss"]


def test_no_curve_no_figure(store: Store):
    write_grid(store, add_row(store, "a", outcomes(10)))
    assert training_figure(collect(store), store.run_folder) is None


@pytest.mark.parametrize(
    ("values", "scale"), [([], "linear"), ([0.0, 5.0], "linear"), ([1.0, 3.9], "linear"), ([1.0, 4.0], "log")]
)
def test_an_axis_is_logarithmic_where_that_helps(values: list[float], scale: str):
    axes = new_figure(1).subplots()
    set_logarithmic(axes, values)
    assert axes.get_xscale() == scale


def test_labels_lose_their_middle():
    assert shorten("short") == "short"
    assert shorten("a" * 20 + "b" * 20, 11) == "aaaaa…bbbbb"
    assert len(shorten("x" * 100)) == 34


def test_colours_and_style():
    assert len(set(colours(10))) == 10
    with style():
        assert mpl.rcParams["pdf.fonttype"] == 42


def test_figures_of_many_rows_stay_legible(store: Store):
    rows = [
        add_row(store, f"row {index:02}", {0: Outcome(50 - index, fit_s=100.0 + index % 7)}, method=f"m{index}")
        for index in range(45)
    ]
    write_grid(store, *rows)
    for row in rows[:20]:
        curve(store, row.runs[0], [3.0, float(len(row.title) + rows.index(row))])
    found = collect(store)
    heat, stages = axes_of(per_class_figure(found))[0], axes_of(stage_figure(found))[0]
    assert [label.get_text() for label in heat.get_xticklabels()] == [f"row {index:02}" for index in range(15, 45)]
    assert len(stages.get_yticklabels()) == 40 + 1  # that of the features
    trade_off, training = trade_off_figure(found), training_figure(found, store.run_folder)
    assert trade_off is not None
    assert training is not None
    named = {text.get_text() for text in trade_off.legends[0].get_texts()}
    fronts = {
        mark.title for mark in pareto_front(marks(found, lambda result: result.fit and result.fit.costs[1].wall_s, 1.0))
    }
    assert fronts <= named
    assert len(named) <= 16
    assert len(training.legends[0].get_texts()) == 12


def test_of_many_rows_those_that_use_labels_keep_name_and_open_marker(store: Store):
    rows = [
        add_row(store, f"row {index:02}", {0: Outcome(50 - index, fit_s=100.0 + index % 7)}, method=f"m{index}")
        for index in range(25)
    ]
    rows += [add_row(store, f"seer {index}", {0: Outcome(index)}, uses_labels=True) for index in range(2)]
    entries = collect(write_grid(store, *rows))
    figure = trade_off_figure(entries)
    assert figure is not None
    axes = figure.axes[0]
    lines = {str(line.get_label()): line for line in axes.get_lines()}
    assert len(lines["others, on no front"].get_xdata()) + sum(name.startswith("row") for name in lines) == 25
    for name in ("seer 0 †", "seer 1 †"):
        assert lines[name].get_markerfacecolor() == "white"
    assert all(
        len(set(to_rgb(line.get_color()))) > 1 for name, line in lines.items() if name.startswith(("row", "seer"))
    )
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"seer 0 †", "seer 1 †"} < set(legend)
    assert legend[-1] == "others, on no front"
    assert "Small grey dots: other rows on no front" in caption("trade-off-1", entries, figure)
    assert "Small grey dots" not in caption("trade-off-1", entries[:5], trade_off_figure(entries[:5]))


def test_more_rows_kept_out_than_there_are_names_are_open_dots(store: Store):
    rows = [add_row(store, "row", {0: Outcome(50)}, method="m")]
    rows += [add_row(store, f"seer {index:02}", {0: Outcome(index)}, uses_labels=True) for index in range(23)]
    figure = trade_off_figure(collect(write_grid(store, *rows)))
    assert figure is not None
    lines = {str(line.get_label()): line for line in figure.axes[0].get_lines()}
    assert len(lines["others, kept out of it"].get_xdata()) == 4
    assert lines["others, kept out of it"].get_markerfacecolor() == "white"
    assert len(figure.legends[0].get_texts()) == 20 + 1
