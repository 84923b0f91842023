"""Which shots are taken of an image: the whole, a centre crop, windows, or crops drawn at random.

A recipe is a function of an image's position and size alone; it sees neither pixels nor labels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spectral_bench.common.errors import ConfigError
from spectral_bench.common.geometry import Crop
from spectral_bench.common.seeds import SeedStreams
from spectral_bench.datasets.transforms import (
    Photometric,
    apply_crop,
    centre_crop,
    distort,
    draw_crop,
    draw_photometric,
    resized_size,
    window_crops,
)
from spectral_bench.results.specification import Features, Resize, Transform, View

# Cached views are drawn with one seed for good, so that all runs share them.
VIEWS_SEED = 0


@dataclass(frozen=True)
class Shot:
    """One look at an image: the crop and, maybe, a photometric distortion of what it shows."""

    crop: Crop
    change: Photometric | None = None

    def take(self, image: NDArray[np.uint8], fill: tuple[int, int, int]) -> NDArray[np.uint8]:
        """(height, width, 3) uint8; what lies beyond the image has the colour ``fill``, which is not distorted."""
        shown = apply_crop(image, self.crop, fill)
        if self.change is None:
            return shown
        changed = np.array(distort(shown, self.change))
        rows = max(self.crop.resized[0] - self.crop.top, 0)
        columns = max(self.crop.resized[1] - self.crop.left, 0)
        changed[rows:] = fill
        if columns < self.crop.width:
            changed[:, slice(0, self.crop.width - columns) if self.crop.flip else slice(columns, None)] = fill
        return changed


class Recipe(Protocol):
    """The shots of each image."""

    def shots(self, index: int, height: int, width: int) -> tuple[Shot, ...]:
        """The shots, all of one size, of image number ``index``, which has ``height`` x ``width`` pixels."""
        ...

    def material(self) -> dict[str, Any]:
        """What tells this recipe from any other, for the key of a cache."""
        ...


@dataclass(frozen=True)
class WholeRecipe:
    """The whole resized image."""

    resize: Resize

    def shots(self, index: int, height: int, width: int) -> tuple[Shot, ...]:
        """One shot."""
        return (Shot(Crop.whole(*resized(self.resize, height, width))),)

    def material(self) -> dict[str, Any]:
        """The resizing."""
        return {"shots": "whole", "resize": self.resize.model_dump(mode="json")}


@dataclass(frozen=True)
class CentreRecipe:
    """The central square, ``side`` pixels wide, of the resized image."""

    resize: Resize
    side: int

    def shots(self, index: int, height: int, width: int) -> tuple[Shot, ...]:
        """One shot."""
        return (Shot(centre_crop(*resized(self.resize, height, width), self.side)),)

    def material(self) -> dict[str, Any]:
        """The resizing and the side."""
        return {"shots": "centre", "resize": self.resize.model_dump(mode="json"), "side": self.side}


@dataclass(frozen=True)
class WindowRecipe:
    """Sliding windows over the resized image; sides and stride in pixels."""

    resize: Resize
    window: int
    stride: int

    def shots(self, index: int, height: int, width: int) -> tuple[Shot, ...]:
        """One shot a window, row by row."""
        return tuple(map(Shot, window_crops(*resized(self.resize, height, width), self.window, self.stride)))

    def material(self) -> dict[str, Any]:
        """The resizing, the side of a window and the stride."""
        resize = self.resize.model_dump(mode="json")
        return {"shots": "windows", "resize": resize, "window": self.window, "stride": self.stride}


@dataclass(frozen=True)
class MirroredRecipe:
    """The shots of another recipe, and after them each of them mirrored left to right."""

    plain: Recipe

    def shots(self, index: int, height: int, width: int) -> tuple[Shot, ...]:
        """Twice as many shots: mirroring the box mirrors padding too."""
        shots = self.plain.shots(index, height, width)
        return (*shots, *(replace(shot, crop=replace(shot.crop, flip=not shot.crop.flip)) for shot in shots))

    def material(self) -> dict[str, Any]:
        """That of the other recipe, and that its shots are mirrored."""
        return {**self.plain.material(), "mirrored": True}


@dataclass(frozen=True)
class DrawnRecipe:
    """Random shots.

    Attributes:
        transform: what is drawn.
        seed: of the streams.
        rounds: numbers of the draws; a shot depends on the seed, its round and the image's position alone.
    """

    transform: Transform
    seed: int
    rounds: tuple[int, ...]

    def shots(self, index: int, height: int, width: int) -> tuple[Shot, ...]:
        """One shot a round."""
        return tuple(self._shot(turn, index, height, width) for turn in self.rounds)

    def material(self) -> dict[str, Any]:
        """The transform, the seed and the rounds."""
        transform = self.transform.model_dump(mode="json")
        return {"shots": "drawn", "transform": transform, "seed": self.seed, "rounds": list(self.rounds)}

    def _shot(self, turn: int, index: int, height: int, width: int) -> Shot:
        rng = SeedStreams(self.seed).numpy("crops", turn, index)
        options = self.transform
        size = resized(options.resize, height, width)
        crop = draw_crop(rng, *size, scale=options.scale, crop=options.crop, flip=options.flip)
        return Shot(crop, draw_photometric(rng) if options.photometric else None)


def resized(resize: Resize, height: int, width: int) -> tuple[int, int]:
    """(height, width) in pixels of an image after ``resize``."""
    return resized_size(height, width, resize.mode, size=resize.size, short_side=resize.short_side)


def cached_recipe(transform: Transform, features: Features) -> Recipe:
    """What a cache of training features holds of each image.

    Raises:
        ConfigError: several views are asked for where all of them would be the same.
    """
    if transform.random:
        return DrawnRecipe(transform, VIEWS_SEED, tuple(range(features.views)))
    if features.views > 1:
        raise ConfigError(
            f"features.views: {features.views}, but the transform draws nothing, so all views would be the same; "
            "set views: 1, or scale, crop, flip or photometric"
        )
    return WholeRecipe(transform.resize)


def epoch_recipe(transform: Transform, seed: int, epoch: int) -> Recipe:
    """The fresh shot of each image in an epoch of a run with this seed."""
    return DrawnRecipe(transform, seed, (epoch,)) if transform.random else WholeRecipe(transform.resize)


def view_recipe(view: View) -> Recipe:
    """What is looked at in an evaluation; features and scores of mirrored shots are averaged of the same ones.

    Raises:
        ConfigError: both a centre crop and windows, or a window without a stride.
    """
    recipe = _plain_recipe(view)
    return recipe if view.flip is None else MirroredRecipe(recipe)


def _plain_recipe(view: View) -> Recipe:
    if view.window is None:
        return WholeRecipe(view.resize) if view.centre_crop is None else CentreRecipe(view.resize, view.centre_crop)
    if view.centre_crop is not None:
        raise ConfigError(f"view: centre_crop {view.centre_crop} and window {view.window} exclude each other")
    stride = view.window if view.stride is None else view.stride
    if stride > view.window:
        raise ConfigError(
            f"view: stride {stride} leaves gaps between windows of {view.window}; expected 1 to {view.window}"
        )
    return WindowRecipe(view.resize, view.window, stride)
