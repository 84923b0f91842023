"""Patch features of images that share one size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from spectral_bench.bench.features.backbones.interface import BackboneInfo
from spectral_bench.bench.features.backbones.network import FrozenNetwork
from spectral_bench.common.geometry import Crop
from spectral_bench.datasets.transforms.resize import resize_image
from spectral_bench.methods.interface import PatchBatch


def extract(
    backbone: FrozenNetwork,
    images: Sequence[NDArray[np.uint8]],
    ids: Sequence[str],
    crops: Sequence[Crop],
    *,
    antialias: bool = False,
) -> PatchBatch:
    """Features and pixels of B images, on the backbone's device.

    Args:
        backbone: the frozen network.
        images: B arrays (H, W, 3) uint8 RGB of one size.
        ids: B names.
        crops: B crops: which part of its image each array shows.
        antialias: add pixels that are shrunk with antialiasing.
    """
    stacked = torch.from_numpy(np.stack(images)).to(backbone.device)
    scaled = stacked.permute(0, 3, 1, 2).float() / 255
    pixels = antialiased_pixels(images, backbone.info).to(backbone.device) if antialias else None
    return PatchBatch(backbone.features(scaled), grid_pixels(scaled, backbone.info), tuple(ids), tuple(crops), pixels)


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


def grid_pixels(images: Tensor, info: BackboneInfo) -> Tensor:
    """Images bilinearly down-sampled to the patch grid, without antialiasing (align_corners False).

    Args:
        images: (B, 3, H, W) float32 RGB in [0, 1].
        info: the backbone that the grid belongs to.

    Returns:
        (B, h, w, 3) float32 in [0, 1]. Where the grid reaches beyond the image its border is repeated, so that every
        patch has a colour that occurs in the image.
    """
    height, width = images.shape[-2:]
    rows, columns = info.cover(height, width)
    padded = functional.pad(images, (0, columns - width, 0, rows - height), mode="replicate")
    grid = functional.interpolate(padded, info.grid(height, width), mode="bilinear", align_corners=False)
    return grid.permute(0, 2, 3, 1).contiguous()


def concatenate(batches: Sequence[PatchBatch]) -> PatchBatch:
    """One batch of all entries of batches that share a grid."""
    if len(batches) == 1:
        return batches[0]
    antialiased = [batch.antialiased for batch in batches if batch.antialiased is not None]
    return PatchBatch(
        tuple(torch.cat(level) for level in zip(*(batch.features for batch in batches), strict=True)),
        torch.cat([batch.pixels for batch in batches]),
        tuple(image_id for batch in batches for image_id in batch.image_ids),
        tuple(crop for batch in batches for crop in batch.crops),
        torch.cat(antialiased) if len(antialiased) == len(batches) else None,
    )


def batch_part(batch: PatchBatch, start: int, stop: int) -> PatchBatch:
    """The entries ``start`` to ``stop`` (excluded) of a batch."""
    part = slice(start, stop)
    return PatchBatch(
        tuple(level[part] for level in batch.features),
        batch.pixels[part],
        batch.image_ids[part],
        batch.crops[part],
        batch.of_antialiased(lambda pixels: pixels[part]),
    )


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
    features = tuple(level[:, *part] for level in batch.features)
    antialiased = batch.of_antialiased(lambda pixels: pixels[:, *part])
    return PatchBatch(features, batch.pixels[:, *part], batch.image_ids, crops, antialiased)
