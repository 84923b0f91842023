"""Names in figures: whatever their characters, they are told, and nothing grows beyond the figure."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from report_samples import Outcome, add_row, write_grid

from spectral_bench.reports.collect import collect
from spectral_bench.reports.figures.all import all_figures
from spectral_bench.reports.figures.style import rendered, shorten
from spectral_bench.results.class_lists import ClassList
from spectral_bench.results.record import ClassTable
from spectral_bench.results.store import Store

pytestmark = pytest.mark.filterwarnings("error")  # such as a layout that does not fit


def inside(figure: Figure) -> bool:
    """Whether all that a figure shows lies within it once it is laid out."""
    rendered(figure, "svg")
    box = figure.get_tightbbox(FigureCanvasAgg(figure).get_renderer())
    width, height = figure.get_size_inches()
    return bool(box.x0 > -0.02 and box.x1 < width + 0.02 and box.y0 > -0.02 and box.y1 < height + 0.02)


def test_figures_of_names_that_the_font_lacks_stay_legible(store: Store):
    """A code point takes the place of eight letters, so what is too long is cut after it has taken its place."""
    names = ["k-means, 中文标题测试", "更长的中文标题用来测试图例和标题的宽度是否合适", "另一种方法"]
    rows = [
        add_row(store, name, {0: Outcome(10 + index, fit_s=10.0 + index)}, method=f"m{index}")
        for index, name in enumerate(names)
    ]
    entries = collect(write_grid(store, *rows))
    for row in rows:
        lines = [{"step": step, "loss": 1.0 / step, "一个很长的指标的名称": len(row.title) + step} for step in (1, 2)]
        (store.run_folder(row.runs[0]) / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    classes = ClassTable(classes=["道路和人行道以及其他铺装的地面", "天空"], raw_ids=[[0], [1]])
    entries = [replace(entry, classes=ClassList("two", classes)) for entry in entries]
    found = all_figures(entries, store.run_folder, against=[names[0]])
    assert set(found) == {"differences-1", "trade-off-1", "per-class-1", "stages-1", "training-1"}
    for name, figure in found.items():
        assert inside(figure), name
        assert all(axes.get_position().width > 0.2 for axes in figure.axes if axes.get_label() != "<colorbar>"), name


@pytest.mark.parametrize("length", [1, 4, 9, 34])
def test_no_code_point_is_cut(length: int):
    for text in ("方" * 20, "k-means, 中文标题测试", "$" * 40, "短"):
        shown = shorten(text, length)
        assert len(shown.replace(r"\$", "$")) <= length
        assert not re.sub(r"\[U\+[0-9A-F]{4}\]", "", shown).strip("k-means, $\\…"), shown
    assert shorten("k-means, 中文标题测试") == "k-means, …[U+9898][U+6D4B][U+8BD5]"
