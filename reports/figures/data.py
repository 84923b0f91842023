"""What a figure shows, as data: lines, bars, maps and texts, without anything that a version of matplotlib decides."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import Collection, LineCollection, PolyCollection
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator
from numpy.typing import NDArray

from spectral_bench.reports.formatting import rounded


def figure_data(figure: Figure) -> bytes:
    """A figure's data as JSON, a line for each thing that is drawn from data. The same data gives the same bytes.

    Of each panel ``title``, labels ``x`` and ``y``, names along axes of categories, and what is ``drawn``: a ``line``
    (x, y; an interval is one too), ``bars``, an ``area`` (x, low, high), ``points``, a ``map`` (its values, row by
    row), a ``text``. Numbers have 8 significant digits.
    """
    shown = [axes for axes in figure.axes if axes.get_visible() and axes.get_label() != "<colorbar>"]
    panels = [",\n".join(_panel(axes)) for axes in shown]
    return ('{"panels": [\n' + ",\n".join(panels) + "\n]}\n").encode()


def _panel(axes: Axes) -> Iterator[str]:
    """The lines of a panel: what it is called, then what is drawn in it."""
    found = {
        "title": axes.get_title(),
        "x": axes.get_xlabel(),
        "y": axes.get_ylabel(),
        "x_names": _names(axes.xaxis),
        "y_names": _names(axes.yaxis),
    }
    head = _json({key: value for key, value in found.items() if value})
    drawn = ",\n".join(map(_json, _drawn(axes)))
    yield f'{{"panel": {head}, "drawn": [\n{drawn}\n]}}'


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _names(axis: Axis) -> list[str]:
    """The names along an axis of categories; none where numbers are chosen as ticks."""
    if not isinstance(axis.get_major_locator(), FixedLocator):
        return []
    return [text for label in axis.get_ticklabels() if (text := label.get_text())]


def _drawn(axes: Axes) -> Iterator[dict[str, Any]]:
    for line in axes.get_lines():
        yield _told("line", line.get_label(), x=line.get_xdata(), y=line.get_ydata())
    for bars in (container for container in axes.containers if isinstance(container, BarContainer)):
        boxes = [(bar.get_x(), bar.get_y(), bar.get_width(), bar.get_height()) for bar in bars.patches]
        values = dict(zip(("left", "bottom", "width", "height"), zip(*boxes, strict=True), strict=True))
        yield _told("bars", bars.get_label(), **values)
    for collection in axes.collections:
        yield from _collected(collection)
    for image in axes.get_images():
        yield _told("map", image.get_label(), values=image.get_array())
    for text in axes.texts:
        yield {"kind": "text", "text": text.get_text()}


def _collected(collection: Collection) -> Iterator[dict[str, Any]]:
    label = collection.get_label()
    if isinstance(collection, LineCollection):
        segments = [np.asarray(segment) for segment in collection.get_segments()]
        yield from (_told("line", label, x=part[:, 0], y=part[:, 1]) for part in segments if len(part))
    elif isinstance(collection, PolyCollection):
        for path in collection.get_paths():
            yield _told("area", label, **_band(np.asarray(path.vertices)))
    elif collection.get_array() is not None:
        yield _told("map", label, values=collection.get_array())
    else:
        offsets = np.asarray(collection.get_offsets())
        yield _told("points", label, x=offsets[:, 0], y=offsets[:, 1])


def _band(vertices: NDArray[np.float64]) -> dict[str, list[float]]:
    """A band by its lowest and highest value at each place: how its outline runs is matplotlib's own choice."""
    places: dict[float, list[float]] = {}
    for x, y in vertices.tolist():
        places.setdefault(x, []).append(y)
    xs = sorted(places)
    return {"x": xs, "low": [min(places[x]) for x in xs], "high": [max(places[x]) for x in xs]}


def _told(kind: str, label: object, **values: Any) -> dict[str, Any]:
    """One thing; labels that matplotlib has made up begin with an underscore and are left out."""
    name = {} if str(label).startswith("_") else {"name": str(label)}
    return {"kind": kind, **name, **{key: _plain(value) for key, value in values.items()}}


def _plain(values: Any) -> Any:
    """Numbers as JSON: nothing for what is masked or not finite."""
    if np.ma.isMaskedArray(values):
        values = np.ma.filled(values.astype(np.float64), np.nan)
    return _rounded(np.asarray(values).ravel().tolist())


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    if isinstance(value, float):
        return rounded(value) if math.isfinite(value) else None
    return value if isinstance(value, (int, str)) else str(value)
