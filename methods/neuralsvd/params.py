"""Parameters of ``neuralsvd``. Importing this file imports no torch."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from spectral_bench.methods.params import SEPARATE_BATCHES, FunctionParams

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
    separate: bool = Field(
        False,
        exclude_if=lambda value: value is False,  # identities are those of before there was a choice
        description="afterwards rotate the functions by the eigenvectors of the averaged Y' K Y, with noise of patches "
        "and of pairs of them taken off, so that each is an eigenfunction of what they span",
    )
    separate_batches: int | None = Field(
        None,
        ge=1,
        exclude_if=lambda value: value is None,
        description=f"batches that Y' K Y is averaged over, for separate: true, there {SEPARATE_BATCHES}; clipped to "
        "those of an epoch",
    )

    @model_validator(mode="after")
    def _fill_in_batches(self) -> Self:
        if self.separate and self.separate_batches is None:
            object.__setattr__(self, "separate_batches", SEPARATE_BATCHES)
        elif self.separate_batches is not None and not self.separate:
            raise ValueError(f"separate_batches = {self.separate_batches} is for separate: true alone")
        return self
