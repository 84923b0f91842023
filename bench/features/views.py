"""Features of what an evaluation looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from spectral_bench.bench.features.backbones import load_backbone
from spectral_bench.bench.features.backbones.interface import BackboneInfo
from spectral_bench.bench.features.backbones.network import FrozenNetwork
from spectral_bench.bench.features.backbones.registry import backbone_info
from spectral_bench.bench.features.cache.arrays import CacheWriter, FeatureCache, open_cache, read_cache
from spectral_bench.bench.features.cache.meta import (
    cache_request,
    images_of,
    planned_by_first,
    require_unchanged,
    used_weights,
)
from spectral_bench.bench.features.from_files import open_files
from spectral_bench.bench.features.pipeline import Extraction, mirrored_in
from spectral_bench.bench.features.recipes import Recipe, view_recipe
from spectral_bench.datasets.interface import ImageLoader
from spectral_bench.datasets.subset import subset
from spectral_bench.methods.interface import PatchBatch
from spectral_bench.methods.params import PLAIN, Colours
from spectral_bench.results.specification import BackboneSpec, Features, View

if TYPE_CHECKING:
    import torch

    from spectral_bench.datasets.interface import ImageLoader
    from spectral_bench.results.specification import BackboneSpec, View


@dataclass(frozen=True)
class ViewItem:
    """One image of a view.

    Attributes:
        image_id: its name.
        original: its (height, width) in pixels as it was read.
        frame: its (height, width) in pixels after resizing; the crops of ``patches`` are boxes in this frame.
        cover: (height, width) in pixels, from a crop's upper left corner, that the patch grid spans. It exceeds a crop
            that was padded to whole patches: scores beyond the crop are to be cut off.
        patches: the features of all W windows; W = 1 for the whole image or a centre crop. Where the view averages
            scores of mirrored windows, these follow in the same order, so that there are 2 W.
    """

    image_id: str
    original: tuple[int, int]
    frame: tuple[int, int]
    cover: tuple[int, int]
    patches: PatchBatch


class ViewFeatures:
    """The features of a view, image by image, in order. Iterating again starts again.

    Args:
        work: images and backbone.
        recipe: the shots of each image.
        info: of the backbone.
        cache: where features are read from; None: they are computed.
        merged: whether the second half of the shots is the first half mirrored, whose features are averaged in.
    """

    def __init__(
        self, work: Extraction, recipe: Recipe, info: BackboneInfo, cache: FeatureCache | None, *, merged: bool = False
    ) -> None:
        self._work = work
        self._recipe = recipe
        self._info = info
        self._cache = cache
        self._merged = merged

    @property
    def image_ids(self) -> tuple[str, ...]:
        """The images, in order."""
        return self._work.ids

    @property
    def reused(self) -> bool:
        """Whether the features were read from a cache that was there already."""
        return self._cache is not None and self._cache.reused

    @property
    def computed(self) -> bool:
        """Whether images are sent through the backbone as they are asked for, in order with workers ahead."""
        return self._cache is None

    def __len__(self) -> int:
        """The number of images."""
        return len(self._work.ids)

    def __iter__(self) -> Iterator[ViewItem]:
        """Each image with its features: on the CPU from a cache, on the backbone's device where they are computed."""
        if self._cache is None:
            for taken, batch in self._work.features(self._recipe, range(len(self))):
                yield self._item(taken.original, batch)
        else:
            yield from map(self.at, range(len(self)))

    def at(self, index: int) -> ViewItem:
        """Image number ``index`` alone."""
        if self._cache is None:
            ((taken, batch),) = self._work.features(self._recipe, [index])
            return self._item(taken.original, batch)
        batch = self._cache.batch(index)
        batch = self._work.with_colours(batch, self._recipe, index, self._info.of_grid(batch.grid))
        return self._item(self._cache.meta.images[index].size, batch)

    def _item(self, original: tuple[int, int], batch: PatchBatch) -> ViewItem:
        crop = batch.crops[0]
        cover = self._info.of_grid(batch.grid).cover(crop.height, crop.width)
        batch = mirrored_in(batch, cover[1]) if self._merged else batch
        return ViewItem(batch.image_ids[0], original, crop.resized, cover, batch)


def open_view_features(
    view: View,
    *,
    backbone_spec: BackboneSpec,
    features: Features,
    images: ImageLoader,
    ids: tuple[str, ...],
    backbone: Callable[[], FrozenNetwork],
    folder: Path,
    device: torch.device | str,
    workers: int,
    inference_batch: int,
    cache_limit: int,
    progress: Callable[[int, int], None],
    should_stop: Callable[[], bool],
    colours: Colours = PLAIN,
) -> ViewFeatures:
    """The features of ``view``: cached or in files where the fit's features are, else computed as they are read.

    With a cache in float32 scores equal those of computed features. Half precision rounds features by up to 2^-11 of
    their value: on CamVid (EfficientNet-Lite0, last level, K = 64 and 256) squared distances to k-means centres move by
    up to 7e-5 of the largest one, and no patch of 13 860 changes its cluster.

    Args:
        view: what is looked at.
        backbone_spec: name, options and weights of the fit's backbone.
        features: mode and dtype of the fit.
        images: loader of the view's split.
        ids: the images of the view's subset, in order.
        backbone, folder, device, workers, inference_batch, cache_limit, progress, should_stop, colours: as for
            ``open_training_source``.

    Raises:
        ConfigError: the view's crop and windows contradict each other.
        DataError: an image cannot be read, or the weights are not those of the plan.
        StoreError: the cache is larger than its limit or the disk, or cannot be written.
        RunInterrupted: the run was asked to stop; the unfinished cache is removed.
    """
    recipe, merged = view_recipe(view), view.flip == "features"
    info = backbone_info(backbone_spec.name, backbone_spec.options)
    work = Extraction(images, ids, backbone, device, workers, inference_batch, progress, should_stop, colours)
    if features.mode == "online":
        used_weights(backbone_spec, work)
        return ViewFeatures(work, recipe, info, None, merged=merged)
    if features.mode == "files":  # whose views have no flip
        return ViewFeatures(work, recipe, info, open_files(features, view, work, recipe, info, view.features))
    request = cache_request(work, recipe, backbone_spec, features, source=images_of(view), limit=cache_limit)

    def fill(writer: CacheWriter) -> None:
        for taken, batch in work.with_progress(recipe):
            writer.add(taken.image_id, taken.original, batch)
        require_unchanged(work, request.data_digest)

    def planned() -> int:
        return planned_by_first(work, recipe, backbone_spec, features.dtype)

    cache = open_cache(folder, request, fill, planned=planned, should_stop=should_stop)
    return ViewFeatures(work, recipe, info, cache, merged=merged)


def kept_features(
    view: View, backbone: BackboneSpec, features: Features, *, images: ImageLoader, folder: Path, colours: Colours
) -> ViewFeatures | None:
    """The features of a view from the cache that an evaluation has read; None where there is none.

    Args:
        view: what is looked at.
        backbone: the network.
        features: mode and dtype of the fit.
        images: loader of the view's split.
        folder: of the store's feature caches, none of which is written.
        colours: that batches bring besides their pixels.

    Raises:
        DataError: an image cannot be read, or the weights are not those of the plan.
    """
    if features.mode != "cache":
        return None
    recipe, ids = view_recipe(view), subset(images.ids, view.subset)

    def network() -> FrozenNetwork:
        return load_backbone(backbone.name, backbone.options, "cpu")

    work = Extraction(images, ids, network, "cpu", 0, 1, lambda done, total: None, lambda: False, colours)
    request = cache_request(work, recipe, backbone, features, source=images_of(view), limit=0)
    cache = read_cache(folder / request.key, request.material, request.data_digest, ids)
    info = backbone_info(backbone.name, backbone.options)
    return None if cache is None else ViewFeatures(work, recipe, info, cache, merged=view.flip == "features")


def fresh_features(
    view: View,
    backbone: BackboneSpec,
    *,
    images: ImageLoader,
    ids: Sequence[str],
    folder: Path,
    device: torch.device,
    workers: int,
    colours: Colours = PLAIN,
    stored: Features | None = None,
) -> ViewFeatures:
    """What a backbone makes of images under a view, without a cache, a limit or a stop signal.

    Args:
        view: how images are looked at.
        backbone: the network; it is loaded when the first image is asked for.
        images: loader of the images.
        ids: the images, in the order in which they come.
        folder: of the store's feature caches, none of which is written.
        device: where to compute.
        workers: threads that decode.
        colours: that batches bring besides their pixels.
        stored: of mode ``files``: where the features of the images lie, which no backbone makes. None: one does.
    """
    return open_view_features(
        view,
        backbone_spec=backbone,
        features=stored or Features(mode="online"),
        images=images,
        ids=tuple(ids),
        backbone=lambda: load_backbone(backbone.name, backbone.options, device),
        folder=folder,
        device=device,
        workers=workers,
        inference_batch=8,
        cache_limit=0,
        progress=lambda done, total: None,
        should_stop=lambda: False,
        colours=colours,
    )
