"""From tables, figures and runs to the page."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from reports.collect import Entry
from reports.figures.all import caption
from reports.figures.style import rendered
from reports.html.runs import RunBook
from reports.html.view import TableView, table_view
from reports.source import Source
from reports.table import Table

_SECTIONS = (
    ("results", "Results", ("main",)),
    ("published", "Beside published numbers", ("published",)),
    ("ablations", "Ablations", ("ablation",)),
    ("costs", "Time and memory", ("costs", "trade-off", "stages")),
    ("classes", "Classes", ("per-class",)),
    ("health", "Health and training", ("health", "training")),
)
_STATE_ORDER = ("done", "failed", "not converged", "running", "missing")


@dataclass(frozen=True)
class FigureView:
    """A figure as a data address, and what it shows."""

    caption: str
    address: str


@dataclass(frozen=True)
class Section:
    """A part of the page."""

    id: str
    title: str
    tables: list[TableView]
    figures: list[FigureView]


def render_html(
    entries: Sequence[Entry], source: Source, tables: Sequence[Table], figures: Mapping[str, Figure]
) -> str:
    """The page. The same store gives the same bytes.

    Args:
        entries: the rows, for the runs behind them.
        source: the store.
        tables, figures: what to show; the start of their names says in which section.
    """
    book = RunBook(entries, source)
    environment = Environment(
        loader=PackageLoader("reports.html", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        title="Segmentation benchmark",
        grids=list(dict.fromkeys(entry.grid for entry in entries)),
        notes=list(dict.fromkeys(entry.note for entry in entries if entry.note)),
        states=_states(book),
        sections=_sections(tables, figures, book),
        payload=book.payload(),
        style=_file("page.css"),
        script=_file("page.js"),
    )


def _sections(tables: Sequence[Table], figures: Mapping[str, Figure], book: RunBook) -> list[Section]:
    found = [
        Section(
            key,
            title,
            [table_view(table, book) for table in tables if table.name.startswith(starts)],
            [_figure(name, figure) for name, figure in figures.items() if name.startswith(starts)],
        )
        for key, title, starts in _SECTIONS
    ]
    return [section for section in found if section.tables or section.figures]


def _figure(name: str, figure: Figure) -> FigureView:
    data = base64.b64encode(rendered(figure, "svg")).decode()
    return FigureView(caption(name), f"data:image/svg+xml;base64,{data}")


def _states(book: RunBook) -> list[tuple[str, int]]:
    """State of the runs -> how many, the usual states first."""
    counts = Counter(str(run["state"]) for run in book.runs)
    others = sorted(set(counts) - set(_STATE_ORDER))
    return [(state, counts[state]) for state in (*_STATE_ORDER, *others) if counts[state]]


def _file(name: str) -> str:
    return resources.files("reports.html").joinpath(name).read_text(encoding="utf-8")
