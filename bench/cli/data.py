"""``bench data`` and ``bench init``: look after data sets on disk, and write a first grid for one."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from spectral_bench.bench.cli.commands import NearestGroup
from spectral_bench.bench.cli.options import DEFAULT_OUT, Debug, Json, Out, Roots, data_roots, require_folder
from spectral_bench.bench.cli.output import command, progress_bar, say, show_json, show_table, tell, warn
from spectral_bench.bench.cli.text import text
from spectral_bench.common.errors import ConfigError, DataError
from spectral_bench.common.files import write_bytes
from spectral_bench.common.names import how_many
from spectral_bench.datasets.interface import DataInfo, DataRoots
from spectral_bench.datasets.prepare import prepare as prepare_data
from spectral_bench.datasets.registry import FOLDER, absolute_data, data_info, open_data
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
def describe(
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
    following = command("data", "verify", f"{FOLDER}{path}")
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


app.command("text")(text)


# ``bench init``: a grid with comments that runs as it is in a few minutes.


_STRIDE = 16  # of the embedded default, efficientnet_lite0
_IMAGES, _EVALUATED, _BATCH = 64, 32, 4  # at most, in a grid that takes minutes

_BATCH_PATCHES = 3000  # of a training step, about; the graph of a step grows with the square of it

_HEAD = """\
# A first grid. What it takes:  {plan}
#               Carry it out:   {run}
# It takes about {minutes} minutes on two cores, and is small on purpose: few images and steps, a small
# network. It shows how {shows}, not how methods compare.
name: {name}
{roots}\
"""

_DATA = """\
defaults:                        # hold for every run
  dataset: {dataset}
{splits}\
  backbone: efficientnet_lite0   # needs no hub: bench list backbones
{subsets}\
"""

_METHOD = """\
    method: neuralef             # its parameters: bench list methods neuralef
    params:
      k: {k}                      # clusters{classes}
      alpha: 0.3                 # weight of the pixel graph
      neighbours: 64             # of a patch in the feature graph
      batch_size: {batch}              # images a step
      steps: 60                  # small, as are the next three: leave them out for the method's own
      depth: 1
      heads: 2
      mlp_width: 128
"""

_KMEANS = "  - {{method: kmeans, params: {{k: {k}, input: last_l2, scores: distance}}}}\n"

_SCORED = f"""\
{_HEAD}\
protocols: [whole]               # what is scored, and how: bench list protocols
{_DATA}\
  seeds: [0, 1, 2]               # one run a seed; a claim in a table needs five
executor: {{{{jobs: 2}}}}              # runs at a time
ablate:                          # a baseline, then one change at a time
  base:
{_METHOD}\
  vary:
    k: [{{fewer}}, {{k}}, {{more}}]
    alpha: [0.0, 0.3, 1.0]
runs:                            # plain rows, beside the ablation
{_KMEANS}"""

_FIT_ONLY = f"""\
{_HEAD}\
protocols: []                    # no labels, so nothing to score: fit only
{_DATA}\
  seeds: [0]                     # one run a seed
executor: {{{{jobs: 2}}}}              # runs at a time
runs:                            # masks of a run: bench predict RUN IMAGES --to masks
  - name: neuralef
{_METHOD}\
{_KMEANS}"""

_RUNS = {_SCORED: 18, _FIT_ONLY: 2}

_LEAST_CLUSTERS = 8

_UNKNOWN_SIDE = 512  # pixels of the short side of images that are not here, where the data set does not tell


@dataclass(frozen=True)
class Splits:
    """The splits that a first grid uses.

    Attributes:
        train, val: their names.
        n_train, n_val: images in them; None where that is not known.
        sides: height and width of the first image to train on; None where it is not on this machine.
    """

    train: str
    val: str
    n_train: int | None
    n_val: int | None
    sides: tuple[int, int] | None


def init(
    dataset: Annotated[
        str,
        typer.Argument(help="The data set, by name or as folder:PATH.yaml: bench list datasets.", metavar="DATASET"),
    ] = "synthetic",
    to: Annotated[Path, typer.Option("--to", help="The file to write.", metavar="FILE")] = Path("grid.yaml"),
    out: Out = DEFAULT_OUT,
    data_root: Roots = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Write a first grid for a data set, with comments; as it is, it runs in a few minutes on two cores.

    Images without labels get one that fits only (protocols: []); bench cluster cuts such images without a grid. Where
    the data set is not on this machine, it is written all the same, and what is needed is told.
    """
    if to.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"--to {to}: expected the name of a YAML file, such as grid.yaml")
    if to.exists():
        raise ConfigError(f"{to}: is there already; remove it, or give another name by --to FILE.yaml")
    require_folder(to.parent)
    place = absolute_data(_named(dataset), Path())
    info, roots = data_info(place), data_roots(data_root)
    splits = find_splits(info, place, roots)
    own_roots = _roots_from(data_root or (), to) if info.needs_root else ""
    write_bytes(to, grid_text(info, _from(place, to), splits, to, own_roots).encode())
    if splits.sides is None:
        warn(f"{dataset} is not on this machine: bench data verify {dataset} says what is missing and where to get it")
    show_json({"grid": str(to), "dataset": info.name, "data_here": splits.sides is not None}) if as_json else say(
        f"{to} written; go on with:\n  {command('plan', str(to))}\n  {command('run', str(to))}"
    )
    return 0


def _named(dataset: str) -> str:
    """The data set as grids name it; a description may be given by its path alone.

    Raises:
        ConfigError: it is a folder.
    """
    if Path(dataset).is_dir():
        raise ConfigError(
            f"{dataset}: is a folder; a data set of your own is named by a YAML file that describes it, as "
            f"folder:PATH.yaml; bench data init {dataset} writes one"
        )
    return FOLDER + dataset if dataset.endswith((".yaml", ".yml")) and not dataset.startswith(FOLDER) else dataset


def _from(place: str, to: Path) -> str:
    """A data set as a grid in the file ``to`` names it, quoted where YAML needs it: a path from that file's folder."""
    if not place.startswith(FOLDER):
        return place
    path = Path(os.path.relpath(place.removeprefix(FOLDER), to.parent.absolute())).as_posix()
    name = FOLDER + path
    return name if re.fullmatch(r"[\w./:-]+", name) else json.dumps(name, ensure_ascii=False)


def _roots_from(given: Sequence[Path], to: Path) -> str:
    """Data roots as a grid in the file ``to`` states them: relative ones from that file's folder; empty for none."""
    paths = [root if root.is_absolute() else Path(os.path.relpath(root, to.parent.absolute())) for root in given]
    names = [json.dumps(path.as_posix(), ensure_ascii=False) for path in paths]
    return names[0] if len(names) == 1 else f"[{', '.join(names)}]" if names else ""


def find_splits(info: DataInfo, place: str, roots: DataRoots) -> Splits:
    """What to train and to evaluate on: ``train`` and ``val`` where there are such splits, else the first and the last.

    Args:
        info: the data set's facts.
        place: its name, with an absolute path.
        roots: where data sets lie.
    """
    names = list(info.splits)
    train = "train" if "train" in names else names[0]
    val = "val" if "val" in names else names[-1]
    try:
        data = open_data(place, roots)
        images = data.images(train)
        height, width = images.image(images.ids[0]).shape[:2]
        return Splits(train, val, len(images.ids), len(data.images(val).ids), (height, width))
    except DataError:
        return Splits(train, val, info.splits[train], info.splits[val], None)


def grid_text(info: DataInfo, dataset: str, splits: Splits, to: Path, roots: str = "") -> str:
    """The grid as YAML with comments.

    Args:
        info: the data set's facts.
        dataset: what the grid calls it.
        splits: what it trains and evaluates on.
        to: its file.
        roots: what it states as its data roots; empty: none.
    """
    side = info.short_side or _UNKNOWN_SIDE
    height, width = info.evaluation_size or splits.sides or (side, 2 * side)
    patches = -(-height // _STRIDE) * -(-width // _STRIDE)
    batch = max(1, min(_BATCH, _BATCH_PATCHES // patches, splits.n_train or _BATCH))
    form = _SCORED if info.class_sets else _FIT_ONLY
    classes = len(info.class_sets[info.default_classes].classes) if info.class_sets else 0
    k = max(_LEAST_CLUSTERS, 2 * classes)
    lines = [
        f"  {key}: {name}\n"
        for key, name, usual in (("train_split", splits.train, "train"), ("split", splits.val, "val"))
        if name != usual and (key == "train_split" or form is _SCORED)
    ]
    subsets = [
        f"{f'  {key}: {most}':<33}# {what} images of {total}; without this line: all\n"
        for key, most, total, what in (
            ("subset", _IMAGES, splits.n_train, "training"),
            ("eval_subset", _EVALUATED, splits.n_val, "evaluated"),
        )
        if total is not None and total > most and (key == "subset" or form is _SCORED)
    ]
    return form.format(
        plan=command("plan", str(to)),
        run=command("run", str(to)),
        minutes=_minutes(patches * batch, _RUNS[form]),
        shows="an ablation is run and read" if form is _SCORED else "images are cut into clusters",
        name=f"first-{_plain(info.name)}",
        dataset=dataset,
        roots=f"data_root: {roots:<22}# after --data-root and $BENCH_DATA\n" if roots else "",
        splits="".join(lines),
        subsets="".join(subsets),
        k=k,
        fewer=max(2, k // 2),
        more=2 * k,
        classes=f"; the data set has {classes} classes" if classes else ", as many as you like",
        batch=batch,
    )


def _minutes(patches: int, runs: int) -> int:
    # As measured on two cores, with 768 and 2640 patches a step: 65 and 220 CPU seconds a run.
    share = patches / 2640
    return max(2, math.ceil(runs * (1.5 + 6 * share + 5 * share**2) * 1.5 / 120))


def _plain(name: str) -> str:
    """A data set's name in letters that a grid's name may have."""
    stem = Path(name.removeprefix(FOLDER)).stem if name.startswith(FOLDER) else name
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "_-") else "-" for sign in stem)[:80]
