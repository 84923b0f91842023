"""Up-sampling of patch scores along the image: neighbours of a similar colour share scores, and patches keep theirs.

A patch's score speaks of all its pixels together: bilinear up-sampling spreads it evenly, so that what fills a small
part of a patch, such as a pole, wins no pixel. Here the scores at pixels are, in turn, replaced by means over
neighbours of a similar colour, and moved, patch by patch, by what their mean over the patch's own pixels is short of
the patch's score. This is Tobler's smooth pycnophylactic interpolation (JASA 1979, 74, 519-530: smoothing that gives
each region its total back), with neighbours weighed by colour, as in joint bilateral up-sampling (Kopf et al., 2007).

It looks at no cluster beside another, so that clusters are up-sampled in parts, and is linear in the scores; a
``temperature`` makes these shares of all clusters before. With ``correction: ratio`` pixels of a patch are multiplied,
as densities are in Tobler's own form, in the place of moved: what is like a cluster's pixels elsewhere gains more of it
than what is not. It then takes scores of 0 or more, and is linear no more.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from itertools import cycle, islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding_bag

from spectral_bench.bench.evaluation.counting import ScoredImage, view_image
from spectral_bench.bench.evaluation.layout import Axis, WindowLayout, first_largest, full_scores, side_by_side
from spectral_bench.common.errors import ConfigError
from spectral_bench.datasets.interface import ImageLoader
from spectral_bench.methods.memory import free_bytes
from spectral_bench.results.specification import Guided

_SCORES = 2**28  # bytes of the scores of clusters that are up-sampled at once
_LEAST = 8  # clusters at once, however large the image is
_COPIES = 6  # of these scores at the peak
_PIXELS = 2**16  # whose weights are made at once
_VANISHED = 1e-6  # part of a patch's score that is left of it as a mean, below which no factor brings it back
_FLOOR = 1e-6  # weight of a neighbour of any colour: the weights of a pixel never sum to 0


def guided_clusters(
    image: ScoredImage,
    *,
    images: ImageLoader,
    guided: Guided,
    stage: Callable[[str], AbstractContextManager[None]],
) -> Tensor:
    """(H, W) int64 clusters of an image's label pixels, on the device of the scores; ties go to the lowest index.

    Args:
        image: the scored image.
        images: where the image itself comes from.
        guided: the settings.
        stage: charges the work to the stage ``guided``.

    Raises:
        FloatingPointError: a score is nan or infinite.
        MemoryError: it needs more memory than the device has free.
    """
    size = image.layout.target
    wanted = guided_bytes(image.scores.shape[1], size, guided)
    if wanted > (free := free_bytes(image.scores.device)):
        raise MemoryError(
            f"image {image.image_id}: guided up-sampling to {size[0]} x {size[1]} pixels takes about "
            f"{wanted / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free"
        )
    with stage("guided"):
        return largest_of(image.scores, image.layout, view_image(images, image.image_id, image.layout), guided)


def guided_bytes(n_clusters: int, target: tuple[int, int], guided: Guided) -> int:
    """Bytes that it takes at its peak over ``n_clusters`` at (height, width) pixels, about."""
    pixels = target[0] * target[1]
    return 4 * pixels * (2 * 8 * len(guided.distances) + _COPIES * min(n_clusters, at_once(pixels)))


def largest_of(scores: Tensor, layout: WindowLayout, image: NDArray[np.uint8], guided: Guided) -> Tensor:
    """(H, W) int64 index of the largest up-sampled score, part by part of the clusters. Arguments as for ``Guide``."""
    guide = Guide.of(layout, image, guided, scores.device)
    return largest_by_parts(guide.of_patches(scores), layout.target, guide.scores)


@torch.no_grad()
def largest_by_parts(scores: Tensor, target: tuple[int, int], up: Callable[[Tensor], Tensor]) -> Tensor:
    """(H, W) int64 cluster of the largest score, clusters taken in parts.

    Args:
        scores: (W, K, h, w) float32 patch scores.
        target: (height, width) of the label.
        up: takes (W, k, h, w) scores of some clusters to their (H, W, k) scores at pixels.
    """
    pixels, device = target[0] * target[1], scores.device
    step = at_once(pixels)
    best = torch.full((pixels,), -torch.inf, device=device)
    found = torch.zeros(pixels, dtype=torch.int64, device=device)
    for start in range(0, scores.shape[1], step):
        values = up(scores[:, start : start + step]).flatten(0, 1)
        index = first_largest(values)
        largest = values.gather(1, index[:, None])[:, 0]
        better = largest > best
        best, found = torch.where(better, largest, best), torch.where(better, index + start, found)
    return found.view(target)


@dataclass(frozen=True)
class Guide:
    """What up-sampling along one image needs to know of it.

    Attributes:
        layout: where windows and label lie.
        passes: (N, P) int32 of ``neighbour_indices`` and (N, P) of ``colour_weights``, of one iteration after another
            and again from the first.
        guided: the settings.
    """

    layout: WindowLayout
    passes: tuple[tuple[Tensor, Tensor], ...]
    guided: Guided

    @classmethod
    def of(cls, layout: WindowLayout, image: NDArray[np.uint8], guided: Guided, device: torch.device) -> Guide:
        """Neighbours and weights of the label's pixels.

        Args:
            layout: where windows and label lie.
            image: (H, W, 3) uint8 RGB at the label's pixels.
            guided: the settings.
            device: where to compute.
        """
        colours = torch.from_numpy(np.array(image)).to(device).flatten(0, 1).float() / 255
        together = guided.distances_taken == "together"
        passes = []
        for distances in [guided.distances] if together else [(one,) for one in reversed(guided.distances)]:
            neighbours = neighbour_indices(layout.target, distances, device)
            passes.append((neighbours, colour_weights(colours, neighbours, guided.contrast)))
        return cls(layout, tuple(passes), guided)

    def of_patches(self, scores: Tensor) -> Tensor:
        """(W, K, h, w) patch scores of all clusters, as they are up-sampled: shares where there is a temperature."""
        temperature = self.guided.temperature
        return scores if temperature is None else torch.softmax(scores.float() / temperature, 1)

    @torch.no_grad()
    def scores(self, scores: Tensor) -> Tensor:
        """(W, k, h, w) float32 patch scores of some clusters to their (H, W, k) scores at the label's pixels.

        Args:
            scores: what ``of_patches`` gives, or some clusters of it.

        Raises:
            ConfigError: a score is negative, and patches get their means back by ratios.
            FloatingPointError: a score is nan or infinite.
        """
        layout = self.layout
        if self.guided.correction == "ratio":
            _require_shares(scores)
        rows, columns = Members.of(layout.rows, scores.device), Members.of(layout.columns, scores.device)
        wanted, values = side_by_side(scores, layout), full_scores(scores, layout)
        seen = (rows.held[:, None] & columns.held)[..., None]

        def spread(parts: Tensor) -> Tensor:
            found = columns.spread_across(rows.spread(parts * seen))
            return found if self.guided.keep == 1 else found.mul_(self.guided.keep)

        for neighbours, weights in islice(cycle(self.passes), self.guided.iterations):
            values = means(values.flatten(0, 1), neighbours, weights).view(values.shape)
            if self.guided.keep:
                mean = columns.mean_across(rows.mean(values))
                if self.guided.correction == "ratio":
                    vanished = mean <= wanted * _VANISHED
                    values.addcmul_(values, spread(torch.where(vanished, 1.0, wanted / mean) - 1))
                    mean = torch.where(vanished, mean, wanted)
                    if not bool(vanished.any()):
                        continue
                values += spread(wanted - mean)
        return values


def _require_shares(scores: Tensor) -> None:
    least = float(scores.min())
    if least < 0:
        raise ConfigError(
            f"upsample: correction: ratio multiplies scores, which are 0 or more then; there are some of {least:.3g}: "
            "set a temperature, which makes them shares, or correction: shift"
        )


def means(values: Tensor, neighbours: Tensor, weights: Tensor) -> Tensor:
    """(N, K) scores of N pixels to the weighted sums of their (N, P) neighbours' scores."""
    # A sum of rows by weights, with the same bits at any number of threads, and no matrix of N x P x K.
    return embedding_bag(neighbours, values, per_sample_weights=weights, mode="sum")


def neighbour_indices(size: tuple[int, int], distances: tuple[int, ...], device: torch.device) -> Tensor:
    """(H W, 8 per distance) int32 indices of each pixel's neighbours; beyond the border those of its nearest pixels."""
    height, width = size
    rows = torch.arange(height, device=device, dtype=torch.int32)[:, None]
    columns = torch.arange(width, device=device, dtype=torch.int32)
    steps = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0)]
    found = [
        (rows + down * by).clamp(0, height - 1) * width + (columns + right * by).clamp(0, width - 1)
        for by in distances
        for down, right in steps
    ]
    return torch.stack(found, -1).view(height * width, -1)


def colour_weights(colours: Tensor, neighbours: Tensor, contrast: float) -> Tensor:
    """(N, P) weights of each pixel's neighbours, of sum 1: proportional to exp(-|x - x'|^2 / (2 contrast^2)) + 1e-6.

    Args:
        colours: (N, 3), RGB in [0, 1].
        neighbours: (N, P).
        contrast: deviation of the Gaussian.
    """
    weights = torch.empty(neighbours.shape, dtype=colours.dtype, device=colours.device)
    for start in range(0, len(colours), _PIXELS):
        part = slice(start, start + _PIXELS)
        squares = (colours[neighbours[part].long()] - colours[part, None]).square_().sum(-1)
        near = squares.div_(-2 * contrast**2).exp_().add_(_FLOOR)
        weights[part] = near / near.sum(1, keepdim=True)
    return weights


@dataclass(frozen=True)
class Members:
    """Which label pixels belong to which patches, along one axis; pixels under several windows to one patch of each.

    Attributes:
        pixels, starts: the pixels of all patches in a row, and where those of each patch start.
        patches, first: the patches of all pixels in a row, and where those of each pixel start.
        held: (S * patches,) bool, patches with any pixel.
    """

    pixels: Tensor
    starts: Tensor
    patches: Tensor
    first: Tensor
    held: Tensor

    @classmethod
    def of(cls, axis: Axis, device: torch.device) -> Members:
        """Those of an axis."""
        pixels, starts, patches, first = (torch.from_numpy(part).to(device) for part in _members(axis))
        ends = torch.cat([starts[1:], starts.new_tensor([len(pixels)])])
        return cls(pixels, starts, patches, first, ends > starts)

    def mean(self, values: Tensor) -> Tensor:
        """(pixels, B, K) values to (patches, B, K) means over each patch's pixels; 0 where it has none."""
        return embedding_bag(self.pixels, values.flatten(1), self.starts, mode="mean").view(-1, *values.shape[1:])

    def mean_across(self, values: Tensor) -> Tensor:
        """The same along the second axis."""
        return self.mean(values.transpose(0, 1).contiguous()).transpose(0, 1)

    def spread(self, values: Tensor) -> Tensor:
        """(patches, B, K) values to (pixels, B, K): each pixel has its patch's, or the mean of its patches'."""
        flat = values.contiguous().flatten(1)
        return embedding_bag(self.patches, flat, self.first, mode="mean").view(-1, *values.shape[1:])

    def spread_across(self, values: Tensor) -> Tensor:
        """The same along the second axis."""
        return self.spread(values.transpose(0, 1)).transpose(0, 1)


@lru_cache(maxsize=256)
def _members(axis: Axis) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    owner = owners(axis)
    strip, pixel = np.nonzero(owner >= 0)
    patch = strip * axis.patches + owner[strip, pixel]
    by_patch, by_pixel = np.lexsort((pixel, patch)), np.lexsort((patch, pixel))
    sizes = np.bincount(patch, minlength=len(owner) * axis.patches), np.bincount(pixel, minlength=axis.target)
    starts, first = (np.concatenate([[0], np.cumsum(size)[:-1]]) for size in sizes)
    return pixel[by_patch], starts, patch[by_pixel], first


def owners(axis: Axis) -> NDArray[np.int64]:
    """(S, target) the patch of each window that a label pixel's centre lies in, -1 where it lies outside of it.

    The centre of pixel i lies at (i + 1/2) length / target of the frame; patch j of a window spans its pixels from
    j extent / patches on, those of a mirrored window from the other end.
    """
    # Twice the positions times ``target``: integers, so that a centre on a border falls on one side of it for certain.
    centre = (2 * np.arange(axis.target) + 1) * axis.length + 2 * axis.start * axis.target
    found = np.full((len(axis.strips), axis.target), -1)
    for row, strip in enumerate(axis.strips):
        offset = centre - 2 * strip.start * axis.target
        span = 2 * strip.length * axis.target
        inside = (offset >= 0) & (offset < span)
        whole = 2 * axis.extent * axis.target
        patch = -(-(span - offset) * axis.patches // whole) - 1 if strip.flip else offset * axis.patches // whole
        found[row, inside] = patch[inside]
    return found


def at_once(pixels: int) -> int:
    """Clusters whose scores at so many pixels are held at a time."""
    return max(_LEAST, _SCORES // (4 * pixels))
