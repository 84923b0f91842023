"""``bench predict``: masks of any images from a stored fit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spectral_bench.bench.cli.options import (
    DEFAULT_OUT,
    Debug,
    Json,
    Out,
    Roots,
    find_run,
    parse_device,
    require_folder,
)
from spectral_bench.bench.cli.output import progress_bar, say, show_json
from spectral_bench.bench.predict.masks import require_stems, require_targets
from spectral_bench.common.errors import DataError
from spectral_bench.common.names import how_many
from spectral_bench.datasets.listing import list_folder
from spectral_bench.datasets.reading import IMAGE_SUFFIXES
from spectral_bench.results.state import StoredRun
from spectral_bench.results.store import Store


def predict(
    run: Annotated[str, typer.Argument(help="A run of the store, by its id or the beginning of it.", metavar="RUN")],
    images: Annotated[
        list[Path],
        typer.Argument(help="Images, or folders of them (hidden and other files are passed over).", metavar="IMAGE..."),
    ],
    to: Annotated[
        Path, typer.Option("--to", help="Folder for the masks and overlays, not that of the images.", metavar="DIR")
    ],
    out: Out = DEFAULT_OUT,
    overlays: Annotated[bool, typer.Option("--overlays/--no-overlays", help="Write colour overlays too.")] = True,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    data_root: Roots = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Segment images by a stored fit: a palette PNG of cluster indices each, and a colour overlay.

    Images are turned upright as their camera's orientation tag says, and so are masks and overlays.
    """
    require_folder(to)
    store = Store.open(out)
    run_id = find_run(store, run, among=lambda one: StoredRun(store.fit_record(one)).fitted)
    files = find_images(images)
    device = parse_device(device)
    require_targets(files, to, overlays=overlays)
    # Loads torch, which a wrong path shall not wait for.
    from spectral_bench.bench.predict.images import predict as predict_images

    with progress_bar("predicting") as progress:
        written = predict_images(store, run_id, files, to, overlays=overlays, device=device, progress=progress)
    show_json([str(path) for path in written]) if as_json else say(f"{how_many(len(written), 'file')} written to {to}")
    return 0


def find_images(paths: list[Path]) -> list[Path]:
    """The image files among ``paths``, those in folders included as a data set's are, in order.

    In a folder, hidden files, sub-folders and files of other kinds are passed over. A file that is named is taken for
    an image whatever its name, and is an error later if it is none.

    Raises:
        DataError: a path does not exist or is no file, a folder holds no image, or two images have one stem and would
            share a mask.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            if not path.exists():
                raise DataError(f"{path}: no such image")
            if not path.is_file():
                raise DataError(f"{path}: no regular file, so no image")
            found.append(path)
            continue
        listing = list_folder(path, IMAGE_SUFFIXES)
        if not listing.files:
            raise DataError(f"{path}: holds no image ({', '.join(IMAGE_SUFFIXES)})")
        for problem in listing.problems:
            raise DataError(f"{problem}, so both would have one mask")
        found += listing.files.values()
    require_stems(found)
    return found
