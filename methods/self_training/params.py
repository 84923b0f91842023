"""Parameters of ``self_training``. Importing this file imports no torch."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from spectral_bench.common.errors import ConfigError
from spectral_bench.methods.params import TRAINED_BYTES, Params, TrainingParams, psi_parameters

_TEACHER_BYTES = 4  # a parameter of the averaged teacher, in float32


class SelfTrainingParams(TrainingParams):
    """A student that learns the clusters of a stored fit, and then those of its own averaged teacher."""

    k: int = Field(64, ge=2, description="number of clusters: those of the fit that it starts from")
    start: str = Field(
        "kmeans", description="method whose stored fit is the first teacher: any that ships and uses no labels"
    )
    start_params: dict[str, Any] = Field({}, description="its parameters besides k, as in a row of its own")

    epochs: int = Field(8, ge=1, description="passes over the training images")
    warm_up: float = Field(
        0.25,
        gt=0,
        le=1,
        description="share of the steps in which the stored fit is the teacher; then it is the student's average",
    )
    average: float = Field(0.99, ge=0, lt=1, description="share that the averaged teacher keeps of itself at a step")
    confidence: float = Field(
        0.7, ge=0, lt=1, description="least probability of the averaged teacher's cluster at which a patch is learnt"
    )
    channel_drop: float = Field(
        0.2, ge=0, lt=1, description="share of a patch's channels that the student does not see, the others scaled up"
    )
    patch_drop: float = Field(
        0.2, ge=0, lt=1, description="share of the patches whose features the student does not see; they are learnt"
    )

    standardise: bool = Field(True, description="the student's input is standardised per channel")
    depth: int = Field(1, ge=0, description="transformer blocks of the student; 0: a linear map of each patch")
    heads: int = Field(6, ge=1, description="attention heads a block")
    head_width: int = Field(64, ge=1, description="channels a head")
    mlp_width: int = Field(576, ge=1, description="hidden channels of a block's MLP")

    @model_validator(mode="after")
    def _fill_in(self) -> Self:
        """The parameters of the start complete, so that an identity says all of them."""
        from spectral_bench.methods.registry import METHODS, complete_params, starts  # which loads this file

        if self.start in METHODS and METHODS[self.start].facts.uses_labels:
            raise ValueError(f"start = {self.start}: it uses labels, which would reach the student")
        if self.start not in starts():
            free = ", ".join(starts())
            raise ValueError(f'start = "{self.start}": expected the name of a method that uses no labels: {free}')
        if self.start_params.get("k", self.k) != self.k:
            raise ValueError(f"start_params.k = {self.start_params['k']}: the clusters are those of k = {self.k}")
        if not self.depth and self.patch_drop:
            raise ValueError(f"patch_drop = {self.patch_drop}: expected 0, as with depth: 0 a patch sees no other")
        try:
            complete = complete_params(self.start, {**self.start_params, "k": self.k})
        except ConfigError as error:
            raise ValueError(f"start_params: {error}") from error
        del complete["k"]
        object.__setattr__(self, "start_params", complete)
        return self

    def base_params(self) -> dict[str, Any]:
        """The complete parameters of the fit that is the first teacher."""
        return {**self.start_params, "k": self.k}

    @property
    def antialiased_pixels(self) -> bool:
        """Whether the first teacher looks at them; the student does not."""
        return self._start().antialiased_pixels

    @property
    def colour_samples(self) -> int:
        """As for antialiased pixels."""
        return self._start().colour_samples

    def misfits(self, images: int, patches: int | None) -> dict[str, str]:
        """As for every method, and what the start cannot do with."""
        found = super().misfits(images, patches)
        start = self._start().misfits(images, patches)
        wrong = [f"{name} = {self.start_params[name]} is to be {said}" for name, said in start.items() if name != "k"]
        if wrong:
            found["start_params"] = "; ".join(wrong)
        return found

    def held_bytes(self, channels: int) -> int:
        """Student, optimiser and averaged teacher, and the weights of the fit that is the first teacher."""
        student = (TRAINED_BYTES + _TEACHER_BYTES) * psi_parameters(self, channels, self.k)
        return student + self._start().held_bytes(channels) * _TEACHER_BYTES // TRAINED_BYTES

    def _start(self) -> Params:
        """The parameters of the fit that is the first teacher."""
        from spectral_bench.methods.registry import params_model

        return params_model(self.start).model_validate(self.base_params())
