"""The kernel of one image and its principal eigenvectors, for those who look at them."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.deep_spectral.decompose import Decomposer, named
from methods.graphs.kernel import inverse_root
from methods.interface import PatchBatch
from methods.laplacian import smallest_eigenpairs


def normalised_affinity(affinity: Tensor) -> Tensor:
    """D^-1/2 W D^-1/2 of an (n, n) affinity."""
    root = inverse_root(affinity.sum(1))
    return affinity * root[:, None] * root


def principal_functions(image: PatchBatch, decomposer: Decomposer) -> Tensor:
    """The m + 1 principal eigenvectors of the kernel of one image, (m + 1, h, w) float32 of unit norm.

    With v of (D - W) v = mu D v they are u = D^1/2 v, eigenvalue 1 - mu; the first belongs to the constant v. Of
    patches that are all alike any others will do.

    Raises:
        NumericalError: the image is not finite, too few patches have an edge, or the solver did not converge.
    """
    affinity = decomposer.affinity(image)
    with named(image):
        pairs = smallest_eigenpairs(affinity, decomposer.count(len(affinity)), solver=decomposer.params.solver)
    root = affinity.sum(1).sqrt()
    functions = torch.cat([(root / root.norm())[:, None], pairs.vectors * root[:, None]], 1)
    return functions.T.reshape(-1, *image.grid).float()
