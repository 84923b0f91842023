"""``bench report``: the tables of a store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from spectral_bench.bench.cli import options
from spectral_bench.bench.cli.options import (
    DEFAULT_OUT,
    Against,
    Debug,
    GridName,
    GridOption,
    Json,
    Out,
    Protocol,
    Roots,
    SeveralMatchings,
    data_roots,
    one_grid,
    parse_device,
    require_folder,
)
from spectral_bench.bench.cli.output import on_terminal, progress_bar, say, show_json, show_tables, warn
from spectral_bench.bench.grid.load import grid_name
from spectral_bench.bench.plan.today import CurrentCode, changed_since
from spectral_bench.common.collection import importing
from spectral_bench.common.errors import ConfigError, UserError
from spectral_bench.common.files import write_bytes
from spectral_bench.common.names import how_many
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.reports import Table, build_published_table, build_table, build_tables, render
from spectral_bench.reports.api import fit_only
from spectral_bench.reports.collect import Changed, collect
from spectral_bench.reports.gallery.panels import PanelMaker, WantedPanel
from spectral_bench.reports.renderers.csv import table_records
from spectral_bench.results.store import Store

WATCH_S = 10

Progress = Callable[[int, int], None]
MakePanels = Callable[[Store, Progress, Sequence[WantedPanel]], list[str]]
PerRun = Annotated[
    Path | None,
    typer.Option(
        "--per-run",
        help="Write a row a run and protocol, with its scores, costs and parameters, to FILE.csv, .json or .parquet.",
        metavar="FILE",
    ),
]
To = Annotated[Path | None, typer.Option("--to", help="Write to a file instead of the terminal.", metavar="FILE")]
Everything = Annotated[
    Path | None,
    typer.Option("--all", help="Write everything into a folder: page, tables, figures, numbers.", metavar="DIR"),
]
Published = Annotated[
    list[str] | None,
    typer.Option(
        "--published",
        help="The same for numbers on this data set, or on all; may be given several times. Default: the measured.",
        metavar="DATASET",
    ),
]
ForGallery = Annotated[
    bool,
    typer.Option(
        "--gallery/--no-gallery",
        help="With --all: predict a few images anew for the gallery, unless the store has them already.",
    ),
]
Watch = Annotated[
    float | None,
    typer.Option(
        "--watch",
        min=1,
        help=f"With --all: keep the page up to date while runs are at work, by default every {WATCH_S} s, until "
        "Ctrl-C; all other files are written once none is.",
        metavar="[SECONDS]",
    ),
]
# Formats of which one text holds one table.
_ONE_TABLE = ("csv", "standalone")
_FORM = "markdown"
PAGE = "index.html"
_OF_TABLES = ("--format", "--to", "--all", "--resamples", "--with-published", "--published", "--against", "--watch")


class Watchable(options.Watchable):
    """Lets ``--watch`` of a report stand without its seconds."""

    seconds = WATCH_S


def report(
    grid_file: GridName = None,
    out: Out = DEFAULT_OUT,
    grid: GridOption = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="markdown, latex (to include), standalone (a LaTeX document) or csv; default: markdown, and on a "
            "terminal tables that fit it.",
            show_default=False,
        ),
    ] = None,
    protocol: Protocol = None,
    matching: SeveralMatchings = None,
    against: Against = None,
    resamples: Annotated[
        int, typer.Option("--resamples", min=0, help="Resamples of the images, for intervals over images; 0: none.")
    ] = 0,
    to: To = None,
    everything: Everything = None,
    per_run: PerRun = None,
    with_published: Annotated[
        bool, typer.Option("--with-published", help="Add a table of published numbers beside the measured rows.")
    ] = False,
    published: Published = None,
    gallery: ForGallery = True,
    watch: Watch = None,
    device: Annotated[str, typer.Option("--device", help="For the gallery: auto, cpu, cuda or cuda:N.")] = "auto",
    data_root: Roots = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Print the tables: a row a configuration, mean and standard deviation over seeds, time and memory.

    Formats of one table, csv and standalone, hold the main one, or with --with-published measured and published rows,
    or with --against the differences.
    """
    for wanted in filter(None, (everything, to and to.parent, per_run and per_run.parent)):
        require_folder(wanted)
    named = one_grid(grid_file, grid)
    name = grid_name(named) if named is not None else None
    if per_run is not None:
        others = (form not in (None, _FORM), to, everything, resamples, with_published, published, against, watch)
        refuse_beside_per_run(per_run, [option for option, given in zip(_OF_TABLES, others, strict=True) if given])
        return _write_per_run(out, per_run, {"grid": name, "protocol": protocol, "matching": matching}, as_json)
    chosen = {"grid": name, "protocol": protocol, "matching": matching, "resamples": resamples, "changed": _changed()}
    beside = tuple(published or ()) if with_published or published else None
    panels = partial(_panels, data_roots(data_root), parse_device(device)) if gallery else None
    if watch is not None:
        folder = page_folder(everything, {"--json": as_json, "--to": to, "--format": form})
        return _keep(out, folder, watch, named, chosen | {"published": beside, "against": against or ()}, panels)
    store = Store.open(out)
    if nothing_to_score(store, name, as_json=as_json):
        return 0
    if everything is not None:
        return _write_all(store, everything, chosen | {"published": beside, "against": against or ()}, panels, as_json)
    tables = _tables(store, chosen, beside, against or (), alone=as_json or form in _ONE_TABLE)
    _show(store, tables, form, to, as_json=as_json)
    return 0


def _show(store: Store, tables: list[Table], form: str | None, to: Path | None, *, as_json: bool) -> None:
    if as_json:
        show_json(_records(store, tables[0]))
    elif to is not None:
        write_bytes(to, "\n".join(render(table, form or _FORM) for table in tables).encode())
    elif form is None and on_terminal():
        show_tables(tables)
    else:
        say("\n".join(render(table, form or _FORM) for table in tables).rstrip("\n"))


def nothing_to_score(store: Store, grid: str | None, *, as_json: bool = False) -> bool:
    """Say which grids ask for fits alone; whether there is nothing else to report."""
    fitted, others = fit_only(store, grid)
    for line in fitted:
        warn(line) if others or as_json else say(line)
    if fitted and not others and as_json:
        show_json([])
    return bool(fitted) and not others


def _tables(
    store: Store, chosen: dict[str, Any], beside: Sequence[str] | None, against: Sequence[str], *, alone: bool
) -> list[Table]:
    """What to show of a store; ``alone``: one table, the differences, those beside published ones, or the main ones."""
    rows = {key: value for key, value in chosen.items() if key != "resamples"}
    if alone and against:
        return build_tables(store, **chosen, against=against)[-1:]
    if alone:
        return [build_table(store, **chosen) if beside is None else build_published_table(store, beside, **rows)]
    tables = build_tables(store, **chosen, against=against)
    if beside is not None:
        tables.insert(1, build_published_table(store, beside, **rows))
    return tables


def _records(store: Store, table: Table) -> list[dict[str, Any]]:
    """The rows of a table as JSON values, each with the parameters that its runs have in common."""
    found = []
    for record in table_records(table):
        fits = [fit for run_id in str(record["runs"]).split() if (fit := store.fit_record(run_id)) is not None]
        params = fits[0].spec.params if fits else {}
        shared = {key: value for key, value in params.items() if all(fit.spec.params.get(key) == value for fit in fits)}
        found.append({**record, "params": shared})
    return found


def _write_all(
    store: Store,
    folder: Path,
    chosen: dict[str, Any],
    panels: MakePanels | None,
    as_json: bool,
) -> int:
    with importing():
        from spectral_bench.reports import write_all  # draws: matplotlib is what tables shall not wait for

    with progress_bar("writing the report") as progress:
        written = write_all(
            store,
            folder,
            make_panels=_maker(panels, store, progress),
            progress=lambda name, done, total: progress(done, total),
            **chosen,
        )
    show_json([str(path) for path in written]) if as_json else say(
        f"{how_many(len(written), 'file')}; start with {written[-1]}"
    )
    return 0


def _maker(panels: MakePanels | None, store: Store, progress: Progress) -> PanelMaker | None:
    """What makes panels of a store; a capsule holds no weights, and takes no panels."""
    return None if panels is None or store.is_capsule else partial(panels, store, progress)


def page_folder(folder: Path | None, others: Mapping[str, object]) -> Path:
    """The folder of the page that ``--watch`` keeps; options that print stand beside it in no command.

    Raises:
        ConfigError: there is no page, or an option says what else to do.
    """
    if folder is None:
        raise ConfigError("--watch keeps the page of a folder up to date; say which: --all DIR --watch")
    for option, given in others.items():
        if given:
            raise ConfigError(f"--watch writes a page again and again; give {option} in a command of its own")
    return folder


def _keep(
    out: Path,
    folder: Path,
    every: float,
    grid: str | None,
    chosen: dict[str, Any],
    panels: MakePanels | None,
) -> int:
    """Keep the page in ``folder`` up to date until Ctrl-C; panels of the gallery are made once no run is at work."""
    from spectral_bench.bench.cli.watch import PageKeeper  # draws

    def write(store: Store, page: Callable[[Iterable[str]], bytes], page_only: bool) -> None:
        from spectral_bench.reports import write_all  # draws

        make = None if page_only else _maker(panels, store, lambda done, total: None)
        write_all(store, folder, make_panels=make, page=page, page_only=page_only, **chosen)

    PageKeeper(out, folder / PAGE, every, grid, write).run()
    return 0


def refuse_beside_per_run(path: Path, others: Sequence[str]) -> None:
    """Refuse what ``--per-run`` does not write, or options of tables beside it.

    Raises:
        UserError: the suffix is unknown, or another option says what else to write.
    """
    from spectral_bench.reports.per_run import require_table_file  # pandas, which tables shall not wait for

    require_table_file(path)
    if others:
        raise UserError(
            f"--per-run {path}: writes runs, not tables; give {' and '.join(others)} in a command of its own"
        )


def _write_per_run(out: Path, path: Path, chosen: dict[str, Any], as_json: bool) -> int:
    from spectral_bench.reports.per_run import per_run, write_table

    frame = per_run(collect(Store.open(out), **chosen))
    write_table(frame, path)
    show_json([str(path)]) if as_json else say(f"{how_many(len(frame), 'row')} written to {path}")
    return 0


def _changed() -> Changed:
    """What has changed since records were made, by today's code."""
    code = CurrentCode()
    return lambda fit, evaluations: changed_since(fit, evaluations, code)


def _panels(
    roots: DataRoots, device: str, store: Store, progress: Progress, wanted: Sequence[WantedPanel]
) -> list[str]:
    """Make panels of the gallery, and say on stderr which could not be made and why."""
    with importing():
        from spectral_bench.bench.predict.panels import make_panels  # loads torch, and only galleries need it

    problems = make_panels(store, wanted, roots, device=device, progress=progress)
    for problem in problems:
        warn(problem)
    return problems
