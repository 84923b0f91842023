"""The form of published numbers. None always means: the source does not say.

The files lie beside this module. Each may hold ``sources``, ``caveats`` and ``facts``, and ``protocols`` that its
``rows`` name; see ``results.published.loading``.
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
    rows: list[RowEntry] = []


class Published(_Part):
    """All that was read from papers and their released code."""

    rows: tuple[PublishedRow, ...]
    facts: tuple[Fact, ...]

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets that rows are about, in alphabetical order."""
        return tuple(sorted({row.protocol.dataset for row in self.rows}))
