"""Arrays of patch features, as a batch of patches."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spectral_bench.common.errors import UserError
from spectral_bench.common.geometry import Crop
from spectral_bench.methods.interface import PatchBatch

if TYPE_CHECKING:
    Array = NDArray[Any] | Tensor

_GREY = 0.5
_STRIDE = 16  # pixels a patch; only tells a method how large its image would be


def levels_of(features: Array | Sequence[Array]) -> tuple[Tensor, ...]:
    """Features as (M, h, w, C_l) float32 tensors on the CPU, one a level from low to high.

    Args:
        features: one (M, h, w, C) array or tensor of numbers, or a list of levels that differ in C alone.

    Raises:
        UserError: not such arrays, levels of different M, h or w, no image, or a number that is not finite in float32.
    """
    given: list[Any] = list(features) if isinstance(features, (list, tuple)) else [features]
    if not given:
        raise UserError("features: an empty list; expected one (M, h, w, C) array, or a list of levels")
    levels = tuple(
        _tensor(level, "features" if len(given) == 1 else f"features, level {number}", 4, "(M, h, w, C)")
        for number, level in enumerate(given)
    )
    for number, level in enumerate(levels):
        if level.shape[:3] != levels[0].shape[:3]:
            raise UserError(
                f"features, level {number}: shape {tuple(level.shape)}; expected M, h and w of level 0, "
                f"{tuple(levels[0].shape[:3])}: bring all levels to one grid of patches"
            )
    return levels


def pixels_of(pixels: Array | None, levels: tuple[Tensor, ...]) -> Tensor:
    """(M, h, w, 3) float32 RGB in [0, 1] on the CPU; grey where ``pixels`` is None, so that colours tell nothing.

    Raises:
        UserError: another shape than the features', or values outside of [0, 1].
    """
    expected = (*levels[0].shape[:3], 3)
    if pixels is None:
        return torch.full(expected, _GREY)
    found = _tensor(pixels, "pixels", 4, "(M, h, w, 3)")
    if tuple(found.shape) != expected:
        raise UserError(f"pixels: shape {tuple(found.shape)}; expected {expected}, one colour a patch of the features")
    if float(found.min()) < 0 or float(found.max()) > 1:
        raise UserError(f"pixels: values from {found.min():g} to {found.max():g}; expected RGB in [0, 1]")
    return found


def images_of(levels: tuple[Tensor, ...], pixels: Tensor) -> PatchBatch:
    """All images as one batch. How they were shrunk is the caller's to know, with or without antialiasing."""
    count, height, width = pixels.shape[:3]
    crops = (Crop.whole(_STRIDE * height, _STRIDE * width),) * count
    return PatchBatch(levels, pixels, tuple(f"image{index}" for index in range(count)), crops, pixels)


def _tensor(value: Array, what: str, rank: int, shape: str) -> Tensor:
    found = _dense(value, what, shape)
    if found.is_complex() or found.dtype == torch.bool:
        raise UserError(f"{what}: numbers of {found.dtype}; expected real ones")
    if found.dim() != rank or 0 in found.shape:
        raise UserError(f"{what}: shape {tuple(found.shape)}; expected {shape}, with at least one of each")
    found = found.to(device="cpu", dtype=torch.float32).contiguous()
    if not bool(torch.isfinite(found).all()):
        raise UserError(f"{what}: some numbers are NaN or infinite in float32")
    return found


def _dense(value: Array, what: str, shape: str) -> Tensor:
    if isinstance(value, np.ma.MaskedArray):
        raise UserError(f"{what}: a masked array, of which no method knows the mask; expected {shape} without one")
    if isinstance(value, Tensor):
        if value.layout != torch.strided or value.is_meta or value.is_quantized:
            raise UserError(f"{what}: a sparse, quantized or empty (meta) tensor; expected a dense {shape} of numbers")
        return value.detach()
    try:
        array = np.asarray(value)
        if array.dtype.kind == "f" and array.dtype.itemsize not in (2, 4, 8):  # torch has no long double
            array = array.astype(np.float64)
        # Torch takes no other order of bytes and no steps backwards, and warns of arrays that it could not write to,
        # such as memory maps; nothing here writes to them.
        array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
        return _shared(array)
    except (TypeError, ValueError) as error:
        raise UserError(f"{what}: {type(value).__name__} is no array of numbers; expected {shape}") from error


def _shared(array: NDArray[Any]) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.as_tensor(array)
