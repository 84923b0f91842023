"""What becomes of the scores of patches at the pixels of a label, as a view states it. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Spec(BaseModel):
    """Base of all specifications: immutable, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


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
    iterations: int = Field(20, ge=1)
    distances: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1, 2, 3, 6), min_length=1, description="of neighbours, in eight directions each"
    )
    contrast: float = Field(0.07, gt=0, description="deviation of a Gaussian of colours, RGB in [0, 1]")
    keep: float = Field(
        1.0, ge=0, le=1, description="share of what the mean over a patch has lost that it gets back at each iteration"
    )


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
    return value
