"""Where the regions of a synthetic image lie and which class each belongs to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectral_bench.datasets.synthetic.textures import TEXTURES, value_noise

HEIGHT, WIDTH = 192, 256
N_CLASSES = len(TEXTURES)
N_BANDS = 3
PREFERENCE = 0.7  # probability that a region's class comes from its place's own classes
SEED = 20230


@dataclass(frozen=True)
class Layout:
    """The regions of one image.

    Attributes:
        region: (H, W) int64 region indices.
        classes: the class of each region.
    """

    region: NDArray[np.int64]
    classes: tuple[int, ...]


def stream(split: int, index: int, purpose: int) -> np.random.Generator:
    """The random numbers of one image: a Philox counter keyed by image, so that any image can be made alone.

    Only ``Generator.random`` may be drawn from it: its bits to floats are fixed, other distributions may change
    between versions of numpy.
    """
    sequence = np.random.SeedSequence(SEED, spawn_key=(split, index, purpose))
    return np.random.Generator(np.random.Philox(sequence))


def draw_layout(split: int, index: int) -> Layout:
    """Draw three wavy bands, most of them cut in two, and one or two objects in front of them."""
    rng = stream(split, index, 0)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    region = _bands(rng, y, x)
    places = [band for band in range(N_BANDS) for _ in range(2)]
    for _ in range(1 + int(rng.random() < 0.5)):
        region[_object(rng, y, x)] = len(places)
        places.append(N_BANDS)
    return Layout(region, tuple(_class(rng, place) for place in places))


def _bands(rng: np.random.Generator, y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.int64]:
    region = np.zeros(y.shape, np.int64)
    for edge in range(1, N_BANDS):
        height = HEIGHT * (edge / N_BANDS + 0.12 * (rng.random() - 0.5))
        wave = value_noise(np.zeros((1, WIDTH)), x[:1] / 48 + rng.random(), rng.random(64))
        region += 2 * (y > height + 24 * (wave - 0.5))
    for band in range(N_BANDS):
        cut = WIDTH * (0.3 + 0.4 * rng.random()) + (rng.random() - 0.5) * (y - HEIGHT / 2)
        if rng.random() < 0.7:
            region += (region == 2 * band) & (x > cut)
    return region


def _object(rng: np.random.Generator, y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.bool_]:
    v = (y - HEIGHT * (0.2 + 0.6 * rng.random())) / (26 + 22 * rng.random())
    u = (x - WIDTH * (0.2 + 0.6 * rng.random())) / (28 + 28 * rng.random())
    if rng.random() < 0.5:
        return u * u + v * v < 1
    return (np.abs(u) < 0.9) & (np.abs(v) < 0.9)


def _class(rng: np.random.Generator, place: int) -> int:
    own = N_CLASSES // (N_BANDS + 1)
    preferred, choice = rng.random() < PREFERENCE, rng.random()
    return place * own + int(choice * own) if preferred else int(choice * N_CLASSES)
