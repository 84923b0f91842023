"""Parameters of NeuralEF and of what starts from it or varies it. Importing this file imports no torch."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from spectral_bench.methods.params import (
    SEPARATE_BATCHES,
    TRAINED_BYTES,
    AngleLimit,
    GraphParams,
    LloydParams,
    TrainingParams,
    psi_parameters,
)


class NeuralEFParams(GraphParams, TrainingParams):
    """NeuralEF (Deng and Luo, ICCV 2023), discrete unless asked otherwise."""

    k: int = Field(256, ge=2, description="number of clusters: outputs of psi")

    discrete: bool = Field(True, description="outputs are soft cluster assignments; false: continuous eigenfunctions")
    noise: Literal["gumbel", "none"] = Field("gumbel", description="noise on the logits of a soft assignment")
    temperature_max: float = Field(1.0, gt=0, description="softmax temperature at the first step")
    temperature_min: float = Field(0.3, gt=0, description="softmax temperature at the last step and at prediction")
    normalisation: Literal["clamped", "full", "none"] = Field(
        "clamped", description="outputs divided by their L2 norm over the batch: norms below 1 kept, all, or none"
    )
    t: float = Field(0.01, gt=0, description="squared norm of a normalised output over the batch")
    penalty: Literal["fixed", "ratio"] = Field(
        "fixed", description="off-diagonal penalty: R_ij^2, or R_ij^2 / (R_ii R_jj) with a scale-free first term"
    )
    beta: float | None = Field(
        None, ge=0, description="weight of the off-diagonal penalty; null: 20.48 / number of psi's outputs"
    )

    standardise: bool = Field(True, description="psi's input is standardised per channel with training statistics")
    depth: int = Field(2, ge=0, description="transformer blocks")
    heads: int = Field(18, ge=1, description="attention heads a block")
    head_width: int = Field(64, ge=1, description="channels a head")
    mlp_width: int = Field(576, ge=1, description="hidden channels of a block's MLP")
    orthogonality: Literal["constraint", "initialisation"] = Field(
        "constraint",
        exclude_if=lambda value: value == "constraint",  # identities are those of before there was a choice
        description="of the weight that maps features to outputs: throughout training, or at its start only",
    )

    angle_limit: AngleLimit = None
    separate: bool = Field(
        False,
        exclude_if=lambda value: value is False,  # identities are those of before there was a choice
        description="afterwards rotate continuous outputs by the eigenvectors of the averaged Y' L Y, so that each is "
        "an eigenfunction of what they span and the largest eigenvalue of the kernel comes first",
    )
    separate_batches: int | None = Field(
        None,
        ge=1,
        exclude_if=lambda value: value is None,
        description=f"batches that Y' L Y is averaged over, for separate: true, there {SEPARATE_BATCHES}; clipped to "
        "those of an epoch",
    )

    @property
    def outputs(self) -> int:
        """The number of outputs of psi."""
        return self.k

    def held_bytes(self, channels: int) -> int:
        """Psi with its optimiser."""
        return TRAINED_BYTES * psi_parameters(self, channels, self.outputs)

    @model_validator(mode="after")
    def _fill_in(self) -> Self:
        """``beta`` is 0.08 at the published K = 256 and inversely proportional to K elsewhere."""
        if self.beta is None:
            object.__setattr__(self, "beta", 20.48 / self.outputs)
        if self.separate and self.discrete:
            raise ValueError("separate = true: soft assignments are not eigenfunctions mixed; set discrete: false")
        if self.separate and self.separate_batches is None:
            object.__setattr__(self, "separate_batches", SEPARATE_BATCHES)
        elif self.separate_batches is not None and not self.separate:
            raise ValueError(f"separate_batches = {self.separate_batches} is for separate: true alone")
        low, high = self.temperature_min, self.temperature_max
        if low > high:
            raise ValueError(f"temperature_min = {low} must not be above temperature_max = {high}")
        return self


class NeuralEFKMeansParams(NeuralEFParams, LloydParams):
    """k-means on the hidden features of a NeuralEF fit, whose parameters are given here too."""

    k: int = Field(256, ge=2, description="number of clusters: k-means centres")
    base_k: int | None = Field(None, ge=2, description="outputs of the NeuralEF fit; null: k")
    input: Literal["hidden", "hidden_l2", "hidden_norm"] = Field(
        "hidden",
        description="what is clustered: features of psi's last block as they are, L2-normalised, or as its norm hands "
        "them to the head",
    )

    @property
    def outputs(self) -> int:
        """The number of outputs of psi."""
        return self.base_k or self.k

    def held_bytes(self, channels: int) -> int:
        """Nothing: it trains no network."""
        return 0

    @model_validator(mode="after")
    def _fill_in_base(self) -> Self:
        object.__setattr__(self, "base_k", self.outputs)
        return self

    def base_params(self) -> dict[str, Any]:
        """The complete parameters of the ``neuralef`` fit that is clustered."""
        shared = {name: getattr(self, name) for name in NeuralEFParams.model_fields}
        return NeuralEFParams(**{**shared, "k": self.outputs}).model_dump(mode="json")


class NeuralEFLabelLeakParams(NeuralEFParams):
    """NeuralEF with a supervised head on psi's hidden features."""

    detach_head: bool = Field(
        False, description="the head's gradient stops before psi, as in the release since October 2024"
    )
    head_weight: float = Field(1.0, gt=0, description="weight of the head's cross-entropy in the loss")
