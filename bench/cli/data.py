"""``bench data``: look after the data sets on disk."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from spectral_bench.bench.cli.commands import NearestGroup
from spectral_bench.bench.cli.options import DEFAULT_OUT, Debug, Json, Out, Roots, data_roots
from spectral_bench.bench.cli.output import progress_bar, say, show_json, show_table
from spectral_bench.common.names import how_many
from spectral_bench.datasets.prepare import prepare as prepare_data
from spectral_bench.datasets.registry import open_data
from spectral_bench.datasets.verify import SplitReport
from spectral_bench.datasets.verify import verify as verify_data

app = typer.Typer(
    help="Verify or prepare a data set on disk.", cls=NearestGroup, add_completion=False, rich_markup_mode=None
)
Name = Annotated[str, typer.Argument(help="The data set, or folder:PATH.yaml for your own.", metavar="NAME")]
Jobs = Annotated[int, typer.Option("--jobs", min=1, help="Threads that read files.")]


@app.command("verify")
def verify(
    name: Name,
    sample: Annotated[int, typer.Option("--sample", min=0, help="Images a split to read in full.")] = 100,
    everything: Annotated[bool, typer.Option("--all", help="Read every image and label in full.")] = False,
    jobs: Jobs = 4,
    out: Out = DEFAULT_OUT,
    data_root: Roots = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Say what is missing or wrong with a data set, with all paths; exit code 1 if anything is."""
    data = open_data(name, data_roots(data_root))
    with progress_bar(f"reading {name}") as progress:
        reports = verify_data(data, sample=None if everything else sample, jobs=jobs, progress=progress)
    if as_json:
        show_json([{**asdict(report), "sound": report.sound, "complete": report.complete} for report in reports])
    else:
        _show(name, reports)
        if not all(report.sound for report in reports):
            say(data.info.licence)
    return 0 if all(report.sound for report in reports) else 1


def _show(name: str, reports: list[SplitReport]) -> None:
    for report in reports:
        for problem in report.problems:
            say(problem)
    rows = [
        (
            report.split,
            report.found,
            "-" if report.official is None else report.official,
            report.read,
            len(report.problems),
        )
        for report in reports
    ]
    columns = ("split", "found", "published", "read", "problems")
    say(f"{name}:")
    show_table(columns, rows, right=columns[1:])


@app.command("prepare")
def prepare(
    name: Name,
    jobs: Jobs = 4,
    out: Out = DEFAULT_OUT,
    data_root: Roots = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Convert the files of a data set into a form that is quicker to read; goes on where it was interrupted."""
    data = open_data(name, data_roots(data_root))
    with progress_bar(f"converting {name}") as progress:
        converted = prepare_data(data, jobs=jobs, progress=progress)
    show_json({"converted": converted}) if as_json else say(f"{name}: {how_many(converted, 'file')} converted")
    return 0
