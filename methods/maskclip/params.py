"""Parameters of ``maskclip``, and those of all methods that are named by text. Importing this imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from spectral_bench.common.errors import DataError
from spectral_bench.methods.maskclip.text_vectors import read_text
from spectral_bench.methods.params import Params


class TextParams(Params):
    """The text vectors that name the clusters of a method; shared by the methods that are given them."""

    text: str = Field(min_length=1, description="file of text vectors, as bench data text writes it")
    text_digest: str = Field(
        "",
        pattern="^([0-9a-f]{16})?$",
        description="of what the file holds, which stands for its place in identities; left out: filled in",
    )
    k: int = Field(2, ge=2, description="number of clusters: the classes of the text; left out: filled in")

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        """What the file tells; of a stored fit it is known already, and the file may have gone."""
        given = values.get("text") if isinstance(values, dict) else None
        if not isinstance(given, str) or not given or (values.get("text_digest") and "k" in values):
            return values
        text = _read(given)
        return {
            **values,
            "k": values.get("k", len(text.classes)),
            "text_digest": values.get("text_digest") or text.digest,
        }

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (classes := self.known_classes) is not None and len(classes) != self.k:
            raise ValueError(f"k = {self.k}: expected {len(classes)}, the classes of {self.text}; leave k out")
        return self

    @property
    def known_classes(self) -> tuple[str, ...] | None:
        """The classes of the text; None where its file has gone, or holds another text by now."""
        if not Path(self.text).is_file():
            return None
        text = _read(self.text)
        return tuple(text.classes) if text.digest == self.text_digest else None


class MaskClipParams(TextParams):
    """MaskCLIP (Zhou et al., ECCV 2022): dense features of an image network, named by text vectors of its twin."""

    logit_scale: float = Field(
        100.0, gt=0, description="factor of cosines in scores and softmaxes; CLIP's own, at the end of its training"
    )
    key_smoothing: float | None = Field(
        None,
        gt=0,
        le=1,
        description="patches whose surest class has at most this probability take the mean of all patches, weighted "
        "by the similarity of their keys (the released code: 1, so all); null: none",
    )
    prompt_denoising: float | None = Field(
        None,
        gt=0,
        le=1,
        description="classes that no patch of a window has with at least this probability are left out there (the "
        "released code: 0.5); null: none",
    )


def _read(path: str) -> Any:
    try:
        return read_text(Path(path))
    except DataError as error:
        raise ValueError(str(error)) from error
