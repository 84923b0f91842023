"""``bench data``: look after the data sets on disk."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from spectral_bench.bench.cli.commands import NearestGroup
from spectral_bench.bench.cli.options import DEFAULT_OUT, Debug, Json, Out, Roots, data_roots
from spectral_bench.bench.cli.output import progress_bar, say, show_json, show_table, tell
from spectral_bench.common.names import how_many
from spectral_bench.datasets.prepare import prepare as prepare_data
from spectral_bench.datasets.registry import FOLDER, open_data
from spectral_bench.datasets.survey.proposal import Proposal, propose
from spectral_bench.datasets.verify import SplitReport
from spectral_bench.datasets.verify import verify as verify_data

app = typer.Typer(
    help="Describe, verify or prepare a data set on disk.",
    cls=NearestGroup,
    add_completion=False,
    rich_markup_mode=None,
)
Name = Annotated[str, typer.Argument(help="The data set, or folder:PATH.yaml for your own.", metavar="NAME")]
MOST_LINES = 10
Jobs = Annotated[int, typer.Option("--jobs", min=1, help="Threads that read files.")]


@app.command("init")
def init(
    folder: Annotated[Path, typer.Argument(help="A folder of images, and of labels if there are.", metavar="FOLDER")],
    to: Annotated[
        Path | None, typer.Option("--to", help="The YAML file to write; default: FOLDER's name, here.", metavar="FILE")
    ] = None,
    numbers_to: Annotated[
        Path | None,
        typer.Option("--numbers-to", help="Write colour-coded labels as PNGs of numbers there.", metavar="DIR"),
    ] = None,
    jobs: Jobs = 4,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Describe a folder of images (and labels) of your own: write the YAML file that grids name as folder:FILE."""
    path = Path(f"{folder.resolve().name or 'images'}.yaml") if to is None else to
    with progress_bar(f"reading {folder}") as progress:
        made = propose(folder, path, numbers_to=numbers_to, jobs=jobs, progress=progress)
    made.write()
    following = f"bench data verify {shlex.quote(f'{FOLDER}{path}')}"
    if as_json:
        parts = {"found": made.found, "undecided": made.undecided, "problems": made.problems}
        show_json({"description": str(path), "lists": [*made.lists], **parts, "next": following})
    else:
        _show_made(made, following)
    return 0


def _show_made(made: Proposal, following: str) -> None:
    say(f"{made.path} is written" + (f", with {', '.join(made.lists)} beside it" if made.lists else ""))
    for title, lines in (("found", made.found), ("not decided", made.undecided), ("wrong", made.problems)):
        for line in lines[:MOST_LINES]:
            tell(f"{title}: {line}")
        if len(lines) > MOST_LINES:
            say(f"{title}: {len(lines) - MOST_LINES} more")
    say(f"next: {following}")


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
