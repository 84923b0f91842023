"""Write everything at once: tables in every format, figures, numbers as macros, the page, and an index."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure

from spectral_bench.common.collection import no_collection, young_collection
from spectral_bench.common.files import write_bytes
from spectral_bench.reports.api import RENDERERS, all_tables
from spectral_bench.reports.collect import Changed, Matchings, collect, distinct
from spectral_bench.reports.figures.all import all_figures, caption
from spectral_bench.reports.figures.style import FORMATS, rendered
from spectral_bench.reports.gallery.choice import galleries
from spectral_bench.reports.gallery.panels import PanelMaker, Panels, read_panels, wanted_panels
from spectral_bench.reports.html.live import HOLE, preliminary
from spectral_bench.reports.html.page import Drawing, html_parts
from spectral_bench.reports.images import Intervals, image_intervals
from spectral_bench.reports.published.table import published_table
from spectral_bench.reports.renderers.macros import render_macros
from spectral_bench.reports.renderers.markdown import escape
from spectral_bench.reports.renderers.tex_escape import label
from spectral_bench.reports.rows import ScoredRow
from spectral_bench.reports.source import Source
from spectral_bench.reports.table import Table
from spectral_bench.results.published import load_published
from spectral_bench.results.statistics import ImageInterval

Progress = Callable[[str, int, int], None]
FILES = {"markdown": ".md", "latex": ".tex", "standalone": "-standalone.tex", "csv": ".csv"}
PAGE = "index.html"


def write_all(
    source: Source,
    folder: Path,
    *,
    grid: str | None = None,
    protocol: str | None = None,
    matching: Matchings = None,
    against: Sequence[str] = (),
    resamples: int = 0,
    published: Sequence[str] | None = None,
    changed: Changed | None = None,
    make_panels: PanelMaker | None = None,
    progress: Progress = lambda name, done, total: None,
    page: Callable[[Iterable[str]], bytes] | None = None,
    page_only: bool = False,
) -> list[Path]:
    """Write a report of a store into a folder: tables, figures, numbers for LaTeX, ``index.md`` and the page.

    Each file replaces the one of its name at once; other files in the folder are left alone.

    Args:
        source, grid, protocol, matching, against, resamples, changed: as for ``build_tables``.
        folder: made if it is missing.
        published: data sets whose published numbers stand beside measured rows (``build_published_table``); None: none.
        make_panels: makes the panels of the gallery that the store lacks; None: only stored ones are shown. What is
            missing then is said in the index and on the page.
        progress: called with what was done, how many of its kind, of how many: intervals over images, then files.
        page: makes the page of its parts, which have a place for what is going on (``reports.html.live``); None: a page
            that is not kept up to date.
        page_only: write the page alone; the captions of its tables say how many runs are still to come.

    Returns:
        The files, in the order in which they were written; the page comes last.

    Raises:
        StoreError: the store holds no grid, or the folder cannot be written.
        UserError: a name is unknown.
    """
    entries = collect(source, grid=grid, protocol=protocol, matching=matching, changed=changed)
    intervals = _told(image_intervals(source, resamples), entries, progress) if resamples else None
    panels, missing = _panels(entries, source, make_panels)
    tables = all_tables(entries, intervals, against)
    with no_collection():  # what is made here stays until it is drawn
        figures = all_figures(entries, source.run_folder, panels, against)
    if published is not None:
        tables.insert(1, published_table(entries, load_published(), published))
    captions = {name: caption(name, entries, figure) for name, figure in figures.items()}
    picture = _drawer(figures, ["svg"] if page_only else FORMATS)
    contents: dict[str, Callable[[], bytes]] = {}
    if page_only:
        tables, missing = preliminary(tables, entries), []
    else:
        contents |= _files(tables, list(captions), picture)
        contents["index.md"] = lambda: _index(tables, captions, missing).encode()
    shown = {name: Drawing(told, partial(picture, name, "svg")) for name, told in captions.items()}
    contents[PAGE] = lambda: (page or _joined)(
        html_parts(entries, source, tables, shown, missing, "" if page is None else HOLE)
    )
    return _written(folder, contents, progress)


def _written(folder: Path, contents: dict[str, Callable[[], bytes]], progress: Progress) -> list[Path]:
    for number, (name, content) in enumerate(contents.items(), start=1):
        write_bytes(folder / name, content())
        progress(name, number, len(contents))
    return [folder / name for name in contents]


def _files(
    tables: Sequence[Table], names: Sequence[str], picture: Callable[[str, str], bytes]
) -> dict[str, Callable[[], bytes]]:
    """Figures, tables and numbers: the name of each file, and what makes it."""
    contents = {f"figures/{label(name)}.{form}": _picture(picture, name, form) for name in names for form in FORMATS}
    for table in tables:
        for form, ending in FILES.items():
            contents[f"tables/{label(table.name)}{ending}"] = _text(table, form)
    contents["numbers.tex"] = lambda: render_macros(tables).encode()
    return contents


def _drawer(figures: dict[str, Figure], forms: Sequence[str]) -> Callable[[str, str], bytes]:
    """Gives a figure in a form; it is drawn once in each, and then gone: one of thousands of marks is large."""

    @cache
    def pictures(name: str) -> dict[str, bytes]:
        with young_collection():
            return _drawn(figures.pop(name), forms)

    return lambda name, form: pictures(name)[form]


def _drawn(figure: Figure, forms: Iterable[str]) -> dict[str, bytes]:
    return {form: rendered(figure, form) for form in forms}


def _joined(parts: Iterable[str]) -> bytes:
    """All parts in UTF-8, never held as text: a letter beyond Latin-1 anywhere doubles what a whole text takes."""
    stream = BytesIO()
    for part in parts:
        stream.write(part.encode())
    return stream.getvalue()


def _panels(entries: Sequence[ScoredRow], source: Source, make: PanelMaker | None) -> tuple[list[Panels], list[str]]:
    """The galleries whose panels are there or could be made, and what is to be said of the others."""
    chosen = galleries(entries, source)
    wanted, missing = wanted_panels(chosen, source), []
    if wanted and make is not None:
        missing = make(wanted)
    lacking = len(wanted_panels(chosen, source)) if wanted else 0
    if lacking:
        missing.insert(0, f"{lacking} panels of the gallery are not shown: the store lacks them.")
    found = (read_panels(gallery, source) for gallery in chosen)
    return [panels for panels in found if panels is not None], missing


def _told(intervals: Intervals, entries: Sequence[ScoredRow], progress: Progress) -> Intervals:
    """The same intervals, with progress told row by row."""
    total, done = len(distinct(entries)), 0

    def interval(entry: ScoredRow) -> ImageInterval | None:
        nonlocal done
        found = intervals(entry)
        done += 1
        progress(f"images resampled: {entry.row.title}", done, total)
        return found

    return interval


def _text(table: Table, form: str) -> Callable[[], bytes]:
    return lambda: RENDERERS[form](table).encode()


def _picture(picture: Callable[[str, str], bytes], name: str, form: str) -> Callable[[], bytes]:
    return lambda: picture(name, form)


def _index(tables: Sequence[Table], captions: Mapping[str, str], missing: Sequence[str]) -> str:
    lines = [
        "# Report",
        "",
        f"* [{PAGE}]({PAGE}): everything on one page",
        "* [numbers.tex](numbers.tex): every number as a LaTeX macro",
    ]
    for table in tables:
        stem = label(table.name)
        links = ", ".join(f"[{form}](tables/{stem}{ending})" for form, ending in FILES.items())
        lines.append(f"* {stem}: {links}. {escape(table.caption)}")
    for name, told in captions.items():
        links = ", ".join(f"[{form}](figures/{label(name)}.{form})" for form in FORMATS)
        lines.append(f"* figure {name}: {links}. {told}")
    lines += [f"* {escape(sentence)}" for sentence in missing]
    return "\n".join(lines) + "\n"
