"""How many images a run looks at, and in which size, as far as that is known before they are seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace

from spectral_bench.bench.features.backbones import backbone_info
from spectral_bench.bench.plan.today import Data
from spectral_bench.common.errors import UserError
from spectral_bench.datasets.interface import DataInfo
from spectral_bench.datasets.registry import data_info
from spectral_bench.datasets.transforms.resize import resized_size
from spectral_bench.results.specification import BackboneSpec, Resize, TrainingData, View


def image_count(source: TrainingData | View, counts: Mapping[tuple[str, str], int] | None = None) -> int | None:
    """How many images are looked at; None where neither the data set states it nor ``counts``.

    Args:
        source: the images.
        counts: (data set, split) -> images, of data sets that do not state it.
    """
    stated = source.subset or data_info(source.dataset).splits.get(source.split)
    return stated or (counts or {}).get((source.dataset, source.split))


def counts_of(splits: Iterable[tuple[str, str]], count: Callable[[str, str], int | None]) -> dict[tuple[str, str], int]:
    """(Data set, split) -> images, of those that do not state it and are at hand.

    Args:
        splits: data sets and splits.
        count: counts the images of one; None where they are not at hand.
    """
    found: dict[tuple[str, str], int | None] = {}
    for where in sorted(set(splits)):
        with suppress(UserError):  # a description that is gone: whoever needs the data hears of it then
            if data_info(where[0]).splits.get(where[1]) is None:
                found[where] = count(*where)
    return {where: images for where, images in found.items() if images is not None}


def counted(info: DataInfo, splits: Iterable[str], today: Data | None) -> DataInfo:
    """The facts of a data set with the numbers of images that it does not state but that are at hand.

    Args:
        info: the facts, under the name that opens the data set.
        splits: whose images are counted.
        today: counts them; None: nobody does.
    """
    unknown = [split for split in splits if split in info.splits and info.splits[split] is None]
    if today is None or not unknown:
        return info
    return replace(info, splits=info.splits | {split: today.count(info.name, split) for split in unknown})


def training_grids(data: TrainingData, backbone: BackboneSpec, today: Data | None) -> Iterator[tuple[int, int]]:
    """Patches down and across of training images: of one where that tells all, of none where nothing is known yet.

    Args:
        data: the training images.
        backbone: whose patches are meant.
        today: the images themselves, which are asked where their sizes decide; None: they are not.
    """
    info = backbone_info(backbone.name, backbone.options)
    # A native size, that of files of features included, is the same for all images.
    if (sides := training_sides(data) or info.native) is not None:
        yield info.grid(*sides)
        return
    resize = data.transform.resize
    for height, width in today.sizes(data.dataset, data.split, data.subset) if today is not None else ():
        shown = resized_size(height, width, resize.mode, size=resize.size, short_side=resize.short_side)
        yield info.grid(*shown)


def training_sides(data: TrainingData) -> tuple[int, int] | None:
    """Height and width in pixels of what the backbone sees; None where they depend on the images."""
    if data.transform.crop is not None:
        return data.transform.crop, data.transform.crop
    return _resized(data.transform.resize)


def view_sides(view: View) -> tuple[int, int] | None:
    """The same of a view."""
    if view.window is not None:
        return None  # the number of windows depends on the images
    if view.centre_crop is not None:
        return view.centre_crop, view.centre_crop
    return _resized(view.resize)


def _resized(resize: Resize) -> tuple[int, int] | None:
    return resize.size if resize.mode == "exact" else None
