"""Pictures inside of figures: axes without ticks, arrays no larger than they can be seen, labels that fit."""

from __future__ import annotations

import textwrap
from typing import Any, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from spectral_bench.reports.figures.style import printable, shorten

MOST_PIXELS = 360  # the longer side of a picture: 300 dpi at 1.2 inches
_CHARACTERS = 17  # of 6 points an inch of width
_LINES = 2

Number = TypeVar("Number", bound=np.generic)


def thinned(array: NDArray[Number], most: int = MOST_PIXELS) -> NDArray[Number]:
    """An (H, W, ...) array with every n-th row and column only, so that neither side exceeds ``most``."""
    step = max(1, -(-max(array.shape[:2]) // most))
    return array[step // 2 :: step, step // 2 :: step]


def picture(axes: Axes, array: NDArray[Any], **looks: Any) -> None:
    """Draw an (H, W) or (H, W, 3) array as it is, without ticks or a grid, with a thin frame."""
    axes.imshow(array, interpolation="nearest", **looks)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)


def tighten(figure: Figure) -> None:
    """Set the pictures of a figure close together."""
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.set(w_pad=0.015, h_pad=0.02, wspace=0.0, hspace=0.0)


def heading(text: str, width: float) -> str:
    """A text on at most two lines that fit ``width`` inches; what is too long loses its middle."""
    across = max(4, int(_CHARACTERS * width))
    lines = textwrap.wrap(printable(text), across)
    if len(lines) > _LINES:
        short = shorten(text, 2 * across)
        lines = [short[:across], short[across:]]
    return "\n".join(lines)
