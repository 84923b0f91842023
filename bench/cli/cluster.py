"""``bench cluster``: masks of any images, with no labels, no grid and no store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spectral_bench.bench.cli.check import plain_parameters
from spectral_bench.bench.cli.options import Debug, Device, Json, parse_device, require_folder
from spectral_bench.bench.cli.output import progress_bar, say, show_json, warn
from spectral_bench.bench.cli.predict import require_drawn
from spectral_bench.bench.predict.files import find_images, require_targets
from spectral_bench.common.errors import ConfigError, StoreError
from spectral_bench.common.names import few, how_many

if TYPE_CHECKING:
    from spectral_bench.bench.predict.cluster import ClusteredImages

_OPTIONS = "backbone_options."
_METHOD, _K, _BACKBONE = "deep_spectral", 8, "efficientnet_lite0"

Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="A parameter of the method (segments=12), or an option of the backbone (backbone_options.weights=random)."
        " May be given several times.",
        metavar="KEY=VALUE",
    ),
]


def cluster(
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of them, of any sizes.", metavar="IMAGE...")],
    to: Annotated[
        Path, typer.Option("--to", help="Folder for what is written: a new one, or an empty one.", metavar="DIR")
    ],
    k: Annotated[int | None, typer.Option("--k", help=f"Number of clusters; default: {_K}.", metavar="N")] = None,
    method: Annotated[
        str, typer.Option("--method", help="A method that needs no labels, by name or as path/to/file.py:Class.")
    ] = _METHOD,
    backbone: Annotated[
        str, typer.Option("--backbone", help="The frozen network: a name, or path/to/file.py:Class.")
    ] = _BACKBONE,
    parameters: Parameters = None,
    size: Annotated[
        str,
        typer.Option("--size", help="What images are resized to for the backbone: the short side, or HEIGHTxWIDTH."),
    ] = "320",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the fit.")] = 0,
    device: Device = "auto",
    overlays: Annotated[bool, typer.Option("--overlays/--no-overlays", help="Write colour overlays too.")] = True,
    contours: Annotated[bool, typer.Option("--contours", help="Draw the borders of clusters on overlays.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write into a folder that holds files, over those of the same names.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Cluster images: fit a method on them and write masks, overlays, a contact sheet and a legend.

    Clusters are shared by all images: 3 means the same in each of them. Needs no labels, no grid and no store.
    """
    require_empty(to, overwrite=overwrite)
    require_drawn(overlays=overlays, contours=contours)
    stated = with_clusters(plain_parameters(parameters or []), k)
    seen, device = parse_size(size), parse_device(device)
    files = find_images(images)
    require_targets(files, to, overlays=overlays)
    # Loads torch, which a wrong path shall not wait for.
    from spectral_bench._images import cluster_images

    options = {key.removeprefix(_OPTIONS): stated.pop(key) for key in list(stated) if key.startswith(_OPTIONS)}
    with _bars() as bar:
        found = cluster_images(
            [*files],
            method,
            backbone=backbone,
            backbone_options=options,
            size=seen,
            seed=seed,
            device=device,
            progress=bar("looking at images"),
            fitting=bar(f"fitting {method}"),
            **stated,
        )
        written = found.save(to, overlays=overlays, contours=contours, progress=bar("writing masks"))
    if as_json:
        show_json({"files": [str(path) for path in written], "settings": found.settings})
    else:
        say("\n".join(lines(found, to, overlays=overlays)))
    return 0


def require_empty(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds files, which would lie among those of this command.

    Raises:
        StoreError: it does, or it is a file.
    """
    require_folder(folder)
    there = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    if there and not overwrite:
        raise StoreError(
            f"{folder}: holds files already ({few(there)}); give a folder of its own, or --overwrite to write over "
            "those of the same names"
        )


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
    if not all(side.isdecimal() for side in sides) or len(sides) > 2:
        raise ConfigError(f'--size: expected a short side such as 320, or HEIGHTxWIDTH such as 320x480, got "{text}"')
    return int(sides[0]) if len(sides) == 1 else (int(sides[0]), int(sides[1]))


def lines(found: ClusteredImages, to: Path, *, overlays: bool) -> Iterator[str]:
    """What was done, for people."""
    made, (height, width), (rows, columns) = found.settings, found.size, found.settings["grid"]
    yield (
        f"{how_many(len(found), 'image')} seen by {made['backbone']['name']} at {height} x {width} pixels, "
        f"{rows} x {columns} patches each"
    )
    yield f"{made['method']}: {found.n_clusters} clusters, shared by all images; seed {made['seed']}, {made['device']}"
    what = f"{how_many(len(found), 'mask')} (PNG){', overlays' if overlays else ''}"
    yield f"written to {to}: {what}, contact_sheet.jpg, legend.csv, settings.json"
    for failed in found.failed_checks:
        warn(f"not converged: {failed}")


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
