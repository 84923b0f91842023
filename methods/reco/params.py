"""Parameters of ``reco``. Importing this file imports no torch."""

from __future__ import annotations

from collections import Counter
from typing import Literal, Self

from pydantic import Field, model_validator

from spectral_bench.common.names import few, unknown
from spectral_bench.methods.maskclip.params import TextParams


class ReCoParams(TextParams):
    """ReCo (Shin et al., NeurIPS 2022): classes as prototypes of patches that images retrieved by text agree on."""

    archive: int = Field(
        50, ge=1, description="images of a class: the training images most similar to its text (the released code: 50)"
    )
    retrieval: Literal["mean", "max"] = Field(
        "mean",
        description="similarity of an image and a text: that of the mean of the image's unit patch features, or of "
        "its most similar patch",
    )
    level: int = Field(
        -2,
        description="feature level that is co-segmented and compared with prototypes; with facet: language -2 are the "
        "keys of the last attention, -1 is the space of the texts",
    )
    text_attention: bool = Field(
        True, description="patches support a seed by their similarity to the text, too (language-guided, in the paper)"
    )
    context: tuple[str, ...] = Field(
        (),
        description="classes whose likeness counts against seeds of all others (context elimination; the released "
        "code: tree, sky, building, road, person); empty: none",
    )
    text_map: bool = Field(True, description="scores are multiplied by those of the text, as MaskCLIP has them")
    text_scale: float = Field(
        10.0, gt=0, description="factor of cosines to texts in their sigmoid; the released code's"
    )

    @model_validator(mode="after")
    def _known_context(self) -> Self:
        if twice := [name for name, count in Counter(self.context).items() if count > 1]:
            raise ValueError(f"context: classes that stand twice: {few(twice)}")
        if (classes := self.known_classes) is not None:
            for name in self.context:
                if name not in classes:
                    raise ValueError("context: " + unknown("class of the text", name, classes))
        return self

    def misfits(self, images: int, patches: int | None) -> dict[str, str]:
        """As for every method, and no larger archive than there are images."""
        found = super().misfits(images, patches)
        if self.archive > images:
            found["archive"] = f"at most the {images} training images"
        return found
