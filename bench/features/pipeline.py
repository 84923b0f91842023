"""Decode, cut and extract: from image ids to patch features, in order and with bounded memory."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from spectral_bench.bench.features.backbones.interface import BackboneInfo
from spectral_bench.bench.features.backbones.network import FrozenNetwork
from spectral_bench.bench.features.recipes import Recipe
from spectral_bench.common.errors import DataError, RunInterrupted
from spectral_bench.common.geometry import Crop
from spectral_bench.datasets.interface import ImageLoader
from spectral_bench.datasets.transforms.resize import resize_image
from spectral_bench.methods.interface import PatchBatch
from spectral_bench.methods.params import PLAIN, Colours


def extract(
    backbone: FrozenNetwork,
    images: Sequence[NDArray[np.uint8]],
    ids: Sequence[str],
    crops: Sequence[Crop],
    *,
    colours: Colours = PLAIN,
) -> PatchBatch:
    """Features and pixels of B images, on the backbone's device.

    Args:
        backbone: the frozen network.
        images: B arrays (H, W, 3) uint8 RGB of one size.
        ids: B names.
        crops: B crops: which part of its image each array shows.
        colours: that are added to the pixels.
    """
    scaled = _scaled(images, backbone.device)
    pixels = grid_pixels(scaled, backbone.info)
    batch = PatchBatch(backbone.features(scaled), pixels, tuple(ids), tuple(crops))
    return _with_colours(batch, images, scaled, colours, backbone.info)


def _with_colours(
    batch: PatchBatch, images: Sequence[NDArray[np.uint8]], scaled: Tensor, colours: Colours, info: BackboneInfo
) -> PatchBatch:
    """The batch of B images (H, W, 3), and ``scaled`` of them, with the colours that are asked for, on its device."""
    if colours.antialiased:
        batch = replace(batch, antialiased=antialiased_pixels(images, info).to(scaled.device))
    if colours.samples > 1:
        batch = replace(batch, fine=fine_pixels(scaled, info, colours.samples))
    return batch


def _scaled(images: Sequence[NDArray[np.uint8]], device: torch.device | str = "cpu") -> Tensor:
    """(B, 3, H, W) float32 RGB in [0, 1] on the device."""
    return torch.from_numpy(np.stack(images)).to(device).permute(0, 3, 1, 2).float() / 255


def antialiased_pixels(images: Sequence[NDArray[np.uint8]], info: BackboneInfo) -> Tensor:
    """Images shrunk to the patch grid by PIL's bilinear filter, whose support grows as the image shrinks, in 8 bits.

    Args:
        images: B arrays (H, W, 3) uint8 RGB of one size.
        info: the backbone that the grid belongs to.

    Returns:
        (B, h, w, 3) float32 in [0, 1] on the CPU. Borders are repeated as in ``grid_pixels``.
    """
    height, width = images[0].shape[:2]
    rows, columns = info.cover(height, width)
    margins = ((0, rows - height), (0, columns - width), (0, 0))
    shrunk = [resize_image(np.pad(image, margins, mode="edge"), info.grid(height, width)) for image in images]
    return torch.from_numpy(np.stack(shrunk)).float() / 255


def fine_pixels(images: Tensor, info: BackboneInfo, samples: int) -> Tensor:
    """``samples`` x ``samples`` colours of each patch: what ``grid_pixels`` takes from a grid so many times as fine.

    Returns:
        (B, h, w, samples, samples, 3) float32 in [0, 1].
    """
    grid = grid_pixels(images, info, samples)
    count, rows, columns = grid.shape[:3]
    cells = grid.view(count, rows // samples, samples, columns // samples, samples, 3)
    return cells.transpose(2, 3).contiguous()


def grid_pixels(images: Tensor, info: BackboneInfo, samples: int = 1) -> Tensor:
    """Images bilinearly down-sampled to the patch grid, without antialiasing (align_corners False).

    Args:
        images: (B, 3, H, W) float32 RGB in [0, 1].
        info: the backbone that the grid belongs to.
        samples: the grid is so many times as fine, down and across.

    Returns:
        (B, h, w, 3) float32 in [0, 1], h and w times ``samples``. Where the grid reaches beyond the image its border is
        repeated, so that every patch has a colour that occurs in the image.
    """
    height, width = images.shape[-2:]
    rows, columns = info.cover(height, width)
    padded = functional.pad(images, (0, columns - width, 0, rows - height), mode="replicate")
    size = [patches * samples for patches in info.grid(height, width)]
    grid = functional.interpolate(padded, size, mode="bilinear", align_corners=False)
    return grid.permute(0, 2, 3, 1).contiguous()


def concatenate(batches: Sequence[PatchBatch]) -> PatchBatch:
    """One batch of all entries of batches that share a grid."""
    if len(batches) == 1:
        return batches[0]
    antialiased, fine = (
        [held for batch in batches if (held := getattr(batch, name)) is not None] for name in ("antialiased", "fine")
    )
    return PatchBatch(
        tuple(torch.cat(level) for level in zip(*(batch.features for batch in batches), strict=True)),
        torch.cat([batch.pixels for batch in batches]),
        tuple(image_id for batch in batches for image_id in batch.image_ids),
        tuple(crop for batch in batches for crop in batch.crops),
        torch.cat(antialiased) if len(antialiased) == len(batches) else None,
        fine=torch.cat(fine) if len(fine) == len(batches) else None,
    )


def middle_window(batch: PatchBatch) -> int:
    """The position of the middle one of an image's windows that are not mirrored; mirrored ones stand last."""
    return sum(not crop.flip for crop in batch.crops) // 2


def mirrored_in(batch: PatchBatch, cover: int) -> PatchBatch:
    """The first half of a batch, with the features of the second half, its crops mirrored, averaged in.

    Mirrored features are turned back and interpolated linearly at the centres of the patches. Where a crop is whole
    patches wide, that is the patch at the mirrored place, to the bit; where it was padded at the right, mirrored
    patches lie elsewhere on the image. Pixels are those of the crops as they are.

    Args:
        batch: crops of one size, and after them the same ones mirrored.
        cover: pixels that a row of patches spans.
    """
    half, patches = len(batch) // 2, batch.grid[1]
    plain = batch.part(slice(0, half))
    # Of patch i its centre, seen from the other side and counted in patches: (width - x) / p - 1/2 at x = (i + 1/2) p.
    places = torch.arange(patches, dtype=torch.float64).neg() + (patches * batch.crops[0].width / cover - 1)
    places = places.clamp(0, patches - 1)
    low = places.floor().long()
    high, share = (low + 1).clamp(max=patches - 1), (places - low).float()[:, None]

    def merged(level: Tensor) -> Tensor:
        left, right, shares = (part.to(level.device) for part in (low, high, share))
        other = level[half:]
        return (level[:half] + (other[:, :, left] * (1 - shares) + other[:, :, right] * shares)) / 2

    return replace(plain, features=tuple(map(merged, batch.features)))


def central(batch: PatchBatch, cover: tuple[int, int], most: int) -> PatchBatch:
    """The central part of the patch grid with at most ``most`` patches an entry; the batch itself where it has no more.

    Args:
        batch: entries whose crops are not mirrored.
        cover: (height, width) in pixels that the grid spans.
        most: patches an entry, at least 1.
    """
    height, width = batch.grid
    if height * width <= most:
        return batch
    rows = min(max(1, int(height * math.sqrt(most / (height * width)))), most)
    columns = min(width, most // rows)
    top, left = (height - rows) // 2, (width - columns) // 2
    down, across = cover[0] // height, cover[1] // width
    part = slice(top, top + rows), slice(left, left + columns)
    crops = tuple(
        replace(
            crop,
            top=crop.top + top * down,
            left=crop.left + left * across,
            height=rows * down,
            width=columns * across,
        )
        for crop in batch.crops
    )
    return batch.each(lambda tensor: tensor[:, *part], crops=crops)


Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int, ahead: int
) -> Iterator[Result]:
    """``map(function, items)``, computed by threads, of which at most ``ahead`` results wait to be read.

    Decoding, resizing and numpy release the interpreter's lock, so threads do as well as processes and start at once.

    Args:
        function: called from the threads; its first error is raised where its result is due.
        items: read only as far as the work has got.
        workers: threads; 0: the calling thread does the work when a result is asked for.
        ahead: bound on results that are computed or waiting, at least 1.
    """
    if workers == 0:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="images")
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True)
class ImageShots:
    """The shots taken of one image.

    Attributes:
        image_id: its name.
        original: its (height, width) in pixels before resizing.
        crops: what each shot shows.
        shots: (h, w, 3) uint8 arrays of one size.
    """

    image_id: str
    original: tuple[int, int]
    crops: tuple[Crop, ...]
    shots: tuple[NDArray[np.uint8], ...]


@dataclass(frozen=True)
class Extraction:
    """Images, the network that they are shown to, and how the work is done.

    Attributes:
        images: loader of the split.
        ids: the images that are used, in order.
        load: gives the backbone; called when the first feature has to be computed.
        device: where the backbone computes.
        workers: threads that decode and cut; 0: none.
        inference_batch: shots a forward pass.
        progress: called with (images done, images in all).
        should_stop: asked after every image.
        colours: what batches bring besides their pixels.
    """

    images: ImageLoader
    ids: tuple[str, ...]
    load: Callable[[], FrozenNetwork]
    device: torch.device | str = "cpu"
    workers: int = 0
    inference_batch: int = 8
    progress: Callable[[int, int], None] = lambda done, total: None
    should_stop: Callable[[], bool] = lambda: False
    colours: Colours = PLAIN

    @cached_property
    def backbone(self) -> FrozenNetwork:
        """The backbone on its device."""
        return self.load().to(self.device)

    def decoded(self, recipe: Recipe, indices: Iterable[int]) -> Iterator[ImageShots]:
        """Decoded shots of the images at ``indices``, in that order."""
        fill = self.backbone.fill

        def decode(index: int) -> ImageShots:
            """One image, decoded and cut as the recipe says."""
            image = self.images.image(self.ids[index])
            height, width = image.shape[:2]
            shots = recipe.shots(index, height, width)
            taken = tuple(shot.take(image, fill) for shot in shots)
            return ImageShots(self.ids[index], (height, width), tuple(shot.crop for shot in shots), taken)

        return ordered_map(decode, indices, workers=self.workers, ahead=2 * self.workers + self.inference_batch)

    def features(self, recipe: Recipe, indices: Iterable[int]) -> Iterator[tuple[ImageShots, PatchBatch]]:
        """Each image's shots and their features, on the device, in order."""
        for group in _grouped(self.decoded(recipe, indices), self.inference_batch):
            batch = self._extract(group)
            start = 0
            for taken in group:
                yield taken, batch.part(slice(start, start + len(taken.shots)))
                start += len(taken.shots)

    def with_progress(self, recipe: Recipe) -> Iterator[tuple[ImageShots, PatchBatch]]:
        """``features`` of all images, with progress reported.

        Raises:
            RunInterrupted: the run was asked to stop.
        """
        total = len(self.ids)
        self.progress(0, total)
        for done, item in enumerate(self.stoppable(recipe, range(total)), start=1):
            yield item
            self.progress(done, total)

    def stoppable(self, recipe: Recipe, indices: Sequence[int]) -> Iterator[tuple[ImageShots, PatchBatch]]:
        """``features`` that end when the run is asked to stop.

        Raises:
            RunInterrupted: it was.
        """
        for done, item in enumerate(self.features(recipe, indices)):
            if self.should_stop():
                raise RunInterrupted(f"stopped while features were extracted, after {done} of {len(indices)} images")
            yield item

    def with_colours(
        self, batch: PatchBatch, recipe: Recipe, index: int, info: BackboneInfo, first: int = 0
    ) -> PatchBatch:
        """A batch of stored features of image number ``index``, with the further colours that are wanted.

        These are in no cache: they are made of the image, which is decoded again.

        Args:
            batch: shots of one image.
            recipe: the shots.
            index: of the image.
            info: of the backbone.
            first: number of the batch's first shot.
        """
        if self.colours == PLAIN:
            return batch
        image = self.images.image(self.ids[index])
        shots = recipe.shots(index, *image.shape[:2])[first : first + len(batch)]
        inside = all(shot.crop.inside for shot in shots)
        taken = [shot.take(image, (0, 0, 0) if inside else self.backbone.fill) for shot in shots]
        return _with_colours(batch, taken, _scaled(taken), self.colours, info)

    def _extract(self, group: Sequence[ImageShots]) -> PatchBatch:
        shots = [shot for taken in group for shot in taken.shots]
        ids = [taken.image_id for taken in group for _ in taken.shots]
        crops = [crop for taken in group for crop in taken.crops]
        step = self.inference_batch
        parts = [slice(start, start + step) for start in range(0, len(shots), step)]
        return concatenate([extract(self.backbone, shots[p], ids[p], crops[p], colours=self.colours) for p in parts])


def equal_grids(items: Iterable[tuple[ImageShots, PatchBatch]]) -> Iterator[tuple[ImageShots, PatchBatch]]:
    """Pass items on as long as all have the grid of the first one: training batches stack images.

    Raises:
        DataError: names the first two images that differ and what to set.
    """
    first: tuple[ImageShots, PatchBatch] | None = None
    for taken, batch in items:
        first = first or (taken, batch)
        if batch.grid != first[1].grid:
            raise unequal(first[0].image_id, first[1].grid, taken.image_id, batch.grid)
        yield taken, batch


def unequal(one: str, one_grid: tuple[int, int], other: str, other_grid: tuple[int, int]) -> DataError:
    """The error for two training images of different grids."""
    return DataError(
        f"training images {one} ({one_grid[0]} x {one_grid[1]} patches) and {other} ({other_grid[0]} x "
        f"{other_grid[1]} patches) differ in size, and training batches need one size: set transform.resize to mode "
        "exact with a size, or transform.crop to the side of a square"
    )


def _grouped(images: Iterable[ImageShots], size: int) -> Iterator[list[ImageShots]]:
    """Images in groups whose shots have one size, in order, up to ``size`` shots a group (or one image)."""
    group: list[ImageShots] = []
    count = 0
    for taken in images:
        full = count + len(taken.shots) > size
        if group and (full or taken.shots[0].shape != group[0].shots[0].shape):
            yield group
            group, count = [], 0
        group.append(taken)
        count += len(taken.shots)
    if group:
        yield group
