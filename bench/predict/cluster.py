"""Cluster any images: no labels, no grid and no store."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from spectral_bench.bench.evaluation.counting import ScoredImage, assign
from spectral_bench.bench.features.backbones import BackboneInfo, backbone_info
from spectral_bench.bench.features.files import find
from spectral_bench.bench.features.pipeline import concatenate
from spectral_bench.bench.features.views import ViewItem, fresh_features
from spectral_bench.bench.measure.environment import environment, now, reproducible
from spectral_bench.bench.predict.choices import require_fitting, takes_text
from spectral_bench.bench.predict.files import FileImages, require_empty, require_targets
from spectral_bench.bench.predict.images import Wanted, write_masks
from spectral_bench.bench.predict.names import NAMES_FILE, Naming, mean_features, named_key
from spectral_bench.bench.predict.pictures import Key, cluster_key
from spectral_bench.bench.run.evaluate import scored_images
from spectral_bench.bench.run.in_memory import MemorySource, failed_checks, fit_in_memory, require_no_labels
from spectral_bench.common.errors import ConfigError, DataError
from spectral_bench.common.files import write_json
from spectral_bench.common.missing import no_such, shown
from spectral_bench.datasets.reading import image_header
from spectral_bench.methods.interface import PatchBatch
from spectral_bench.methods.maskclip.text_vectors import write_text
from spectral_bench.methods.params import Colours
from spectral_bench.methods.registry import colours_asked
from spectral_bench.methods.threads import one_thread
from spectral_bench.results.specification import BackboneSpec, Features, Resize, View

SHORT_SIDE = 320
SETTINGS = "settings.json"
_SMALLEST, _LONGEST = 16, 8  # pixels; times the short side: a strip of one pixel must not become one of millions
_ORIENTATION, _SWAPS_SIDES = 0x0112, range(5, 9)  # the tag of EXIF, and its values that turn by a quarter


class ClusteredImages(Mapping[str, NDArray[np.int64]]):
    """The masks of images, by the stems of their files: ``masks["beach"]`` is (H, W) int64, clusters from 0 to K - 1.

    A mask has the size of its image as people see it, turned upright. It is made of the scores of its patches whenever
    it is asked for, so that thousands of large images need no memory for theirs.

    Attributes:
        paths: the file of each image, by its stem, in the given order.
        n_clusters: K.
        settings: how they were made, as plain values.
        size: (height, width) in pixels to which images were resized before the backbone looked at them.
        failed_checks: what the method found wrong with its own fit, in words; empty for a sound fit.
        names: what each cluster is called, None for one without a patch; empty where nothing names them.
        named_by: how they got their names, in a line; empty where they have none.

    Example:
        >>> masks = sb.cluster_images("photos/", k=8)  # doctest: +SKIP
        >>> for name, mask in masks.items():  # doctest: +SKIP
        ...     print(name, mask.shape, masks.paths[name])
        >>> masks.save("masks/")  # doctest: +SKIP
    """

    def __init__(
        self,
        files: FileImages,
        scored: Sequence[ScoredImage],
        n_clusters: int,
        size: tuple[int, int],
        failed: tuple[str, ...],
        settings: Mapping[str, Any],
        naming: tuple[Naming, Key] | None = None,
    ) -> None:
        self._files, self._scored = files, {one.image_id: one for one in scored}
        self.paths, self.n_clusters, self.size, self.failed_checks = dict(files.paths), n_clusters, size, failed
        self._naming = None if naming is None else naming[0]
        self._key = cluster_key(n_clusters) if naming is None else naming[1]
        self.names, self.named_by = self._key.cluster_names, self._key.told
        self.settings = {
            **settings,
            **({} if self._naming is None else {"names": self._naming.facts(self._key)}),
            "size": list(size),
            "grid": list(scored[0].layout.grid),
            "failed_checks": list(failed),
            "made": now(),
            "environment": environment(),
        }

    def __getitem__(self, name: str) -> NDArray[np.int64]:
        with reproducible():
            return self._mask(name)

    def _mask(self, name: str) -> NDArray[np.int64]:
        found: NDArray[np.int64] = assign(self._scored[name]).cpu().numpy()
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __repr__(self) -> str:
        return f"ClusteredImages({len(self)} images, k={self.n_clusters}, seen at {self.size[0]} x {self.size[1]})"

    def save(
        self,
        folder: str | Path,
        *,
        overlays: bool = True,
        contours: bool = False,
        overwrite: bool = False,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[Path]:
        """Write the masks as ``bench cluster`` does.

        Args:
            folder: for ``<stem>.png`` (palette PNG of clusters; 16-bit grey above 256), ``<stem>_overlay.jpg``,
                ``contact_sheet.jpg``, ``legend.csv`` (colour, share of the pixels) and ``settings.json``. Where
                clusters have names, masks hold these: places in the list of words. Vectors that were made of words go
                into ``names.safetensors``.
            overlays: whether to write colour overlays too.
            contours: draw the borders between clusters on overlays and on the contact sheet.
            overwrite: write into a folder that holds files, over those of the same names; else it is refused.
            progress: called with (images done, images in all).

        Returns:
            The files written.

        Raises:
            ConfigError: ``folder`` is that of an image, or a file that would be written is one of the images.
            DataError: two masks would be one file, or an image is gone.
            StoreError: the folder holds files, or a file cannot be written.

        Example:
            >>> masks.save("masks/", overlays=False)  # doctest: +SKIP
        """
        folder = Path(folder)
        for path in self.paths.values():
            if not path.exists():
                raise DataError(no_such(path))
        require_targets(list(self.paths.values()), folder, overlays=overlays)
        require_empty(folder, overwrite=overwrite, by="overwrite=True")
        wanted = Wanted(overlays=overlays, contours=contours, sheet=True)
        masks = ((name, partial(self._mask, name)) for name in self)
        with reproducible(), one_thread():  # two images at a time instead of many small products cut in two
            written = write_masks(masks, self._files, folder, self._key, wanted, progress=progress)
        if self._naming is not None and self._naming.file is None:
            write_text(folder / NAMES_FILE, self._naming.text)
            written.append(folder / NAMES_FILE)
        images = {shown(name): shown(path.absolute()) for name, path in self.paths.items()}
        write_json(folder / SETTINGS, {**self.settings, "images": images})
        return [*written, folder / SETTINGS]


def cluster_files(
    files: Sequence[Path],
    method: str,
    params: dict[str, Any],
    backbone: BackboneSpec,
    *,
    features: Features | None = None,
    naming: Naming | None = None,
    size: int | tuple[int, int] = SHORT_SIDE,
    seed: int = 0,
    device: torch.device,
    precision: str = "float32",
    progress: Callable[[int, int], None] = lambda done, total: None,
    fitting: Callable[[int, int], None] = lambda done, total: None,
    calling: Callable[[int, int], None] = lambda done, total: None,
) -> ClusteredImages:
    """Fit a method on the patch features of images, and cluster the pixels of the same images with it.

    It has the bits of a grid's run on these images (``transform.resize`` to the same size, features not rounded) whose
    fit ``bench predict`` then applies to them.

    Args:
        files: the images.
        method: a name, or ``path/to/file.py:Class``.
        params: complete.
        backbone: the network; its weights need no digest. Of features in files, what ``network`` gives.
        features: of mode ``files``: where those of the images lie, by stems; None: the backbone makes them.
        naming: what names clusters; None: they have no names.
        size: what images are resized to, all alike, since training stacks them: (height, width) in pixels, or the short
            side, where the other one follows from the middle one of the images' shapes.
        seed: of the fit.
        device: where to compute.
        precision: of the method's networks.
        progress: called with (images seen by the backbone, images in all).
        fitting: called with (steps of the fit that are done, steps in all), where the method tells them.
        calling: called with (images seen by the network of names, images in all).

    Raises:
        ConfigError: a name is unknown, the method needs labels, or a parameter does not fit so few images or patches.
        DataError: there is no image, one cannot be read, or two have one stem.
        NumericalError: the method cannot be fitted on these images.
    """
    if not files:
        raise DataError("no images: expected at least one")
    require_no_labels(method)
    info, images = backbone_info(backbone.name, backbone.options), FileImages(files)
    seen = size if isinstance(size, tuple) else common_size([upright_size(path) for path in files], size)
    require_fitting(method, params, len(files), len(files) * math.prod(info.grid(*seen)))
    at_size, stored = Resize(mode="exact", size=seen), _digest(features, images, info, seen)
    view = View(dataset="", split="", resize=at_size, features=stored)
    with reproducible():
        items = _features(view, images, backbone, device, colours_asked(method, params), progress, features)
        patches, items = _in_one(items)
        source = MemorySource(patches, seed)
        fitted = fit_in_memory(method, params, source, seed=seed, device=device, precision=precision, progress=fitting)
        kept = [replace(one, scores=one.scores.cpu()) for one in scored_images(fitted, view, items, device=device)]
        named = None if naming is None else (naming, _named(naming, method, kept, view, images, device, calling))
    settings = _settings(method, params, backbone, features, seed=seed, precision=precision, device=str(device))
    return ClusteredImages(images, kept, fitted.n_clusters, seen, failed_checks(fitted), settings, named)


def _in_one(items: list[ViewItem]) -> tuple[PatchBatch, list[ViewItem]]:
    """The patches of all items in one batch, and the items with parts of it, so that nothing is held twice."""
    patches = concatenate([item.patches for item in items])
    return patches, [replace(item, patches=patches.part(slice(at, at + 1))) for at, item in enumerate(items)]


def _settings(
    method: str, params: dict[str, Any], backbone: BackboneSpec, features: Features | None, **others: Any
) -> dict[str, Any]:
    used = {"name": backbone.name, "options": backbone.options}
    files = {} if features is None else {"features": features.model_dump(mode="json")}
    return {"method": method, "params": params, "backbone": used, **others, **files}


def _named(
    naming: Naming,
    method: str,
    kept: Sequence[ScoredImage],
    view: View,
    images: FileImages,
    device: torch.device,
    calling: Callable[[int, int], None],
) -> Key:
    """What the masks of named clusters hold."""
    if takes_text(method):
        return named_key(naming, None)
    plain, folder = view.model_copy(update={"features": ""}), Path()  # of caches, of which there is none
    seen = fresh_features(plain, naming.network, images=images, ids=images.ids, folder=folder, device=device, workers=2)
    n_clusters = kept[0].scores.shape[1]
    return named_key(naming, mean_features(kept, seen, n_clusters, lambda done: calling(done, len(kept))))


def _digest(features: Features | None, images: FileImages, info: BackboneInfo, seen: tuple[int, int]) -> str:
    """Of the files of features, once their headers were checked; empty where there are none."""
    if features is None:
        return ""
    stored = find(features, "", "")
    stored.check(images.ids, images.ids, info.channels, lambda image_id: seen, one_grid=True, name="this command")
    return stored.digest()


def _features(
    view: View,
    images: FileImages,
    backbone: BackboneSpec,
    device: torch.device,
    colours: Colours,
    progress: Callable[[int, int], None],
    stored: Features | None,
) -> list[ViewItem]:
    features = fresh_features(
        view,
        backbone,
        images=images,
        ids=images.ids,
        folder=Path(),  # of caches, of which there is none
        device=device,
        workers=2,
        colours=colours,
        stored=stored,
    )
    items = []
    for done, item in enumerate(features, start=1):
        items.append(replace(item, patches=item.patches.to("cpu")))  # all of them at once would not fit a GPU
        progress(done, len(features))
    return items


def common_size(sizes: Sequence[tuple[int, int]], short_side: int) -> tuple[int, int]:
    """(height, width) of the middle one of the images' shapes, with this short side.

    Args:
        sizes: (height, width) of each image in pixels.
        short_side: in pixels.

    Raises:
        ConfigError: the short side has fewer than 16 pixels, or the other one would be more than eight times as long.
    """
    if short_side < _SMALLEST:
        raise ConfigError(f"size: {short_side}; expected at least {_SMALLEST} pixels")
    # In logarithms, so that 3:4 and 4:3 are as far from a square.
    shape = math.exp(median(math.log(width / height) for height, width in sizes))
    if max(shape, 1 / shape) > _LONGEST:
        raise ConfigError(
            f"size: {short_side} is a short side, and the images are {max(shape, 1 / shape):.0f} times as long as that;"
            " state (height, width), as in --size 320x480"
        )
    return (short_side, round(short_side * shape)) if shape >= 1 else (round(short_side / shape), short_side)


def upright_size(path: Path) -> tuple[int, int]:
    """(height, width) of an image as people see it, from its header.

    Raises:
        DataError: the file cannot be read as an image.
    """
    height, width = image_header(path)
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(_ORIENTATION) in _SWAPS_SIDES
    except (OSError, SyntaxError, ValueError) as error:  # Pillow decodes a PNG to look for its tags
        raise DataError(f"{path}: cannot be read as an image ({error})") from error
    return (width, height) if turned else (height, width)
