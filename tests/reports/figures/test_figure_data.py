"""The data of figures: what was drawn from data, rounded, and nothing that matplotlib chooses."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from spectral_bench.reports.figures.data import figure_data
from spectral_bench.reports.figures.style import new_figure


def panels(figure: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(figure_data(figure))["panels"]
    return found


def test_everything_that_is_drawn_from_data_is_told() -> None:
    figure = new_figure(2)
    axes, other = figure.subplots(1, 2)
    axes.plot([1, 2], [1 / 3, np.nan], label="a line")
    axes.barh([0, 1], [2.0, 3.0], left=[0.5, 0.0], label="bars")
    axes.fill_between([1, 2, 3], [0.0, 1.0, 2.0], [4.0, 5.0, 7.0])
    axes.vlines([1.0], [2.0], [3.0])
    axes.scatter([1.0], [2.0], label="marks")
    axes.text(0, 0, "told")
    axes.set(xlabel="x", ylabel="y", title="t")
    mesh = other.pcolormesh(np.ma.masked_invalid([[1.0, np.nan]]))
    figure.colorbar(mesh, ax=other)
    other.set_xticks([0, 1], ["zero", "one"])
    first, second = panels(figure)
    assert first["panel"] == {"title": "t", "x": "x", "y": "y"}
    assert first["drawn"] == [
        {"kind": "line", "name": "a line", "x": [1, 2], "y": [0.33333333, None]},
        {
            "kind": "bars",
            "name": "bars",
            "left": [0.5, 0.0],
            "bottom": [-0.4, 0.6],
            "width": [2.0, 3.0],
            "height": [0.8, 0.8],
        },
        {"kind": "area", "x": [1.0, 2.0, 3.0], "low": [0.0, 1.0, 2.0], "high": [4.0, 5.0, 7.0]},
        {"kind": "line", "x": [1.0, 1.0], "y": [2.0, 3.0]},
        {"kind": "points", "name": "marks", "x": [1.0], "y": [2.0]},
        {"kind": "text", "text": "told"},
    ]
    assert second == {"panel": {"x_names": ["zero", "one"]}, "drawn": [{"kind": "map", "values": [1.0, None]}]}


def test_the_same_data_gives_the_same_bytes_and_other_data_others() -> None:
    def drawn(value: float) -> bytes:
        figure = new_figure(2)
        figure.subplots().plot([1.0], [value])
        return figure_data(figure)

    assert drawn(1.0) == drawn(1.0 + 1e-15)
    assert drawn(1.0) != drawn(1.0 + 1e-6)


def test_hidden_panels_are_left_out() -> None:
    figure = new_figure(2)
    for axes in figure.subplots(1, 2):
        axes.plot([1], [2])
    axes.set_visible(False)
    assert len(panels(figure)) == 1
    assert panels(new_figure(2)) == []
