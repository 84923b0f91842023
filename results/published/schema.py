"""The form of published numbers. None always means: the source does not say.

The files lie beside this module. Each may hold ``sources``, ``caveats``, ``facts``, ``features``, and ``protocols``
that its ``rows`` name; see ``results.published.loading``.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from spectral_bench.results.specification import Resize

Metric = Literal["mIoU", "accuracy", "CorLoc", "PQ"]
PublishedMatching = Literal[
    "majority",
    "iou",
    "hungarian",
    "hungarian_rest_first",
    "hungarian_iou",
    "per_image_hungarian",
    "text",
    "linear_probe",
]
CrfUse = Literal["none", "dense", "black_image"]
PublishedFacet = Literal["tokens", "keys", "queries", "values", "feature maps"]
Mirrored = Literal["none", "features", "scores"]
Confidence = Literal["read", "read-2nd"]
"""Whether a number was read in its own paper, code or log, or in a source that quotes it."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Look(_Part):
    """How an image is looked at, in the words of ``results.specification.View``."""

    resize: Resize = Resize()
    centre_crop: int | None = None
    label_resize: bool = False
    window: int | None = None
    stride: int | None = None


class PublishedProtocol(_Part):
    """All that a published number depends on besides its method. Every field is compared with measured rows."""

    dataset: str = Field(min_length=1, description="as the registry names it where the harness reads it")
    classes: int | None = Field(ge=1)
    split: str | None
    images: int | str | None = Field(description="number of images scored, `all` of the split, or a named subset")
    view: Look | str | None = Field(description="how images are looked at; words where it is none of our views")
    matching: PublishedMatching | None
    crf: CrfUse | None = Field(description="black_image: the CRF saw a black image")
    k: int | Literal["none"] | None = Field(description="clusters; `none` where nothing is clustered")
    seeds: int | None = Field(ge=1, description="runs behind the number")
    selection: Literal["mean", "best"] | None = Field(description="the mean of the runs, or the best of them")
    uses_labels: bool | None = Field(description="whether labels of the data set reached the fit")
    facet: PublishedFacet | None = Field(None, description="what of the backbone's last layer that is used is taken")
    layer: str | None = Field(None, description="`last`, `all` of several levels, or blocks by number")
    flip: Mirrored | None = Field(None, description="what of the mirrored image is averaged in when it is scored")


class Source(_Part):
    """Where a number was read."""

    key: str
    title: str = Field(min_length=1)


class Caveat(_Part):
    """What is to be known about a number, and how it is known."""

    key: str
    text: str = Field(min_length=1)
    evidence: str = Field(min_length=1)


class Fact(_Part):
    """Something a source says that is no score."""

    about: str = Field(min_length=1)
    text: str = Field(min_length=1)
    source: Source


class PublishedRow(_Part):
    """One published result: a method on a data set under a protocol. Metrics are in per cent."""

    method: str = Field(min_length=1)
    setting: str = Field("", description="what differs from the method's own defaults")
    backbone: str | None = Field(None, description="as the source names it")
    timm: str | None = Field(None, description="the same network by the name that grids use")
    protocol: PublishedProtocol
    metrics: dict[Metric, float] = Field(min_length=1)
    source: Source
    where: str = Field(min_length=1, description="table, figure or log within the source")
    caveats: tuple[Caveat, ...] = ()
    note: str = ""
    confidence: Confidence = "read"
    file: str = Field(description="the file that holds it, without its ending")


class RowEntry(_Part):
    """A row as it is written: protocol, source and caveats by name, and what differs from the named protocol."""

    method: str
    setting: str = ""
    backbone: str | None = None
    timm: str | None = None
    protocol: str
    differs: dict[str, Any] = {}
    metrics: dict[Metric, float] = Field(min_length=1)
    source: str
    where: str
    caveats: tuple[str, ...] = ()
    note: str = ""
    confidence: Confidence = "read"


class FeatureEntry(_Part):
    """What a source's code says of the features of its rows, told once for all of them."""

    source: str = Field(description="of the rows")
    methods: tuple[str, ...] = Field(min_length=1, description="whose rows")
    backbones: tuple[str, ...] = Field(min_length=1, description="how the names of their backbones begin")
    facet: PublishedFacet | None = None
    layer: str | None = None
    flip: Mirrored | None = None
    evidence: str = Field(min_length=1, description="where it was read")

    def tells_of(self, row: RowEntry) -> bool:
        """Whether a row is one of these."""
        named = row.source == self.source and row.method in self.methods
        return named and (row.backbone or "").startswith(self.backbones)

    @property
    def stated(self) -> dict[str, str]:
        """The fields of a protocol that it states."""
        found = {"facet": self.facet, "layer": self.layer, "flip": self.flip}
        return {key: value for key, value in found.items() if value is not None}


class CaveatEntry(_Part):
    """A caveat as it is written."""

    text: str
    evidence: str


class FactEntry(_Part):
    """A fact as it is written."""

    about: str
    text: str
    source: str


class PublishedFile(_Part):
    """One file."""

    sources: dict[str, str] = {}
    caveats: dict[str, CaveatEntry] = {}
    facts: list[FactEntry] = []
    protocols: dict[str, PublishedProtocol] = {}
    features: list[FeatureEntry] = []
    rows: list[RowEntry] = []


class Published(_Part):
    """All that was read from papers and their released code."""

    rows: tuple[PublishedRow, ...]
    facts: tuple[Fact, ...]

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets that rows are about, in alphabetical order."""
        return tuple(sorted({row.protocol.dataset for row in self.rows}))
