"""From tables, figures and runs to the page."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined

from spectral_bench.reports.html.facts import facts
from spectral_bench.reports.html.runs import RunBook
from spectral_bench.reports.html.view import TableView, table_view
from spectral_bench.reports.rows import ScoredRow
from spectral_bench.reports.source import Source
from spectral_bench.reports.table import Table

TEMPLATES = Environment(
    loader=PackageLoader("spectral_bench.reports.html", "."),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
GALLERY = "gallery"
_SECTIONS = (
    ("results", "Results", ("overview", "main", "clusters")),
    ("against", "Differences", ("against", "differences")),
    ("published", "Beside published numbers", ("published",)),
    ("ablations", "Ablations", ("ablation",)),
    (GALLERY, "Gallery", ("qualitative", "eigenfunctions")),
    ("costs", "Time and memory", ("costs", "trade-off", "stages")),
    ("classes", "Classes", ("per-class",)),
    ("health", "Health and training", ("health", "training")),
)
_STATE_ORDER = ("done", "failed", "not converged", "running", "missing")

_WIDE = 330  # points; wider figures take the whole line
_WIDTH = re.compile(rb'<svg[^>]*?width="([\d.]+)pt"')


@dataclass(frozen=True)
class Drawing:
    """A figure that is yet to be drawn: what it shows, and what gives it as an SVG file."""

    caption: str
    svg: Callable[[], bytes]


@dataclass(frozen=True)
class FigureView:
    """A figure as a data address, what it shows, and whether it takes a whole line of the page."""

    caption: str
    address: str
    wide: bool


@dataclass(frozen=True)
class Section:
    """A part of the page."""

    id: str
    title: str
    tables: list[TableView]
    figures: list[FigureView]
    remarks: list[str]


def render_html(
    entries: Sequence[ScoredRow],
    source: Source,
    tables: Sequence[Table],
    figures: Mapping[str, Drawing],
    missing: Sequence[str] = (),
) -> str:
    """The page as one text; arguments as for ``html_parts``."""
    return "".join(html_parts(entries, source, tables, figures, missing))


def html_parts(
    entries: Sequence[ScoredRow],
    source: Source,
    tables: Sequence[Table],
    figures: Mapping[str, Drawing],
    missing: Sequence[str] = (),
    hole: str = "",
) -> Iterator[str]:
    """The page piece by piece: of thousands of runs it is large. The same store gives the same bytes.

    Args:
        entries: the rows, for the runs behind them.
        source: the store.
        tables, figures: what to show; the start of their names says in which section.
        missing: sentences on panels of the gallery that are not shown.
        hole: stands where a page that is kept up to date tells what is going on; empty: it is none.
    """
    book = RunBook(entries, source)
    yield from page_parts(
        hole=hole,
        grids=list(dict.fromkeys(entry.grid for entry in entries)),
        notes=list(dict.fromkeys(entry.note for entry in entries if entry.note)),
        states=_states(book),
        facts=facts(entries),
        sections=_sections(tables, figures, missing, book),
        payload=book.payload(),
        protocols=book.protocols,
    )


def page_parts(
    *,
    hole: str = "",
    grids: Sequence[str] = (),
    notes: Sequence[str] = (),
    states: Sequence[tuple[str, int]] = (),
    facts: Sequence[tuple[str, str]] = (),
    sections: Sequence[Section] = (),
    payload: str = "",
    protocols: Sequence[str] = (),
) -> Iterator[str]:
    """The page piece by piece, of what is there already; see ``html_parts``."""
    return TEMPLATES.get_template("page.html.j2").generate(
        title="Segmentation benchmark",
        hole=hole,
        grids=grids,
        notes=notes,
        states=states,
        facts=facts,
        sections=sections,
        payload=payload,
        protocols=protocols,
        style=_file("page.css"),
        script=_file("page.js"),
        live_script=_file("live.js") if hole else "",
    )


def _sections(
    tables: Sequence[Table],
    figures: Mapping[str, Drawing],
    missing: Sequence[str],
    book: RunBook,
) -> list[Section]:
    found = [
        Section(
            key,
            title,
            [table_view(table, book) for start in starts for table in tables if table.name.startswith(start)],
            [
                _figure(drawing.caption, drawing.svg())
                for start in starts
                for name, drawing in figures.items()
                if name.startswith(start)
            ],
            list(missing) if key == GALLERY else [],
        )
        for key, title, starts in _SECTIONS
    ]
    return [section for section in found if section.tables or section.figures or section.remarks]


def _figure(told: str, svg: bytes) -> FigureView:
    width = _WIDTH.search(svg)
    address = f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
    return FigureView(told, address, width is not None and float(width[1]) > _WIDE)


def _states(book: RunBook) -> list[tuple[str, int]]:
    """State of the runs -> how many, the usual states first."""
    counts = Counter(str(run["state"]) for run in book.runs)
    others = sorted(set(counts) - set(_STATE_ORDER))
    return [(state, counts[state]) for state in (*_STATE_ORDER, *others) if counts[state]]


def _file(name: str) -> str:
    return resources.files("spectral_bench.reports.html").joinpath(name).read_text(encoding="utf-8")
