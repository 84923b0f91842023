"""Where the windows of an image, the part that its label covers and the label's pixels lie."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product

from spectral_bench.bench.evaluation.axis import Axis, Strip
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.geometry import Crop
from spectral_bench.datasets.transforms import centre_crop
from spectral_bench.results.specification import View


@dataclass(frozen=True)
class Placement:
    """How the patch scores of W windows map onto one label.

    Attributes:
        crops: W windows of the resized image, in the order of their scores; every top with every left exactly once.
        grid: (h, w) patches of each window.
        cover: (height, width) pixels that a window's patches span from its top left pixel on; at least the window, and
            more where it was padded at the bottom or right to whole patches.
        frame: the box of the resized image that the label covers; inside of the image, not mirrored.
        target: (height, width) of the label.

    Raises:
        ValueError: the windows form no product grid, belong to images resized differently, or exceed their patches.
    """

    crops: tuple[Crop, ...]
    grid: tuple[int, int]
    cover: tuple[int, int]
    frame: Crop
    target: tuple[int, int]

    def __post_init__(self) -> None:
        if not self.crops or any(crop.resized != self.frame.resized for crop in self.crops):
            raise ValueError(f"windows and frame must be of one resized image: {self.crops}, {self.frame}")
        if any(crop.height > self.cover[0] or crop.width > self.cover[1] for crop in self.crops):
            raise ValueError(f"a window is larger than the {self.cover} pixels that its patches span")
        if self.frame.flip or min(self.grid) < 1 or min(self.target) < 1:
            raise ValueError(f"not a placement: frame {self.frame}, grid {self.grid}, target {self.target}")
        if sorted(self._keys) != list(product(self._tops, self._lefts)):
            raise ValueError(f"the windows form no product grid: {self.crops}")

    @property
    def rows(self) -> Axis:
        """The vertical axis."""
        strips = tuple(Strip(*key) for key in self._tops)
        return Axis(strips, self.grid[0], self.cover[0], self.frame.top, self.frame.height, self.target[0])

    @property
    def columns(self) -> Axis:
        """The horizontal axis."""
        strips = tuple(Strip(*key) for key in self._lefts)
        return Axis(strips, self.grid[1], self.cover[1], self.frame.left, self.frame.width, self.target[1])

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The positions of the windows in ``crops``, sorted by row of windows, then column."""
        return tuple(sorted(range(len(self.crops)), key=lambda index: self._keys[index]))

    @cached_property
    def _keys(self) -> list[tuple[tuple[int, int], tuple[int, int, bool]]]:
        return [((crop.top, crop.height), (crop.left, crop.width, crop.flip)) for crop in self.crops]

    @cached_property
    def _tops(self) -> list[tuple[int, int]]:
        return sorted({top for top, _ in self._keys})

    @cached_property
    def _lefts(self) -> list[tuple[int, int, bool]]:
        return sorted({left for _, left in self._keys})


def place(
    view: View, image_size: tuple[int, int], crops: tuple[Crop, ...], grid: tuple[int, int], cover: tuple[int, int]
) -> Placement:
    """The placement of an image's windows under a view.

    The label covers the whole resized image, or the part of its centre crop that lies inside of the image. It is
    looked at in full resolution, or at the size of the resized image where the view resizes labels.

    Args:
        view: what is looked at.
        image_size: (height, width) of the image as it was read.
        crops: the windows, all of the image resized as the view says.
        grid: (h, w) patches of each window.
        cover: (height, width) in pixels that the patches of a window span.

    Raises:
        ConfigError: the view crops the label but neither resizes it nor leaves the image's size alone.
    """
    resized = crops[0].resized
    if view.centre_crop is not None and not view.label_resize and resized != image_size:
        raise ConfigError("view: centre_crop of a resized image needs label_resize: true, to cut the label likewise")
    frame = Crop.whole(*resized) if view.centre_crop is None else _inside(centre_crop(*resized, view.centre_crop))
    cut = view.label_resize or view.centre_crop is not None
    return Placement(crops, grid, cover, frame, (frame.height, frame.width) if cut else image_size)


def _inside(crop: Crop) -> Crop:
    """The part of a crop that lies inside of the image."""
    top, left = max(crop.top, 0), max(crop.left, 0)
    bottom, right = min(crop.top + crop.height, crop.resized[0]), min(crop.left + crop.width, crop.resized[1])
    return Crop(crop.resized, top, left, bottom - top, right - left)
