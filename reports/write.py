"""Write everything at once: tables in every format, figures, numbers as macros, the page, and an index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from common.files import write_bytes
from reports.api import RENDERERS, all_tables
from reports.collect import Changed, collect
from reports.figures.all import all_figures, caption
from reports.figures.style import FORMATS, rendered
from reports.html.page import render_html
from reports.images import image_intervals
from reports.published.table import published_table
from reports.renderers.macros import render_macros
from reports.renderers.markdown import escape
from reports.renderers.tex_escape import label
from reports.source import Source
from reports.table import Table
from results.published import load_published

Progress = Callable[[str, int, int], None]
FILES = {"markdown": ".md", "latex": ".tex", "standalone": "-standalone.tex", "csv": ".csv"}


def write_all(
    source: Source,
    folder: Path,
    *,
    grid: str | None = None,
    protocol: str | None = None,
    matching: str | None = None,
    resamples: int = 0,
    published: Sequence[str] | None = None,
    changed: Changed | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Write a report of a store into a folder: the page, tables, figures, numbers for LaTeX, and ``index.md``.

    Each file replaces the one of its name at once; other files in the folder are left alone.

    Args:
        source, grid, protocol, matching, resamples, changed: as for ``build_table``.
        folder: made if it is missing.
        published: the data sets whose published numbers stand beside measured rows, as for ``build_published_table``;
            None: no such table.
        progress: called with what was just written, how many files are done, and of how many.

    Returns:
        The files, in the order in which they were written.

    Raises:
        StoreError: the store holds no grid, or the folder cannot be written.
        UserError: a name is unknown.
    """
    entries = collect(source, grid=grid, protocol=protocol, matching=matching, changed=changed)
    intervals = image_intervals(source, resamples) if resamples else None
    tables, figures = all_tables(entries, intervals), all_figures(entries, source.run_folder)
    if published is not None:
        tables.insert(1, published_table(entries, load_published(), published))
    contents: dict[str, Callable[[], bytes]] = {
        "index.html": lambda: render_html(entries, source, tables, figures).encode(),
        "numbers.tex": lambda: render_macros(tables).encode(),
        "index.md": lambda: _index(tables, list(figures)).encode(),
    }
    for table in tables:
        for form, ending in FILES.items():
            contents[f"tables/{label(table.name)}{ending}"] = _text(table, form)
    for name, figure in figures.items():
        for form in FORMATS:
            contents[f"figures/{label(name)}.{form}"] = _picture(figure, form)
    for number, (name, content) in enumerate(contents.items(), start=1):
        write_bytes(folder / name, content())
        if progress is not None:
            progress(name, number, len(contents))
    return [folder / name for name in contents]


def _text(table: Table, form: str) -> Callable[[], bytes]:
    return lambda: RENDERERS[form](table).encode()


def _picture(figure: Figure, form: str) -> Callable[[], bytes]:
    return lambda: rendered(figure, form)


def _index(tables: list[Table], figures: list[str]) -> str:
    lines = [
        "# Report",
        "",
        "* [index.html](index.html): everything on one page",
        "* [numbers.tex](numbers.tex): every number as a LaTeX macro",
    ]
    for table in tables:
        stem = label(table.name)
        links = ", ".join(f"[{form}](tables/{stem}{ending})" for form, ending in FILES.items())
        lines.append(f"* {stem}: {links}. {escape(table.caption)}")
    for name in figures:
        links = ", ".join(f"[{form}](figures/{label(name)}.{form})" for form in FORMATS)
        lines.append(f"* figure {name}: {links}. {caption(name)}")
    return "\n".join(lines) + "\n"
