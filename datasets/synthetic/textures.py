"""The textures of the synthetic classes.

Only additions, products, comparisons and floors are used, on float64: these are exact in IEEE arithmetic, so that the
same image comes out bit for bit on every machine (sines and the like differ in their last digit between processors).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]


@dataclass(frozen=True)
class Frame:
    """Where a texture is painted.

    Attributes:
        y: (H, W) rows in units of the texture's period, shifted by a random phase.
        x: (H, W) columns in the same units.
        random: (n,) uniform draws in [0, 1) with n >= H * W, for textures made of noise.
    """

    y: Field
    x: Field
    random: Field

    def noise(self, cell: float) -> Field:
        """(H, W) smooth value noise in [0, 1]: random values on a lattice of ``cell`` periods, interpolated between."""
        return value_noise(self.y / cell, self.x / cell, self.random)


def value_noise(y: Field, x: Field, random: Field) -> Field:
    """Value noise at (y, x): lattice values taken from ``random``, blended by u^2 (3 - 2u) between lattice points."""
    row, column = np.floor(y), np.floor(x)
    v, u = _smooth(y - row), _smooth(x - column)
    i, j = row.astype(np.int64), column.astype(np.int64)
    top = _lattice(random, i, j) * (1 - u) + _lattice(random, i, j + 1) * u
    bottom = _lattice(random, i + 1, j) * (1 - u) + _lattice(random, i + 1, j + 1) * u
    return top * (1 - v) + bottom * v


def _lattice(random: Field, i: NDArray[np.int64], j: NDArray[np.int64]) -> Field:
    return np.take(random, (i * 1619 + j * 31) % len(random))


def _smooth(u: Field) -> Field:
    return u * u * (3 - 2 * u)


def _part(u: Field) -> Field:
    return u - np.floor(u)


def _wave(u: Field) -> Field:
    return np.abs(2 * _part(u) - 1)


def _plain(frame: Frame) -> Field:
    return 0.4 + 0.2 * frame.noise(6.0)


def _clouds(frame: Frame) -> Field:
    return 0.7 * frame.noise(2.0) + 0.3 * frame.noise(0.7)


def _grain(frame: Frame) -> Field:
    return frame.random[: frame.y.size].reshape(frame.y.shape)


def _rows(frame: Frame) -> Field:
    return (_part(frame.y) < 0.5).astype(np.float64)


def _columns(frame: Frame) -> Field:
    return (_part(frame.x) < 0.5).astype(np.float64)


def _checks(frame: Frame) -> Field:
    return ((_part(frame.y / 2) < 0.5) ^ (_part(frame.x / 2) < 0.5)).astype(np.float64)


def _bricks(frame: Frame) -> Field:
    row = np.floor(frame.y)
    joint = (_part(frame.y) < 0.18) | (_part(frame.x / 2 + row / 2) < 0.09)
    return joint.astype(np.float64)


def _dots(frame: Frame) -> Field:
    dy, dx = _part(frame.y) - 0.5, _part(frame.x) - 0.5
    return (dy * dy + dx * dx < 0.09).astype(np.float64)


def _mesh(frame: Frame) -> Field:
    a, b = _part((frame.y + frame.x) / 2), _part((frame.y - frame.x) / 2)
    return ((a < 0.14) | (b < 0.14)).astype(np.float64)


def _chevrons(frame: Frame) -> Field:
    return (_part(frame.y + _wave(frame.x / 2)) < 0.5).astype(np.float64)


def _rings(frame: Frame) -> Field:
    dy, dx = _part(frame.y / 3) - 0.5, _part(frame.x / 3) - 0.5
    return (_part(9 * (dy * dy + dx * dx)) < 0.5).astype(np.float64)


def _blotches(frame: Frame) -> Field:
    return (frame.noise(0.8) > 0.5).astype(np.float64)


TEXTURES: dict[str, Callable[[Frame], Field]] = {
    "plain": _plain,
    "clouds": _clouds,
    "grain": _grain,
    "rows": _rows,
    "columns": _columns,
    "checks": _checks,
    "bricks": _bricks,
    "dots": _dots,
    "mesh": _mesh,
    "chevrons": _chevrons,
    "rings": _rings,
    "blotches": _blotches,
}
"""Class name -> its texture, (H, W) values in [0, 1] that blend two colours."""
