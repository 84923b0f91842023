"""The kernel of one image and its principal eigenvectors, for those who look at them."""

from __future__ import annotations

import torch
from torch import Tensor

from spectral_bench.methods.deep_spectral.decompose import Decomposer
from spectral_bench.methods.inputs import named
from spectral_bench.methods.interface import PatchBatch
from spectral_bench.methods.laplacian import indicators


def principal_functions(image: PatchBatch, decomposer: Decomposer) -> Tensor:
    """The m + 1 principal eigenvectors of the kernel of one image, (m + 1, h, w) float32 of unit norm.

    With v of (D - W) v = mu D v they are u = D^1/2 v, eigenvalue 1 - mu; the first belongs to the constant v. Of
    patches that are all alike any others will do. m is the number wanted, clipped to the patches - 1. Where fewer
    patches have an edge, the functions that are 1 at one patch without, eigenvalue 0, take their places in the order.

    Raises:
        NumericalError: the image is not finite, or the solver did not converge.
    """
    affinity = decomposer.affinity(image)
    nodes, count = len(affinity), decomposer.count(affinity)
    wanted = min(decomposer.params.eigenvectors, nodes - 1) + 1
    root = affinity.sum(1).sqrt()
    trivial = root[:, None] / root.norm() if count >= 0 else root[:, None][:, :0]
    values, vectors = root[:0], root[:, None][:, :0]
    if count > 0:
        with named(image):
            pairs = decomposer.smallest(affinity, count)
        values, vectors = 1 - pairs.values, pairs.vectors * root[:, None]
    alone = indicators((root == 0).nonzero()[: wanted - trivial.shape[1] - len(values), 0], root)
    order = torch.cat([values, values.new_zeros(alone.shape[1])]).argsort(descending=True, stable=True)
    functions = torch.cat([trivial, torch.cat([vectors, alone], 1)[:, order]], 1)
    return functions.T.reshape(-1, *image.grid).float()
