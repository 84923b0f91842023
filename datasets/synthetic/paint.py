"""From the layout of a synthetic image to its pixels and to its label map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectral_bench.datasets.synthetic.layout import HEIGHT, N_CLASSES, WIDTH, draw_layout, stream
from spectral_bench.datasets.synthetic.textures import TEXTURES, Field, Frame

VOID = N_CLASSES
PERIOD = 10.0  # mean period of a texture in pixels
_PATTERNS = tuple(TEXTURES.values())
_Box = tuple[slice, slice]


@dataclass(frozen=True)
class _Paint:
    """How one region looks: everything but its class, and drawn without regard to it."""

    dark: Field
    bright: Field
    period: float
    tilt: float
    phase: tuple[float, float]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> _Paint:
        mean, tint = 70 + 115 * rng.random(3), 40 * (rng.random(3) - 0.5)
        contrast, order, scale, tilt, down, across = (float(number) for number in rng.random(6))
        half = (50 + 20 * contrast) * (1 if order < 0.5 else -1)
        period = PERIOD * (0.8 + 0.5 * scale)
        return cls(mean - half - tint, mean + half + tint, period, 0.2 * (tilt - 0.5), (8 * down, 8 * across))

    def fill(self, category: int, box: _Box, noise: Field) -> Field:
        """(h, w, 3) colours of a class's texture over a box of the image; ``noise``: (H * W,) draws of the image."""
        y, x = np.mgrid[box].astype(np.float64)
        rows = (y + self.tilt * x) / self.period + self.phase[0]
        columns = (x - self.tilt * y) / self.period + self.phase[1]
        blend = _PATTERNS[category](Frame(rows, columns, noise))[..., None]
        return self.dark * (1 - blend) + self.bright * blend


def paint_image(split: int, index: int) -> NDArray[np.uint8]:
    """(192, 256, 3) RGB of one image: each region in its class's texture, under a sidelight and with sensor noise."""
    layout = draw_layout(split, index)
    rng = stream(split, index, 1)
    noise = rng.random(HEIGHT * WIDTH)
    canvas = np.zeros((HEIGHT, WIDTH, 3))
    for region, category in enumerate(layout.classes):
        paint = _Paint.draw(rng)
        inside = layout.region == region
        if inside.any():
            box = _bounds(inside)
            np.copyto(canvas[box], paint.fill(category, box, noise), where=inside[box][..., None])
    light = 1 + 0.2 * (rng.random() - 0.5) * (np.arange(WIDTH) / (WIDTH / 2) - 1)[:, None]
    noisy = canvas * light + 12 * (rng.random(canvas.shape) - 0.5)
    return np.clip(np.floor(noisy + 0.5), 0, 255).astype(np.uint8)


def paint_label(split: int, index: int) -> NDArray[np.uint16]:
    """(192, 256) class ids 0 to 11; the pixels at both sides of a border between classes are void (12)."""
    layout = draw_layout(split, index)
    label = np.asarray(layout.classes, np.uint16)[layout.region]
    down, across = label[1:] != label[:-1], label[:, 1:] != label[:, :-1]
    void = np.zeros(label.shape, bool)
    void[1:] |= down
    void[:-1] |= down
    void[:, 1:] |= across
    void[:, :-1] |= across
    return np.where(void, np.uint16(VOID), label)


def _bounds(inside: NDArray[np.bool_]) -> _Box:
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
