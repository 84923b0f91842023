"""Parameters of the methods that use labels. Importing this file imports no torch."""

from __future__ import annotations

from pydantic import Field

from spectral_bench.methods.params import Params

_CLASSES = "number of clusters, which is that of the classes; a grid that leaves it out gets that of its data set"


class LinearProbeParams(Params):
    """A linear classifier on standardised features of all levels."""

    k: int = Field(11, ge=2, description=_CLASSES)
    epochs: int = Field(20, ge=1, description="passes over the training images")
    steps: int | None = Field(None, ge=1, description="optimiser steps, in place of epochs")
    batch_size: int = Field(16, ge=1, description="images a step; an incomplete last batch is dropped")
    lr: float = Field(1e-2, gt=0, description="Adam's learning rate at the first step; 0 at the last, along a cosine")


class OracleParams(Params):
    """Labels at patch resolution."""

    k: int = Field(11, ge=2, description=_CLASSES)
