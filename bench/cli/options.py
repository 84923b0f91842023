"""Options that commands share, what their values become, and runs by what people call them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand

from spectral_bench.bench.cli.output import on_terminal, show_table
from spectral_bench.bench.work.order import newest_order
from spectral_bench.common.errors import ConfigError, DataError, StoreError
from spectral_bench.common.missing import shown
from spectral_bench.common.names import few, how_many
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.results.store import Store

DEFAULT_OUT = Path("results/runs")
DATA_VARIABLE = "BENCH_DATA"

GridFile = Annotated[Path | None, typer.Argument(help="The grid: a YAML file.", metavar="GRID", show_default=False)]
Grid = Annotated[
    Path | None, typer.Option("--grid", "-g", help="The grid, as an option.", metavar="FILE", show_default=False)
]
GridName = Annotated[
    str | None,
    typer.Argument(help="One grid, by name or file; default: all of the store.", metavar="GRID", show_default=False),
]
GridOption = Annotated[
    str | None, typer.Option("--grid", "-g", help="The same as an option.", metavar="GRID", show_default=False)
]
Out = Annotated[Path, typer.Option("--out", help="Folder of the store of results.", metavar="DIR")]
Roots = Annotated[
    list[Path] | None,
    typer.Option(
        "--data-root",
        help="Folder that holds data sets; may be given several times. Then $BENCH_DATA, then the grid's own.",
        metavar="DIR",
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Change the grid: a path into it (defaults.seeds=[0,1]), or a key of runs or a parameter (seeds=[0], "
        "epochs=1) for every run that has it. May be given several times.",
        metavar="KEY=VALUE",
    ),
]
Protocol = Annotated[str | None, typer.Option("--protocol", help="One protocol; default: all that the grids ask for.")]
_MATCHINGS = (
    "Score with majority, iou, hungarian, hungarian_iou, hungarian_present, hungarian_iou_present, "
    "per_image_hungarian, per_image_hungarian_mean or text instead of the own."
)
Matching = Annotated[str | None, typer.Option("--matching", help=_MATCHINGS)]
SeveralMatchings = Annotated[
    list[str] | None,
    typer.Option(
        "--matching", help=f"{_MATCHINGS} May be given several times, for a row each; own is each protocol's own."
    ),
]
Against = Annotated[
    list[str] | None,
    typer.Option(
        "--against",
        help="Add a table of every row's difference to this one, by its title, which may have * and ?: to the one of "
        "the same K, scored alike. May be given several times.",
        metavar="ROW",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", "-j", min=1, help="Runs at a time; default: the grid's executor.jobs, or one a GPU."),
]
CohortMode = Annotated[
    str,
    typer.Option(
        "--cohort",
        help="auto (runs that see the same batches train side by side in one process, with the bits that each has "
        "alone) or off.",
        metavar="auto|off",
    ),
]
ExecutorName = Annotated[
    str, typer.Option("--executor", help="local (a process a run), slurm (a cluster's queue) or inline (this process).")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Gpus = Annotated[str, typer.Option("--gpus", help="GPUs to hand out, one a process: 0,1. With Slurm: GPUs a job.")]
Threads = Annotated[int, typer.Option("--threads", min=0, help="Threads a run; 0: processors / jobs.")]
Workers = Annotated[int, typer.Option("--workers", min=0, help="Threads that decode, processes for CRFs; a run.")]
InferenceBatch = Annotated[int, typer.Option("--inference-batch", min=1, help="Images a forward pass of the backbone.")]
CacheLimit = Annotated[
    str, typer.Option("--cache-limit", help="What the feature caches of the grid may take.", metavar="SIZE")
]
CheckpointEvery = Annotated[
    float, typer.Option("--checkpoint-every", min=0, help="Seconds between checkpoints of a fit.")
]
RerunStale = Annotated[
    bool, typer.Option("--rerun-stale", help="Do again what was done with code or data that has changed since.")
]
Probe = Annotated[
    bool,
    typer.Option(
        "--probe",
        help="Measure first: a few steps and images a row, in processes of their own; kept in the store for plans to "
        "come.",
    ),
]
MaxHours = Annotated[
    float | None,
    typer.Option(
        "--max-hours",
        help="Stop in order after so many hours: begin nothing that would not fit, by what plan predicts, and let what "
        "runs then save itself. Exit code 3 where that leaves runs over and none has failed.",
        metavar="H",
    ),
]
BudgetText = Annotated[
    str | None,
    typer.Option(
        "--budget",
        help="Begin only what fits into so many hours or GPU-hours (90m, 2h, 20gpuh) by what plan predicts, say what "
        "is left out, and stop in order. With Slurm: hours that jobs ask for. Exit code 3 where it leaves runs over.",
        metavar="HOURS",
        show_default=False,
    ),
]
BudgetBy = Annotated[
    str | None,
    typer.Option(
        "--budget-by",
        help="What --budget takes first: rows (each with all of its seeds, in the grid's order; default) or seeds (the "
        "first of all rows, then the second).",
        metavar="rows|seeds",
        show_default=False,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, print the plan, and stop.")]

_BYTES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def data_roots(given: Sequence[Path] | None, of_grid: Sequence[Path] = ()) -> DataRoots:
    """Where data sets lie: the folders of ``--data-root``, then those of ``$BENCH_DATA``, then the grid's.

    Raises:
        DataError: a folder of ``--data-root`` does not exist, or its path is no UTF-8.
    """
    for root in given or ():
        if not _is_text(root):
            raise DataError(f"--data-root {shown(str(root))}: this path is no UTF-8, as records are; rename the folder")
        if not root.is_dir():
            raise DataError(f"--data-root {root}: no such folder")
    # Folders of the variable and of a grid need not exist: they may be meant for another machine.
    variable = os.environ.get(DATA_VARIABLE, "")
    of_variable = [Path(part) for part in variable.split(os.pathsep) if part]
    return DataRoots((*(given or ()), *of_variable, *of_grid))


T = TypeVar("T")


def one_grid(argument: T | None, option: T | None) -> T | None:
    """The grid that a command was called with, as an argument or as ``--grid``; None: with none.

    Raises:
        ConfigError: with both.
    """
    if argument is not None and option is not None:
        raise ConfigError(f"--grid {option}: the grid is given already, as {argument}; give it once")
    return option if argument is None else argument


def required_grid(argument: Path | None, option: Path | None, command: str) -> Path:
    """As ``one_grid``, where there must be one.

    Raises:
        ConfigError: there is none, or two.
    """
    if (grid := one_grid(argument, option)) is None:
        raise ConfigError(f"expected a grid, a YAML file: bench {command} GRID.yaml; bench init writes a first one")
    return grid


def require_folder(path: Path) -> None:
    """Refuse a folder to write to that cannot be one, before any work is done for it.

    Raises:
        StoreError: it, or a folder that it would lie in, is a file.
    """
    for place in (path, *path.parents):
        if place.exists() and not place.is_dir():
            raise StoreError(f"{place}: expected a folder, found a file")


def find_store(out: Path) -> Store | None:
    """The store at ``out``, or None where nothing is there yet.

    Raises:
        StoreError: something else is there, a newer release wrote it, or the path is no UTF-8.
    """
    if not _is_text(out):
        raise StoreError(f"--out {shown(str(out))}: this path is no UTF-8, as records are; choose another folder")
    require_folder(out.parent)
    # An empty folder is as good as none: mkdir before the first run is no mistake.
    nothing = not out.exists() or (out.is_dir() and not any(out.iterdir()))
    return None if nothing else Store.open(out)


def find_run(store: Store, reference: str, *, among: Callable[[str], bool] | None = None) -> str:
    """The run that a reference names: its id, or a beginning of it or of its hash that no other run has.

    Args:
        store: the store.
        reference: as users call it.
        among: which of several runs to consider, where the reference is the beginning of several; None: all.

    Raises:
        ConfigError: no run has it, or several have.
    """
    runs = store.runs()
    if reference in runs:
        return reference
    matching = [run_id for run_id in runs if run_id.startswith(reference)]
    if not matching and len(reference) >= SHORTEST:
        matching = [run_id for run_id in runs if hash_of(run_id).startswith(reference)]
    if not matching:
        near = _near(reference, runs)
        hint = f" did you mean {' or '.join(near)}?" if near else ""
        held = how_many(len(runs), "run")
        raise ConfigError(f'unknown run "{reference}";{hint} {store.path} holds {held}: see bench status')
    if len(matching) > 1 and among is not None:
        matching = list(filter(among, matching)) or matching
    if len(matching) > 1:
        raise ConfigError(f'"{reference}" is the beginning of several runs: {few(matching, 10)}')
    return matching[0]


SHORTEST = 4  # digits of a run's hash that name it, unless several runs begin so


def hash_of(run_id: str) -> str:
    """The hash in a run's id."""
    return run_id.rpartition("-")[2]


def short_ids(run_ids: Iterable[str]) -> dict[str, str]:
    """Run id -> the shortest beginning of its hash, of 6 digits or more, that names no other of these runs."""
    ids = set(run_ids)
    names = {run_id.partition("-")[0] for run_id in ids}
    for length in range(6, 12):
        short = {run_id: hash_of(run_id)[:length] for run_id in ids}
        # A beginning that is also one of a method's name would be read as that.
        is_name = any(name.startswith(begin) for name in names for begin in short.values())
        if len(set(short.values())) == len(ids) and not is_name:
            return short
    return {run_id: run_id for run_id in ids}


_ID = re.compile(r"[^\s()]+-s\d+-[0-9a-f]{12}")


def show_runs(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    run_ids: Iterable[str],
    right: Sequence[str] = (),
    constant: Sequence[str] = (),
) -> None:
    """Print a table that names runs; on a terminal by the shortest beginning of their hashes that commands take.

    Args:
        columns, rows, right, constant: as for ``show_table``.
        run_ids: of all runs that a command could mean, besides those in the table.
    """
    cells = [[str(cell) for cell in row] for row in rows]
    if on_terminal():
        named = (found for row in cells for cell in row for found in _ID.findall(cell))
        short = short_ids([*run_ids, *named])
        cells = [[_ID.sub(lambda found: short[found[0]], cell) for cell in row] for row in cells]
    show_table(columns, cells, right, footnotes="note", constant=constant)


def _near(reference: str, runs: Sequence[str]) -> list[str]:
    """Up to three runs whose beginnings are most like the reference."""
    beginnings: dict[str, str] = {}
    for run_id in runs:
        beginnings.setdefault(run_id[: len(reference)], run_id)
    return [beginnings[found] for found in get_close_matches(reference, beginnings, n=3, cutoff=0.6)]


def parse_bytes(text: str) -> int:
    """A number of bytes written as ``50GB``, ``1.5 TB`` or ``800MiB``.

    Raises:
        ConfigError: it is no such number.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    if match is None or match[2].upper() not in _BYTES:
        raise ConfigError(f'--cache-limit: expected a size such as 50GB or 800MB, got "{text}"')
    return int(float(match[1]) * _BYTES[match[2].upper()])


def parse_device(text: str) -> str:
    """A device by name.

    Raises:
        ConfigError: it is none of auto, cpu, cuda and cuda:N.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", text):
        raise ConfigError(f'--device: unknown device "{text}"; valid: auto, cpu, cuda, cuda:N')
    return text


def parse_cohort(text: str) -> bool:
    """Whether cohorts are formed.

    Raises:
        ConfigError: it is neither ``auto`` nor ``off``.
    """
    if text not in ("auto", "off"):
        raise ConfigError(f'--cohort: expected auto or off, got "{text}"')
    return text == "auto"


def parse_gpus(text: str) -> tuple[str, ...]:
    """The devices of ``--gpus 0,1``, as in ``CUDA_VISIBLE_DEVICES``; empty for none.

    Raises:
        ConfigError: a device is empty or named twice.
    """
    devices = tuple(part.strip() for part in text.split(",")) if text.strip() else ()
    if any(not device for device in devices) or len(set(devices)) < len(devices):
        raise ConfigError(f'--gpus: expected different devices such as 0,1, got "{text}"')
    return devices


def _is_text(path: Path) -> bool:
    # The system takes any bytes in a path; records and orders, which are to hold it, are UTF-8.
    return not any("\ud800" <= sign <= "\udfff" for sign in str(path.absolute()))


class Watchable(TyperCommand):
    """Lets ``--watch`` stand without its seconds, which are then ``seconds``."""

    seconds: float

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the options off ``args``."""
        # click has no option whose value may be left out; a number behind it is taken for the seconds.
        for index in [index for index, text in enumerate(args) if text == "--watch"]:
            following = args[index + 1] if index + 1 < len(args) else ""
            if not re.fullmatch(r"\d+(\.\d+)?", following):
                args = [*args[:index], f"--watch={self.seconds:g}", *args[index + 1 :]]
        return list(super().parse_args(ctx, args))


RunNames = Annotated[
    list[str] | None, typer.Argument(help="Runs, by id or by its beginning: see bench status.", metavar="RUN")
]
RunName = Annotated[str, typer.Argument(help="The run, by id or by its beginning: see bench status.", metavar="RUN")]
Reference = Annotated[str, typer.Argument(help="A run of the store, by its id or the beginning of it.", metavar="RUN")]


def last_order(store: Store, run_id: str) -> Path | None:
    """The file of the order that was last written for a run; None where none was."""
    return newest_order(store.run_folder(run_id))


def chosen_runs(store: Store, names: Sequence[str] | None) -> list[str] | None:
    """The ids of the runs that were named; None where none was."""
    return [find_run(store, name) for name in names] if names else None
