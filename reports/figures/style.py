"""One look for all figures, and files that are the same bytes for the same data."""

from __future__ import annotations

import io
import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import accumulate, cycle, islice
from pathlib import Path
from typing import Any

import matplotlib as mpl
from fontTools import subset
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from matplotlib.ft2font import FT2Font

from spectral_bench.common.files import write_bytes

COLUMN_WIDTH = 3.4  # inches: one column of a two-column paper
PAGE_WIDTH = 7.0  # inches: both columns
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">", "*", "p", "h")
FORMATS = ("pdf", "svg", "png")
FONT = "DejaVu Sans"  # comes with matplotlib, so figures look the same on every machine
_MEASURED = 1000  # points; characters are measured large, as pixels round small ones
_GRID: Any = {  # seaborn's style "whitegrid", from a package whose import takes a second
    "figure.facecolor": "white",
    "axes.axisbelow": True,
    "axes.edgecolor": ".8",
    "axes.facecolor": "white",
    "axes.grid": True,
    "axes.labelcolor": ".15",
    "axes.spines.bottom": True,
    "axes.spines.left": True,
    "axes.spines.right": True,
    "axes.spines.top": True,
    "grid.color": ".8",
    "grid.linestyle": "-",
    "lines.solid_capstyle": "round",
    "patch.edgecolor": "w",
    "patch.force_edgecolor": True,
    "text.color": ".15",
    "xtick.bottom": False,
    "xtick.color": ".15",
    "xtick.direction": "out",
    "xtick.top": False,
    "ytick.color": ".15",
    "ytick.direction": "out",
    "ytick.left": False,
    "ytick.right": False,
}
_COLOUR_BLIND = "0173b2 de8f05 029e73 d55e00 cc78bc ca9161 fbafe4 949494 ece133 56b4e9"  # seaborn's "colorblind"
_RC: Any = {
    "font.family": FONT,
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "axes.linewidth": 0.6,
    "grid.linewidth": 0.4,
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
    "svg.hashsalt": "reports",
}


@contextmanager
def style() -> Iterator[None]:
    """Draw in the house style within a ``with`` block; nothing changes outside of it."""
    with mpl.rc_context(_GRID | _RC):
        yield


def new_figure(height: float, width: float = COLUMN_WIDTH) -> Figure:
    """An empty figure of this size in inches, laid out so that nothing overlaps or is cut off."""
    return Figure(figsize=(width, height), layout="constrained")


def colours(count: int, *, grey: bool = True) -> list[tuple[float, float, float]]:
    """So many colours that people with any colour vision can tell apart, as far as there are; then they repeat.

    Figures use markers, hatches or labels beside colour throughout.

    Args:
        count: how many.
        grey: whether grey may be one of them; not where it means something of its own.
    """
    held: list[Any] = [to_rgb(f"#{colour}") for colour in _COLOUR_BLIND.split()]
    return list(islice(cycle(held if grey else [colour for colour in held if len(set(colour)) > 1]), count))


def set_logarithmic(axes: Axes, values: Sequence[float], factor: float = 4.0) -> None:
    """Make the x axis logarithmic if the values are positive and span at least a factor."""
    if not values or min(values) <= 0 or max(values) < factor * min(values):
        return
    axes.set_xscale("log")
    if max(values) < 10 * min(values):  # a decade or less holds one labelled tick at most: label some values instead
        low, high = min(values), max(values)
        axes.set_xticks(
            [low, math.sqrt(low * high), high], [f"{tick:.3g}" for tick in (low, math.sqrt(low * high), high)]
        )
    axes.minorticks_off()


def legend_below(figure: Figure, axes: Axes, columns: int = 2, last: Collection[str] = ()) -> None:
    """Put the legend of some axes under the figure, outside of what is drawn, in fewer columns where names are long.

    Args:
        figure: what it is put into.
        axes: whose legend it is.
        columns: at most.
        last: names that stand at its end.
    """
    found = sorted(zip(*axes.get_legend_handles_labels(), strict=True), key=lambda pair: pair[1] in last)
    if found:
        handles, labels = zip(*found, strict=True)
        columns = legend_columns(labels, figure.get_figwidth(), columns)
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, handlelength=1.5)


def legend_columns(labels: Sequence[str], width: float = COLUMN_WIDTH, most: int = 2) -> int:
    """How many columns of such labels, up to ``most``, fit into ``width`` inches."""
    longest = max(map(len, labels), default=0)
    return max(1, min(most, int(width / (0.35 + 0.055 * longest))))


def legend_rows(names: Sequence[str], most: int = 2) -> int:
    """How many rows a legend of these names, shortened, takes in one column of a paper."""
    return -(-len(names) // legend_columns([shorten(name) for name in names], most=most))


def columns_that_fit(names: Sequence[str], room: float, size: float, around: float, most: int) -> int:
    """How many columns of a legend fit, by the width of each as matplotlib fills them, one column after the other.

    Args:
        names: as they are drawn.
        room: inches.
        size: of the font, in points.
        around: inches that a column takes beside its longest name.
        most: columns at most.
    """
    widths = [around + width_of(letters(name), size) for name in names]

    def width(count: int) -> float:
        return sum(max(part, default=0.0) for part in _filled(widths, count))

    return next((count for count in range(most, 1, -1) if width(count) <= room), 1)


def _filled(values: Sequence[float], count: int) -> Iterator[Sequence[float]]:
    """Values in so many columns, the first ones one longer where they cannot be of one length."""
    each, more = divmod(len(values), count)
    for column in range(count):
        start = column * each + min(column, more)
        yield values[start : start + each + (column < more)]


def shorten(text: str, most: int = 34) -> str:
    """A label that fits: what is too long, as it is drawn, loses its middle. It is ``printable`` too."""
    return "".join(shortened(letters(text), most))


def printable(text: str) -> str:
    """Text as the figures' font shows it: what it lacks as code points, and no dollar begins a formula."""
    return "".join(letters(text))


def letters(text: str) -> list[str]:
    """Text as it is drawn, each of its characters by itself: one that the font lacks is a code point, as ``[U+65B9]``.

    Runs of white space are one blank, and a dollar is escaped, lest it begin a formula.
    """
    return [_letter(char) for char in " ".join(text.split())]


def shortened(found: Sequence[str], most: int) -> list[str]:
    """Letters that are ``most`` characters as drawn or fewer: too many lose their middle. No code point is cut."""
    if sum(map(_length, found)) <= most:
        return list(found)
    head = _fitting(found, (most - 1) // 2)
    tail = _fitting(found[::-1], most - 1 - sum(map(_length, head)))
    return [*head, "…", *tail[::-1]]


def width_of(found: Sequence[str], size: float) -> float:
    """About how many inches wide letters are drawn at a font size in points."""
    return size / 72 * sum(_advance(char) for letter in found for char in letter.removeprefix("\\"))


def _letter(char: str) -> str:
    if char == "$":
        return r"\$"
    return char if _font().get_char_index(ord(char)) else f"[U+{ord(char):04X}]"


def _length(letter: str) -> int:
    """Characters that are drawn."""
    return 1 if letter == r"\$" else len(letter)


def _fitting(found: Sequence[str], most: int) -> list[str]:
    """The first letters that are ``most`` characters together."""
    lengths = accumulate(map(_length, found))
    return [letter for letter, length in zip(found, lengths, strict=True) if length <= most]


@cache
def _advance(char: str) -> float:
    """How wide a character is, in units of the font size."""
    _font().set_size(_MEASURED, 72)
    return float(_font().load_char(ord(char)).horiAdvance) / 64 / _MEASURED


@cache
def _font() -> FT2Font:
    return FT2Font(findfont(FONT))  # one of our own: matplotlib sets the size of those that it keeps


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write ``<stem>.pdf``, ``<stem>.svg`` and ``<stem>.png`` (200 dpi); the same figure gives the same bytes.

    Raises:
        StoreError: the disk is full or the folder cannot be written.
    """
    paths = []
    for form in FORMATS:
        path = stem.with_name(f"{stem.name}.{form}")
        write_bytes(path, rendered(figure, form))
        paths.append(path)
    return paths


def rendered(figure: Figure, form: str) -> bytes:
    """A figure as the bytes of a PDF, PNG or SVG file, without dates."""
    dates = {"pdf": {"CreationDate": None}, "png": {"Software": None}, "svg": {"Date": None}}
    stream = io.BytesIO()
    with style():
        engine = figure.get_layout_engine()
        if engine is not None:  # lay out once: each further drawing would move things a little
            engine.execute(figure)
            figure.set_layout_engine(None)  # "none" would leave a stand-in, for which each file is drawn twice more
        with _glyphs_alone():
            figure.savefig(stream, format=form, metadata=dates[form])
    return stream.getvalue()


# Tables of a font that no reader of a PDF looks at: where its glyphs stand is written into the page.
_LAYOUT_TABLES = ("GDEF", "GPOS", "GSUB", "MATH", "kern")


@contextmanager
def _glyphs_alone() -> Iterator[None]:
    """Within the block matplotlib embeds fonts without rules of layout: cutting those down takes most of its time."""
    load = subset.load_font

    def load_glyphs(*given: Any, **named: Any) -> Any:
        font = load(*given, **named)
        for tag in _LAYOUT_TABLES:
            if tag in font:
                del font[tag]
        return font

    subset.load_font = load_glyphs
    try:
        yield
    finally:
        subset.load_font = load
