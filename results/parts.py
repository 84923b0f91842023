"""Parts of specifications that name nothing: how images are resized and transformed, and scores become clusters."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Spec(BaseModel):
    """Base of all specifications: immutable, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Resize(Spec):
    """How an image is resized: to an exact size, to a short side (smaller images are enlarged too), or not at all."""

    mode: Literal["none", "exact", "short_side"] = "none"
    size: tuple[int, int] | None = Field(None, description="(height, width) in pixels, for mode exact")
    short_side: int | None = Field(None, ge=16, description="pixels, for mode short_side")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for mode, value in (("exact", "size"), ("short_side", "short_side")):
            if (self.mode == mode) != (getattr(self, value) is not None):
                raise ValueError(f"mode {mode} and a {value} belong together")
        if self.size is not None and min(self.size) < 16:
            raise ValueError(f"size: both sides must be at least 16 pixels, got {list(self.size)}")
        return self


class Transform(Spec):
    """What happens to a training image before its features are computed. Labels steer nothing here."""

    resize: Resize = Resize()
    scale: tuple[float, float] | None = Field(None, description="range of a random factor on the size after resizing")
    crop: int | None = Field(None, ge=16, description="side of a random square crop in pixels, padded if larger")
    flip: bool = Field(False, description="mirror left to right with probability 1/2")
    photometric: bool = Field(False, description="random brightness, contrast, saturation and hue")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.scale is not None and not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale: expected two positive factors, the smaller one first, got {list(self.scale)}")
        return self

    @property
    def random(self) -> bool:
        """Whether two draws differ."""
        return self.scale is not None or self.crop is not None or self.flip or self.photometric


class Crf(Spec):
    """DenseCRF after Kraehenbuehl and Koltun (2011); sizes in pixels, colours on the 0-255 scale."""

    iterations: int = Field(10, ge=1)
    gaussian_sxy: float = Field(1.0, gt=0)
    gaussian_weight: float = Field(3.0, ge=0)
    bilateral_sxy: float = Field(67.0, gt=0)
    bilateral_srgb: float = Field(3.0, gt=0)
    bilateral_weight: float = Field(4.0, ge=0)
    black_image: bool = Field(False, description="reproduce the released code's slip: the CRF sees a black image")


class Pamr(Spec):
    """Pixel-adaptive mask refinement of scores (Araslanov and Roth, CVPR 2020); distances in pixels of the label."""

    name: Literal["pamr"] = "pamr"
    iterations: int = Field(10, ge=1)
    dilations: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1, 2, 4, 8, 12, 24), min_length=1, description="distances of neighbours, in eight directions each"
    )
    contrast: float = Field(
        0.1, gt=0, description="of colours, in local standard deviations: smaller weighs edges more"
    )


class Guided(Spec):
    """Up-sampling of scores along the image that keeps the mean of each patch; distances in pixels of the label."""

    name: Literal["guided"] = "guided"
    iterations: int = Field(60, ge=1)
    distances: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1, 2, 3, 6), min_length=1, description="of neighbours, in eight directions each"
    )
    distances_taken: Literal["together", "in_turn"] = Field(
        "together",
        exclude_if=lambda value: value == "together",  # identities are those of before there was a choice
        description="neighbours of an iteration: at all distances; or at one of them, from the last to the first and "
        "again, which takes a fraction of the time",
    )
    contrast: float = Field(0.03, gt=0, description="deviation of a Gaussian of colours, RGB in [0, 1]")
    keep: float = Field(
        1.0, ge=0, le=1, description="share of what the mean over a patch has lost that it gets back at each iteration"
    )
    correction: Literal["shift", "ratio"] = Field(
        "shift",
        exclude_if=lambda value: value == "shift",  # identities are those of before there was a choice
        description="how a patch gets its mean back: the same added to each of its pixels, or each multiplied by the "
        "same, which needs scores of 0 or more",
    )
    temperature: float | None = Field(
        None,
        gt=0,
        exclude_if=lambda value: value is None,
        description="scores of a patch are first made shares, by a softmax over clusters of scores / temperature; "
        "null: they are taken as they are",
    )

    @model_validator(mode="after")
    def _all_used(self) -> Self:
        if self.keep == 0 and self.correction == "ratio":
            raise ValueError("correction = ratio: with keep = 0 no patch gets its mean back, by either correction")
        if self.distances_taken == "in_turn" and self.iterations < len(self.distances):
            raise ValueError(
                f"iterations = {self.iterations}: expected at least {len(self.distances)}, one for each of distances, "
                "with distances_taken: in_turn"
            )
        return self


def named_settings(key: str, value: Any, of: type[Pamr] | type[Guided]) -> Any:
    """The settings that a name alone stands for; what is no name and no settings is refused.

    Raises:
        ValueError: as said, with what is expected.
    """
    if isinstance(value, str):
        return {"name": value}
    if not (value is None or isinstance(value, (dict, of))):
        name = of.model_fields["name"].default
        plain = "bilinear" if of is Guided else "null"
        raise ValueError(f"{key} = {value!r}: expected {name}, its settings as {{name: {name}, ...}}, or {plain}")
    if isinstance(value, dict):  # strict validation of a file refuses lists behind a validator of one's own
        return {name: tuple(kept) if isinstance(kept, list) else kept for name, kept in value.items()}
    return value
