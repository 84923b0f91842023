"""Parameters of ``spectralnet``. Importing this file imports no torch."""

from __future__ import annotations

from pydantic import Field

from spectral_bench.methods.params import FunctionParams


class SpectralNetParams(FunctionParams):
    """SpectralNet (Shaham et al., ICLR 2018) on patches, and k-means on its functions."""

    decay: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="outputs are orthonormalised by the Cholesky factor of a covariance: that of the batch, which the "
        "gradient passes through, at 0; else the average over the batches before, a constant as the paper's second "
        "batch is, of which this share is kept at a step",
    )
    separate: bool = Field(
        True,
        description="afterwards rotate the functions by the eigenvectors of the averaged Y' L Y, so that each is an "
        "eigenfunction and the largest eigenvalue of the kernel comes first; false: they span the eigenspace only",
    )
    separate_batches: int = Field(
        64, ge=1, description="batches that Y' L Y is averaged over, clipped to those of an epoch, for separate: true"
    )

    @property
    def bound_by_batch(self) -> str | None:
        """A step divides by the covariance of its batch."""
        return "more are never independent"
