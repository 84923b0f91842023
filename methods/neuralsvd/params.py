"""Parameters of ``neuralsvd``. Importing this file imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from spectral_bench.methods.params import FunctionParams

Nesting = Literal["sequential", "joint"]
Overlaps = Literal["batch", "halves"]
Steps = Literal["equal", "plain"]


class NeuralSVDParams(FunctionParams):
    """NeuralSVD (Ryu et al., ICML 2024) on patches, and k-means on its eigenfunctions."""

    nesting: Nesting = Field(
        "sequential",
        description="how functions are ordered. sequential: each approximates what those before it leave, which feel "
        "nothing of it. joint: the sum of the objectives of the first 1, 2, ... functions is minimised by all",
    )
    overlaps: Overlaps = Field(
        "batch",
        description="products of functions are estimated on the batch that they are multiplied with, whose noise then "
        "cancels that of the kernel; or on its other half, without bias",
    )
    steps_of: Steps = Field(
        "equal",
        description="gradient of a function: equal: over its mean square, the estimate of its eigenvalue, so that "
        "functions of small eigenvalues are learnt as fast as others; plain: as it is. Both end at the same functions",
    )
