"""Pictures inside of figures: axes without ticks, arrays no larger than they can be seen, labels that fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from spectral_bench.reports.figures.style import letters, shortened, width_of

MOST_PIXELS = 360  # the longer side of a picture: 300 dpi at 1.2 inches
_SIZES = (6.0, 5.5, 5.0)  # points
_LINES = 3
_MOST = 200  # letters of a text
_BREAKS = " ,_-/…"

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


def headings(texts: Sequence[str], width: float) -> tuple[list[str], float]:
    """Texts on lines that fit ``width`` inches, and the font size in points that all of them have.

    Lines end at spaces, and where that is not enough behind commas, underscores, hyphens and slashes. Where a word is
    wider than a line all texts get smaller; a word is broken only where it is too wide in the smallest size. What takes
    more than three lines loses its middle.
    """
    found = [shortened(letters(text), _MOST) for text in texts]  # of more than these no line would have room
    parts = [part for text in found for part in _parts(text, _BREAKS)]
    size = next((size for size in _SIZES if all(width_of(_bare(part), size) <= width for part in parts)), _SIZES[-1])
    return ["\n".join(_lines(text, width, size)) for text in found], size


def _lines(text: Sequence[str], width: float, size: float) -> list[str]:
    """A text on three lines or fewer, without its middle where it is longer."""
    for most in range(len("".join(text)), 0, -1):
        kept = shortened(text, most)
        for breaks in (" ", _BREAKS):
            lines = _filled(_parts(kept, breaks), width, size)
            if len(lines) <= _LINES:
                return ["".join(_bare(line)) for line in lines]
    return []


def _filled(parts: Sequence[list[str]], width: float, size: float) -> list[list[str]]:
    """Parts on lines, as many on each as fit; one that is too wide for a line is broken."""
    lines: list[list[str]] = []
    for part in parts:
        if lines and width_of(_bare([*lines[-1], *part]), size) <= width:
            lines[-1] += part
        elif width_of(_bare(part), size) <= width or len(part) == 1:
            lines.append(list(part))
        else:
            smaller = _parts(part, _BREAKS)
            lines += _filled(smaller if len(smaller) > 1 else [[letter] for letter in part], width, size)
    return lines


def _parts(text: Sequence[str], breaks: str) -> list[list[str]]:
    """A text cut behind each of some signs and, unless these are spaces alone, around code points."""
    parts: list[list[str]] = [[]]
    for letter in text:
        alone = breaks != " " and letter.startswith("[U+")
        if alone:
            parts.append([])
        parts[-1].append(letter)
        if alone or letter in breaks:
            parts.append([])
    return [part for part in parts if part]


def _bare(line: Sequence[str]) -> list[str]:
    """A line without the blank that it ends with."""
    return list(line[:-1] if line and line[-1] == " " else line)
