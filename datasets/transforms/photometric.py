"""Random changes of brightness, contrast, saturation and hue.

The ranges are those that semantic segmentation took over from SSD (Liu et al., ECCV 2016) and that the code of Deng and
Luo (ICCV 2023) uses through mmsegmentation, where the hue moves by up to 18 steps of OpenCV's 8-bit scale: a step is
2 degrees.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BRIGHTNESS = 32.0  # grey levels
CONTRAST = (0.5, 1.5)
SATURATION = (0.5, 1.5)
HUE = 36.0  # degrees
_LEVELS = np.arange(256, dtype=np.float64)


@dataclass(frozen=True)
class Photometric:
    """One photometric distortion. The defaults change nothing.

    Attributes:
        brightness: added to every channel, in grey levels.
        contrast: factor on every channel.
        contrast_last: whether contrast comes after saturation and hue instead of before them.
        saturation: factor on the saturation (HSV).
        hue: added to the hue (HSV), in degrees.
    """

    brightness: float = 0.0
    contrast: float = 1.0
    contrast_last: bool = False
    saturation: float = 1.0
    hue: float = 0.0


def draw_photometric(rng: np.random.Generator) -> Photometric:
    """Draw a distortion: each of the four changes with probability 1/2, uniform in its range.

    Nine numbers are drawn from ``rng`` whatever comes of them.
    """
    coins, order, values = rng.random(4) < 0.5, rng.random() < 0.5, rng.random(4)
    return Photometric(
        brightness=_between(-BRIGHTNESS, BRIGHTNESS, values[0]) if coins[0] else 0.0,
        contrast=_between(*CONTRAST, values[1]) if coins[1] else 1.0,
        contrast_last=bool(order),
        saturation=_between(*SATURATION, values[2]) if coins[2] else 1.0,
        hue=_between(-HUE, HUE, values[3]) if coins[3] else 0.0,
    )


def distort(image: NDArray[np.uint8], change: Photometric) -> NDArray[np.uint8]:
    """Apply a distortion to an (H, W, 3) RGB image.

    After each step values are cut to 0 to 255 and rounded to the nearest level, since each step is a table of 256
    entries. Saturation and hue work on PIL's 8-bit HSV, a hue level being 360 / 256 degrees.
    """
    first = _contrast(_brightness(_LEVELS, change.brightness), 1.0 if change.contrast_last else change.contrast)
    picture = Image.fromarray(image)
    if not np.array_equal(first, _LEVELS):
        picture = picture.point(_table(first) * 3)
    if change.saturation != 1.0 or change.hue != 0.0:
        picture = _saturation_hue(picture, change)
    if change.contrast_last and change.contrast != 1.0:
        picture = picture.point(_table(_contrast(_LEVELS, change.contrast)) * 3)
    return np.asarray(picture)


def _between(low: float, high: float, number: float) -> float:
    return float(low + (high - low) * number)


def _brightness(levels: NDArray[np.float64], delta: float) -> NDArray[np.float64]:
    return _cut(levels + delta)


def _contrast(levels: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    return _cut(levels * factor)


def _saturation_hue(picture: Image.Image, change: Photometric) -> Image.Image:
    hue = (_LEVELS + np.floor(change.hue * 256 / 360 + 0.5)) % 256
    saturation = _cut(_LEVELS * change.saturation)
    return picture.convert("HSV").point(_table(hue) + _table(saturation) + _table(_LEVELS)).convert("RGB")


def _cut(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(np.floor(levels + 0.5), 0, 255)


def _table(levels: NDArray[np.float64]) -> list[int]:
    return [int(level) for level in levels]
