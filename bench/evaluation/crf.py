"""DenseCRF over the scores of one image, by ``pydensecrf2``.

Mean-field inference in a fully connected CRF with Gaussian edge potentials (Kraehenbuehl and Koltun, NIPS 2011). As in
the code of Deng and Luo (ICCV 2023), the energies are those of all K clusters at the label's pixels: minus the
logarithm of the softmax of the scores, cut at 1e-5. This is the only place where a softmax is taken of scores.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spectral_bench.bench.evaluation.placement import Placement
from spectral_bench.bench.evaluation.resample import score_bands
from spectral_bench.datasets.interface import ImageLoader
from spectral_bench.datasets.transforms import apply_crop
from spectral_bench.results.specification import Crf

COPIES = 12
"""Matrices of K x pixels float32 that inference holds at its peak (energies, beliefs, messages, the lattice's values).
8 to 10 were measured on photographs, 18 on pure noise.
"""

_MOST_VALUES = 2**31 // 2
"""The library counts the values of its lattice, up to 6 x pixels x K / 4 of them, in 32 bits."""


def crf_bytes(n_clusters: int, target: tuple[int, int]) -> int:
    """Bytes that a CRF over ``n_clusters`` at (height, width) pixels takes at its peak, about."""
    return COPIES * 4 * n_clusters * target[0] * target[1]


def require_countable(n_clusters: int, target: tuple[int, int]) -> None:
    """Refuse what is too large for the counters of the library, which would overflow in silence.

    Raises:
        OverflowError: as said.
    """
    if n_clusters * target[0] * target[1] > _MOST_VALUES:
        raise OverflowError(
            f"a CRF over {n_clusters} clusters of {target[0]} x {target[1]} pixels is more than pydensecrf2 can count"
        )


def crf_image(images: ImageLoader, image_id: str, placement: Placement) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of 0 to 255 at the pixels that a placement calls the label's: what ``view_label`` is to labels."""
    image = images.image(image_id)
    frame = placement.frame
    if placement.target == image.shape[:2] and (frame.height, frame.width) == frame.resized:
        return image
    return apply_crop(image, frame)  # the frame lies inside of the image: nothing is filled


def energies(scores: Tensor, placement: Placement) -> NDArray[np.float32]:
    """(K, H * W) float32 unary energies: minus the logarithm of the softmax of the resampled scores, cut at 1e-5.

    Args:
        scores: (W, K, h, w) float32 patch scores of the windows, on the CPU.
        placement: where windows and label lie.

    Raises:
        FloatingPointError: a score is nan or infinite.
    """
    from pydensecrf.utils import unary_from_softmax

    out = np.empty((scores.shape[1], *placement.target), np.float32)
    for rows, band in score_bands(scores, placement):
        shares = torch.softmax(band, dim=-1).permute(2, 0, 1).numpy()
        out[:, rows] = unary_from_softmax(shares).reshape(shares.shape)
    return out.reshape(len(out), -1)


def refine(scores: Tensor, placement: Placement, image: NDArray[np.uint8], crf: Crf) -> NDArray[np.int64]:
    """The cluster of each label pixel after a DenseCRF.

    Args:
        scores: (W, K, h, w) float32 patch scores of the windows, on the CPU.
        placement: where windows and label lie.
        image: (H, W, 3) uint8 RGB at the label's pixels.
        crf: iterations, sizes and weights. ``black_image`` puts zeros in the place of ``image``: the released code cast
            values of 0 to 1 to integers.

    Returns:
        (H, W) int64; ties go to the lowest cluster index.

    Raises:
        FloatingPointError: a score is nan or infinite.
        OverflowError: the matrix of beliefs is more than the library can count.
    """
    from pydensecrf.densecrf import DenseCRF2D

    height, width = placement.target
    require_countable(scores.shape[1], placement.target)
    field = DenseCRF2D(width, height, scores.shape[1])
    field.setUnaryEnergy(energies(scores, placement))  # copied there, and freed here at once
    seen = np.zeros_like(image) if crf.black_image else np.array(image, order="C")  # the library wants to write
    field.addPairwiseGaussian(sxy=crf.gaussian_sxy, compat=crf.gaussian_weight)
    field.addPairwiseBilateral(sxy=crf.bilateral_sxy, srgb=crf.bilateral_srgb, rgbim=seen, compat=crf.bilateral_weight)
    beliefs = np.asarray(field.inference(crf.iterations))
    return np.asarray(beliefs.argmax(axis=0).reshape(height, width), dtype=np.int64)
