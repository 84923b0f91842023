"""The first eigenfunctions of an image as maps, for every fit of the gallery that has some."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spectral_bench.reports.figures.maps import headings, picture, thinned, tighten
from spectral_bench.reports.figures.style import COLUMN_WIDTH, PAGE_WIDTH, new_figure, style
from spectral_bench.reports.gallery.panels import Panels
from spectral_bench.results.panels import FUNCTIONS, Panel

COLOURS = "RdBu_r"  # diverging, and told apart by people of any colour vision
_IN_ONE_COLUMN = 4  # maps


def eigenfunction_figure(panels: Panels) -> Figure | None:
    """A line a fit: the median image of the gallery, and the fit's first eigenfunctions on it, in the fit's own order.

    Each map is divided by its value of the largest magnitude, which fixes its sign; white is 0. None where no fit has
    eigenfunctions.
    """
    number = next((place for place, image in enumerate(panels.gallery.images) if "median" in image.rules), 0)
    shown = [(fit, own[number]) for fit, own in panels.fits if len(own[number].functions)]
    if not shown:
        return None
    n_maps = min(FUNCTIONS, max(len(panel.functions) for _, panel in shown))
    width = COLUMN_WIDTH if n_maps <= _IN_ONE_COLUMN else PAGE_WIDTH
    across = width / (1 + n_maps) - 0.06
    heights = [across * panel.window.shape[0] / panel.window.shape[1] for _, panel in shown]
    with style():
        figure = new_figure(sum(heights) + 0.04 * len(heights) + 0.78, width)
        tighten(figure)
        grid = figure.subplots(len(shown), 1 + n_maps, squeeze=False, gridspec_kw={"height_ratios": heights})
        for (fit, panel), line, height in zip(shown, grid, heights, strict=True):
            (title,), size = headings([fit.entry.marked_title], height + 0.1)
            line[0].set_ylabel(title, fontsize=size)
            picture(line[0], thinned(panel.window))
            for index, axes in enumerate(line[1:]):
                _map(axes, panel, index)
        for index, axes in enumerate(grid[0][1:], start=1):
            axes.set_title(str(index), fontsize=7, pad=2)
        colours = next(axes.images[0] for axes in grid[:, 1] if axes.images)
        bar = figure.colorbar(colours, ax=list(grid.flat), location="bottom", shrink=0.4, aspect=40, pad=0.02)
        bar.set_ticks([-1, 0, 1])
        bar.set_label("eigenfunction / largest magnitude", fontsize=7)
    return figure


def _map(axes: Axes, panel: Panel, index: int) -> None:
    """One eigenfunction over the window; what its grid spans beyond the window, padding, is cut off."""
    if index >= len(panel.functions):
        axes.set_visible(False)
        return
    height, width = panel.window.shape[:2]
    extent = (0.0, width * panel.cover[1], height * panel.cover[0], 0.0)
    picture(axes, panel.functions[index], cmap=COLOURS, vmin=-1, vmax=1, extent=extent)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
