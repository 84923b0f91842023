"""How many images a run looks at, and in which size, as far as that is known before they are seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from spectral_bench.common.errors import UserError
from spectral_bench.datasets.registry import data_info
from spectral_bench.results.specification import Resize, TrainingData, View


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
