"""Segment any images by a stored fit."""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spectral_bench.bench.evaluation.counting import assign
from spectral_bench.bench.features.views import fresh_features
from spectral_bench.bench.predict.masks import require_stems, require_targets, targets_of
from spectral_bench.bench.run.context import resolve_device
from spectral_bench.bench.run.evaluate import scored_images
from spectral_bench.bench.run.fit import load_fit
from spectral_bench.common.errors import StoreError
from spectral_bench.common.files import write_bytes
from spectral_bench.datasets.reading import image_header, read_image
from spectral_bench.methods.registry import looks_at_antialiased
from spectral_bench.results.specification import View

if TYPE_CHECKING:
    from spectral_bench.results.store import Store

_GOLDEN = 0.618033988749895  # steps of the golden ratio around the colour circle keep neighbouring hues apart


class FileImages:
    """Image files of any place, each under its stem, upright: as people see them, not as a camera stored them.

    Attributes:
        paths: the files by their stems, in the given order.

    Raises:
        DataError: a header cannot be read, or two files have one stem.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        require_stems(paths)
        for path in paths:
            image_header(path)
        self.paths = {path.stem: path for path in paths}

    @property
    def ids(self) -> tuple[str, ...]:
        """The stems, in the given order."""
        return tuple(self.paths)

    def image(self, image_id: str) -> NDArray[np.uint8]:
        """(H, W, 3) RGB. Raises ``DataError`` naming the file if it is missing or corrupt."""
        return read_image(self.paths[image_id], upright=True)

    def digest(self) -> str:
        """Nothing is kept of these images, so they need no digest."""
        return ""


def predict(
    store: Store,
    run_id: str,
    images: Sequence[Path],
    out: Path,
    *,
    overlays: bool = True,
    device: str = "auto",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Path]:
    """Write the cluster mask of each image, upright and in the size that people see, and a colour overlay beside it.

    Images are looked at as the run's first evaluation looked at its own (resizing, windows); a run without evaluations
    looks as it did in training.

    Args:
        store: the store of the run.
        run_id: a finished run.
        images: image files of different stems.
        out: folder for ``<stem>.png`` (palette PNG of clusters; 16-bit grey above 256) and ``<stem>_overlay.jpg``.
        overlays: whether to write overlays.
        device: auto, cpu, cuda or cuda:N.
        progress: called with (images done, images in all).

    Returns:
        The files written.

    Raises:
        StoreError: there is no such finished run, or its state is torn.
        ConfigError: ``out`` is a folder of the images, or a file that would be written is one of them.
        DataError: two images have one stem, or one cannot be read. All headers are looked at before anything is
            written; what is wrong deeper in a file is found in its turn.
    """
    if (run := store.load_run(run_id)) is None:
        raise StoreError(f"run {run_id}: no finished fit in {store.path}")
    spec, chosen = run.fit.spec, resolve_device(device)
    trained = View(dataset="", split="", resize=spec.data.transform.resize)
    view = _of_whole_images(next((record.view for record in run.evaluations.values()), trained))
    files = FileImages(images)
    require_targets(images, out, overlays=overlays)
    features = fresh_features(
        view,
        spec.backbone,
        images=files,
        ids=files.ids,
        folder=store.features_folder,
        device=chosen,
        workers=2,
        antialias=looks_at_antialiased(spec.method, spec.params),
    )
    method, written = load_fit(store, run_id, chosen), list[Path]()
    colours = palette(method.n_clusters)
    for done, image in enumerate(scored_images(method, view, features, device=chosen), start=1):
        targets = targets_of(out, image.image_id, overlays)
        written += write_mask(assign(image).cpu().numpy(), colours, files.image(image.image_id), targets)
        progress(done, len(files.ids))
    return written


def palette(n: int) -> NDArray[np.uint8]:
    """(n, 3) RGB colours that tell neighbours apart: hues by the golden ratio, three levels of brightness."""
    colours = [colorsys.hsv_to_rgb((i * _GOLDEN) % 1.0, 0.55 + 0.4 * (i % 2), 0.95 - 0.2 * (i % 3)) for i in range(n)]
    return (np.array(colours) * 255).round().astype(np.uint8)


def _of_whole_images(view: View) -> View:
    """``view`` without what selects, cuts or refines: whole images at their own size."""
    return view.model_copy(update={"subset": None, "centre_crop": None, "label_resize": False, "crf": None})


def write_mask(
    clusters: NDArray[np.int64], colours: NDArray[np.uint8], image: NDArray[np.uint8], targets: Sequence[Path]
) -> Iterator[Path]:
    """Write a mask, and an overlay where there is a second target; gives each file once it is written.

    Args:
        clusters: (H, W), below the number of colours.
        colours: (K, 3) of ``palette``.
        image: (H, W, 3), what the overlay is laid on.
        targets: of ``targets_of``.
    """
    if len(colours) <= 256:
        mask = Image.fromarray(clusters.astype(np.uint8), mode="P")
        mask.putpalette(colours.tobytes())
    else:
        mask = Image.fromarray(clusters.astype(np.uint16))
    yield _save(mask, targets[0], "PNG")
    for target in targets[1:]:
        mixed = Image.fromarray((image * 0.45 + colours[clusters] * 0.55).astype(np.uint8))
        yield _save(mixed, target, "JPEG")


def _save(image: Image.Image, path: Path, kind: str) -> Path:
    buffer = BytesIO()
    image.save(buffer, format=kind)
    write_bytes(path, buffer.getvalue())
    return path
