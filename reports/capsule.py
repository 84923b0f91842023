"""Capsules: pack the records behind a report with that report.

``results.capsule`` says what of a store is kept. The report of a capsule is made from the capsule alone::

    report/tables/<name>.md, .tex, .csv    each table; numbers in CSV have 8 significant digits
    report/numbers.tex                     every number as a LaTeX macro
    report/figures/<name>.json             what each figure shows
    report/figures/<name>.pdf              the figure itself; as PNG and SVG: bench report --out CAPSULE --all DIR

All but the pictures is computed again by ``reports.replay`` and compared to the byte. Pictures differ between versions
of matplotlib where nothing is another; what they show is compared by its data. Nothing asks today's code or data, the
clock or the machine: what tables tell of these stands in the records.
"""

from __future__ import annotations

import contextlib
import glob
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from matplotlib.figure import Figure

from spectral_bench.common.errors import StoreError, UserError
from spectral_bench.common.files import store_error, write_bytes, write_json
from spectral_bench.common.names import how_many, unknown
from spectral_bench.reports.api import all_tables
from spectral_bench.reports.collect import collect
from spectral_bench.reports.figures.all import all_figures, caption
from spectral_bench.reports.figures.data import figure_data
from spectral_bench.reports.figures.style import rendered
from spectral_bench.reports.formatting import SIGNIFICANT
from spectral_bench.reports.images import image_intervals
from spectral_bench.reports.renderers.csv import render_csv
from spectral_bench.reports.renderers.latex import render_latex
from spectral_bench.reports.renderers.macros import render_macros
from spectral_bench.reports.renderers.markdown import escape, render_markdown
from spectral_bench.reports.renderers.tex_escape import label
from spectral_bench.reports.table import Table
from spectral_bench.results.capsule import (
    REPORT_FOLDER,
    Capsule,
    ReportOptions,
    Unfinished,
    file_digest,
    left_out,
    read_capsule,
    take,
    unfinished,
)
from spectral_bench.results.store import CAPSULE_FILE, Store

PICTURES = ("pdf",)
Progress = Callable[[int, int], None]
_VERSIONS = ("spectral-segmentation-bench", "numpy", "scipy", "matplotlib")
_NAMED = 5
_ABANDONED_S = 24 * 3600


@dataclass(frozen=True)
class Report:
    """The report of a capsule, computed.

    Attributes:
        files: path -> content, of all that is compared.
        figures: name -> figure.
        captions: what each figure shows.
        tables: the tables.
    """

    files: dict[str, bytes]
    figures: dict[str, Figure]
    captions: dict[str, str]
    tables: list[Table]


def compute(store: Store, options: ReportOptions, missing: int = 0) -> Report:
    """The report of a store, by its records alone.

    Args:
        store: a capsule, or what is to become one.
        options: what is reported.
        missing: how many of the runs are not finished; each caption tells it.

    Raises:
        StoreError: it holds no grid.
        UserError: a name is unknown.
    """
    entries = collect(store, protocol=options.protocol, matching=options.matching or None)
    intervals = image_intervals(store, options.resamples) if options.resamples else None
    tables = all_tables(entries, intervals, options.against)
    if missing:
        word = f"Preliminary: {how_many(missing, 'run')} not finished."
        tables = [replace(table, caption=f"{word} {table.caption}") for table in tables]
    figures = all_figures(entries, store.run_folder, against=options.against)
    files: dict[str, bytes] = {}
    for table in tables:
        stem = f"{REPORT_FOLDER}/tables/{label(table.name)}"
        files[f"{stem}.md"] = render_markdown(table).encode()
        files[f"{stem}.tex"] = render_latex(table).encode()
        files[f"{stem}.csv"] = render_csv(table, SIGNIFICANT).encode()
    files[f"{REPORT_FOLDER}/numbers.tex"] = render_macros(tables).encode()
    for name, figure in figures.items():
        files[f"{REPORT_FOLDER}/figures/{label(name)}.json"] = figure_data(figure)
    return Report(files, figures, {name: caption(name, entries, figure) for name, figure in figures.items()}, tables)


@dataclass(frozen=True)
class Packed:
    """What ``pack`` has made.

    Attributes:
        folder: of the capsule.
        capsule: what its ``capsule.json`` says.
        bytes: of all of its files.
        fixed: folders that stand in it as they are, since ids of early runs rest on them.
    """

    folder: Path
    capsule: Capsule
    bytes: int
    fixed: tuple[str, ...]


def pack(
    store: Store,
    to: Path,
    *,
    grid: str | None = None,
    options: ReportOptions | None = None,
    grid_text: str = "",
    preliminary: bool = False,
    force: bool = False,
    progress: Progress = lambda done, total: None,
) -> Packed:
    """Make a capsule of a store, whole or not at all.

    Args:
        store: the store, or a capsule that is packed again: by another release, or with other options.
        to: the folder of the capsule, which is new, empty, or, with ``force``, a capsule that is replaced.
        grid: the name of a grid; None: all grids of the store.
        options: what is reported; None: of a capsule, what it reported before.
        grid_text: the file of the grid, kept beside its rows.
        preliminary: pack although runs are not finished; each caption then says so.
        force: replace a capsule.
        progress: called with how many files of how many are written.

    Raises:
        StoreError: the target is something else, or cannot be written.
        UserError: a name is unknown, or runs are not finished.
    """
    to = to.absolute()
    _require_target(store, to, force=force)
    before = read_capsule(store.path) if store.is_capsule else None
    manifests = store.manifests()
    names = [manifest.name for manifest in manifests]
    if not names:
        raise StoreError(f"{store.path}: holds no grid, so there is nothing to pack")
    if grid is not None and grid not in names:
        raise UserError(unknown("grid", grid, names))
    manifests = [manifest for manifest in manifests if grid in (None, manifest.name)]
    lost = unfinished(store, manifests)
    if lost and not preliminary:
        raise UserError(_told(lost))
    taken = take(store, manifests, {f"grids/{grid}.yaml": grid_text} if grid is not None and grid_text else {})
    capsule = Capsule(
        grids=[manifest.name for manifest in manifests],
        runs=len({run for manifest in manifests for row in manifest.rows for run in row.runs.values()}),
        unfinished=sorted(one.run_id for one in lost),
        report=options or (before.report if before is not None else ReportOptions()),
        versions=versions(),
        neutral=before.neutral if before is not None else taken.neutral.counts,
        left_out=before.left_out if before is not None else left_out(store, taken),
    )
    with _new_folder(to, force=force) as folder:
        taken.write(folder)
        capsule = _write_report(folder, capsule, progress)
        size = sum((folder / path).stat().st_size for path in [*capsule.files, CAPSULE_FILE])
    return Packed(to, capsule, size, taken.neutral.fixed)


def _require_target(store: Store, to: Path, *, force: bool) -> None:
    """Refuse a target before any work is done for it."""
    if to.exists() and not to.is_dir():
        raise StoreError(f"{to}: expected a folder, found a file")
    again = store.is_capsule and to.exists() and to.samefile(store.path)
    inside = to.resolve().is_relative_to(store.path.resolve()) or store.path.resolve().is_relative_to(to.resolve())
    if inside and not again:
        raise StoreError(f"{to}: this folder and the store {store.path} lie in each other; name another folder")
    if to.exists() and any(to.iterdir()):
        if not (to / CAPSULE_FILE).exists():
            raise StoreError(f"{to}: neither empty nor a capsule (no {CAPSULE_FILE}); name another folder")
        if not force:
            raise StoreError(f"{to}: a capsule is there already; --force replaces it")


def _told(lost: Sequence[Unfinished]) -> str:
    rows = [f"{one.title}, seed {one.seed}: {one.state.word}" for one in lost]
    more = f"; and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
    return (
        f"{how_many(len(lost), 'run')} not finished ({'; '.join(rows[:_NAMED])}{more}); finish them by bench run, or "
        "say --unfinished for a capsule that is marked as preliminary"
    )


def versions() -> dict[str, str | None]:
    """What computes reports here: package -> its version."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in _VERSIONS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


@contextlib.contextmanager
def _new_folder(to: Path, *, force: bool) -> Iterator[Path]:
    """A folder beside ``to`` that becomes it when the block ends without an error, and is gone otherwise."""
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(to)
        temporary = Path(tempfile.mkdtemp(dir=to.parent, prefix=f".{to.name}.", suffix=".tmp"))
    except OSError as error:
        raise store_error(to, error) from error
    old = temporary.with_suffix(".old")
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        if force and to.exists():
            to.replace(old)
        try:
            temporary.replace(to)
        except OSError:
            if old.exists():
                old.replace(to)
            raise
    except OSError as error:
        raise store_error(to, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if to.exists():
            shutil.rmtree(old, ignore_errors=True)


def _remove_abandoned(to: Path) -> None:
    """Remove what a process that was killed has left: no other that is still at work is as old."""
    for left in to.parent.glob(f".{glob.escape(to.name)}.*.tmp"):
        if time.time() - left.stat().st_mtime > _ABANDONED_S:
            shutil.rmtree(left, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _write_report(folder: Path, capsule: Capsule, progress: Progress) -> Capsule:
    """Write the report of what lies in ``folder``, then the head; the head as it was written."""
    write_json(
        folder / CAPSULE_FILE, capsule.model_dump(mode="json")
    )  # from here on nothing else is written by readers
    report = compute(Store.open(folder), capsule.report, len(capsule.unfinished))
    total, done = len(report.files) + len(report.figures), 0
    for path, content in report.files.items():
        write_bytes(folder / path, content)
        progress(done := done + 1, total)
    for name, figure in report.figures.items():
        for form in PICTURES:
            write_bytes(folder / f"{REPORT_FOLDER}/figures/{label(name)}.{form}", rendered(figure, form))
        progress(done := done + 1, total)
    write_bytes(folder / "README.md", _readme(capsule, report).encode())
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    digests = {path: file_digest(folder / path) for path in files if path != CAPSULE_FILE}
    capsule = capsule.model_copy(update={"files": digests})
    write_json(folder / CAPSULE_FILE, capsule.model_dump(mode="json"))
    return capsule


def _readme(capsule: Capsule, report: Report) -> str:
    lost = f" **Preliminary: {how_many(len(capsule.unfinished), 'run')} not finished.**" if capsule.unfinished else ""
    lines = [
        f"# Capsule of {' and '.join(capsule.grids)}",
        "",
        f"{how_many(capsule.runs, 'run')}: their records and counts, and the report that was made of them.{lost}",
        "",
        "```bash",
        "bench replay DIR          # computes tables and figures anew, and compares; DIR is this folder",
        "bench report --out DIR    # reads it as any store, and writes nothing into it",
        "```",
        "",
        f"* [numbers.tex]({REPORT_FOLDER}/numbers.tex): every number as a LaTeX macro",
    ]
    for table in report.tables:
        stem = f"{REPORT_FOLDER}/tables/{label(table.name)}"
        links = ", ".join(f"[{form}]({stem}.{form})" for form in ("md", "tex", "csv"))
        lines.append(f"* {label(table.name)}: {links}. {escape(table.folded().caption)}")
    for name, text in report.captions.items():
        stem = f"{REPORT_FOLDER}/figures/{label(name)}"
        links = ", ".join(f"[{form}]({stem}.{form})" for form in (*PICTURES, "json"))
        lines.append(f"* figure {name}: {links}. {text}")
    # Not which files: those of caches come and go with every report, and the digest must not.
    lines += ["", f"What was left out of the store, such as weights and features, is listed in {CAPSULE_FILE}."]
    words = ", ".join(how_many(count, kind) for kind, count in capsule.neutral.items())
    lines += ["", f"Replaced by neutral words: {words or 'nothing'}. Ids are as they were."]
    return "\n".join(lines) + "\n"
