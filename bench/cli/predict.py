"""``bench predict``: masks of any images from a stored fit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spectral_bench.bench.cli.options import DEFAULT_OUT, Debug, Json, Out, Roots, parse_device, require_folder
from spectral_bench.bench.cli.output import say, show_json
from spectral_bench.bench.cli.progress import counted
from spectral_bench.bench.cli.reference import find_run
from spectral_bench.common.errors import DataError
from spectral_bench.common.names import how_many


def predict(
    run: Annotated[str, typer.Argument(help="A run of the store, by its id or the beginning of it.", metavar="RUN")],
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of images.", metavar="IMAGE...")],
    to: Annotated[Path, typer.Option("--to", help="Folder for the masks and overlays.", metavar="DIR")],
    out: Out = DEFAULT_OUT,
    overlays: Annotated[bool, typer.Option("--overlays/--no-overlays", help="Write colour overlays too.")] = True,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    data_root: Roots = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Segment images by a stored fit: a palette PNG of cluster indices each, and a colour overlay."""
    from spectral_bench.results.store import Store

    require_folder(to)
    store = Store.open(out)
    run_id = find_run(store, run)
    files = find_images(images)
    device = parse_device(device)
    from spectral_bench.bench.predict import predict as predict_images

    with counted("predicting") as progress:
        written = predict_images(store, run_id, files, to, overlays=overlays, device=device, progress=progress)
    show_json([str(path) for path in written]) if as_json else say(f"{how_many(len(written), 'file')} written to {to}")
    return 0


def find_images(paths: list[Path]) -> list[Path]:
    """The image files among ``paths``, those in folders included, in order.

    Raises:
        DataError: a path does not exist, a folder holds no image, or two images have one stem and would share a mask.
    """
    from spectral_bench.datasets.reading import IMAGE_SUFFIXES

    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: no such image")
        inside = [path]
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
            if not inside:
                raise DataError(f"{path}: holds no image ({', '.join(IMAGE_SUFFIXES)})")
        found += inside
    stems: dict[str, Path] = {}
    for path in found:
        if path.stem in stems:
            raise DataError(f"{path}: has the same stem as {stems[path.stem]}, so both would have one mask")
        stems[path.stem] = path
    return found
