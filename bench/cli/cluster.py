"""``bench cluster``: masks of any images by a fit of these very images. No labels, no grid, no store."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from spectral_bench.bench.cli.masks import (
    Contours,
    Overlays,
    Overwrite,
    require_drawn,
    tell_passed_over,
    warn_of_others,
)
from spectral_bench.bench.cli.options import (
    Debug,
    Device,
    Json,
    parse_device,
    require_folder,
)
from spectral_bench.bench.cli.output import progress_bar, show_json, tell, warn
from spectral_bench.bench.cli.parameters import parameter_example, plain_parameters
from spectral_bench.bench.cli.text import Names, NamesBackbone, NamesOptions, TextModel, naming_of, require_names
from spectral_bench.bench.predict.faults import one_line
from spectral_bench.bench.predict.files import find_images, require_empty, require_targets
from spectral_bench.bench.predict.pictures import LEGEND
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.explain import explain
from spectral_bench.common.names import how_many
from spectral_bench.common.registry import short_name
from spectral_bench.results.specification import Features

if TYPE_CHECKING:
    from spectral_bench.bench.predict.cluster import ClusteredImages


_OPTIONS, _FEATURES = "backbone_options.", "features."
_METHOD, _BACKBONE = "deep_spectral", "efficientnet_lite0"

Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="A parameter of the method (segments=12), or an option of the backbone (backbone_options.weights=random)."
        " May be given several times.",
        metavar="KEY=VALUE",
    ),
]

Network = Annotated[str, typer.Option("--backbone", help="The frozen network: a name, or path/to/file.py:Class.")]
Stored = Annotated[
    Path | None,
    typer.Option(
        "--features",
        help="Folder of features that were computed elsewhere, a file an image: STEM.npy, .pt or .safetensors; "
        "--backbone is their title then. --set features.order=chw and the like as in a grid.",
        metavar="DIR",
    ),
]

Seen = Annotated[
    str, typer.Option("--size", help="What images are resized to for the backbone: the short side, or HEIGHTxWIDTH.")
]

Method = Annotated[
    str, typer.Option("--method", help="A method that needs no labels, by name or as path/to/file.py:Class.")
]

NewFolder = Annotated[
    Path, typer.Option("--to", help="Folder for what is written: a new one, or an empty one.", metavar="DIR")
]


def cluster(
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of them, of any sizes.", metavar="IMAGE...")],
    to: NewFolder,
    k: Annotated[int | None, typer.Option("--k", help="Number of clusters; default: 8.", metavar="N")] = None,
    method: Method = _METHOD,
    backbone: Network = _BACKBONE,
    features: Stored = None,
    parameters: Parameters = None,
    size: Seen = "320",
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="Of the fit.")] = 0,
    names: Names = None,
    names_backbone: NamesBackbone = None,
    names_option: NamesOptions = None,
    text_model: TextModel = None,
    device: Device = "auto",
    overlays: Overlays = True,
    contours: Contours = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Cluster images: fit a method on them and write masks, overlays, a contact sheet and a legend.

    Clusters are shared by all images: 3 means the same in each of them. Needs no labels, no grid and no store.
    """
    require_folder(to)
    require_drawn(overlays=overlays, contours=contours)
    require_names(names, names_backbone, names_option, text_model)
    stated = with_clusters(plain_parameters(parameters or [], such_as=partial(parameter_example, method)), k)
    options, given = taken(stated, _OPTIONS), files_of(features, taken(stated, _FEATURES))
    seen, device, files = parse_size(size), parse_device(device), find_images(images)
    require_targets(files, to, overlays=overlays)
    there = require_empty(to, overwrite=overwrite)
    tell_passed_over(images, to)
    # Loads torch, which a wrong path shall not wait for.
    from spectral_bench.bench.predict.choices import clustering_params, network, with_text
    from spectral_bench.bench.predict.cluster import cluster_files
    from spectral_bench.bench.run.context import resolve_device

    with one_line(method, backbone, names_backbone), _bars() as bar:
        if names is not None and with_text(method, names, stated, options):  # its own network names its clusters
            names_backbone, names_option = backbone, None
        naming = naming_of(names, backbone, options, names_backbone, names_option, text_model)
        found = cluster_files(
            files,
            method,
            clustering_params(method, stated, len(files)),
            network(backbone, options, given),
            features=given,
            naming=naming,
            size=seen,
            seed=seed,
            device=resolve_device(device),
            **_steps(bar, method),
        )
        drawn = {"overlays": overlays, "contours": contours, "overwrite": overwrite}
        written = found.save(to, **drawn, progress=bar("writing masks"))
    show_json(_json(found, written)) if as_json else tell("\n".join(lines(found, to, overlays=overlays)))
    warn_of_others(there, written, to)
    return 0


def _steps(bar: Callable[[str], Callable[[int, int], None]], method: str) -> dict[str, Any]:
    """A bar for each step of the work."""
    titles = {"progress": "looking at images", "fitting": f"fitting {short_name(method)}", "calling": "naming clusters"}
    return {step: bar(title) for step, title in titles.items()}


def _json(found: ClusteredImages, written: Sequence[Path]) -> dict[str, Any]:
    return {"files": [str(path) for path in written], "settings": found.settings}


def taken(stated: dict[str, Any], start: str) -> dict[str, Any]:
    """The parameters whose names start so, without that, taken out of what is stated."""
    return {key.removeprefix(start): stated.pop(key) for key in list(stated) if key.startswith(start)}


def files_of(root: Path | None, how: dict[str, Any]) -> Features | None:
    """The files of ``--features`` as a grid would state them; None where a backbone makes features.

    Raises:
        ConfigError: something is stated of files without any, or is not valid.
    """
    if root is None:
        if how:
            raise ConfigError(f"--set {_FEATURES}{next(iter(how))}: is for --features, which is not given")
        return None
    try:
        return Features.model_validate({"mode": "files", "root": str(root.absolute()), **how})
    except ValidationError as error:
        problems = [explain("key", "features", Features, problem) for problem in error.errors()]
        raise ConfigError(f"--features {root}: {'; '.join(problems)}") from error


def with_clusters(stated: dict[str, Any], k: int | None) -> dict[str, Any]:
    """The parameters of ``--set`` with those of ``--k``.

    Raises:
        ConfigError: both say K.
    """
    if k is not None and "k" in stated:
        raise ConfigError(f"--k {k} and --set k={stated['k']}: give one of them")
    return stated if k is None else {**stated, "k": k}


def parse_size(text: str) -> int | tuple[int, int]:
    """A short side, or (height, width), in pixels.

    Raises:
        ConfigError: it is neither.
    """
    sides = text.lower().split("x")
    if not all(side.isdecimal() and int(side) >= 16 for side in sides) or len(sides) > 2:
        raise ConfigError(
            f'--size: "{text}"; expected a short side such as 320, or HEIGHTxWIDTH such as 320x480, 16 pixels or more'
        )
    return int(sides[0]) if len(sides) == 1 else (int(sides[0]), int(sides[1]))


def lines(found: ClusteredImages, to: Path, *, overlays: bool) -> Iterator[str]:
    """What was done, for people."""
    made, (height, width), (rows, columns) = found.settings, found.size, found.settings["grid"]
    yield (
        f"{how_many(len(found), 'image')} seen by {short_name(made['backbone']['name'])} at {height} x {width} pixels, "
        f"{rows} x {columns} patches each"
    )
    used = "" if found.names else f" {_in_use(to)} in use,"
    yield (
        f"{short_name(made['method'])}: {found.n_clusters} clusters,{used} shared by all images; "
        f"seed {made['seed']}, {made['device']}"
    )
    if found.names:
        yield found.named_by
        called = {name or "no name": how_many(found.names.count(name), "cluster") for name in found.names}
        yield f"names: {', '.join(f'{name} ({clusters})' for name, clusters in called.items())}"
    what = f"{how_many(len(found), 'mask')} (PNG){', overlays' if overlays else ''}"
    vectors = ", names.safetensors" if made.get("names") and made["names"]["file"] is None else ""
    yield f"written to {to}: {what}, contact_sheet.jpg, legend.csv, settings.json{vectors}"
    for failed in found.failed_checks:
        warn(f"not converged: {failed}")


def _in_use(folder: Path) -> int:
    with (folder / LEGEND).open(newline="") as file:
        return sum(row["images"] != "0" for row in csv.DictReader(file))


@contextmanager
def _bars() -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """Gives bars that follow each other: the first call of one ends the one before."""
    with ExitStack() as stack:
        current: list[str] = []

        def bar(title: str) -> Callable[[int, int], None]:
            moved: list[Callable[[int, int], None]] = []

            def move(done: int, total: int) -> None:
                if current != [title]:
                    stack.close()
                    current[:] = [title]
                    moved[:] = [stack.enter_context(progress_bar(title))]
                moved[0](done, total)

            return move

        yield bar
