"""What a grid asked for, kept in the store so that reports know its rows, seeds and protocols."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from spectral_bench.results.record import ClassTable
from spectral_bench.results.specification import Protocol

MANIFEST_SCHEMA_VERSION = 2


class DataFacts(BaseModel):
    """What was known of a data set when a grid was launched. Its class list is today's until the next launch."""

    model_config = ConfigDict(extra="forbid")

    title: str = Field(description="the name used in tables")
    class_sets: dict[str, ClassTable] = Field({}, description="the ways of counting classes, by name")
    default_classes: str = Field("", description="the class set used unless a protocol names one")


class ManifestRow(BaseModel):
    """One configuration of a grid: a row of a table."""

    model_config = ConfigDict(extra="forbid")

    title: str = Field(description="the grid's own name for the row, or the method and what tells it from other rows")
    method: str
    dataset: str = Field(description="what it is evaluated on")
    train_dataset: str
    data_name: str = Field("", description="what identities call a data set of the user's own; empty: ``dataset``")
    train_data_name: str = Field("", description="likewise of ``train_dataset``")
    backbone: str
    uses_labels: bool = False
    settings: dict[str, Any] = Field({}, description="what the grid states for this row: parameters and run keys")
    role: Literal["row", "baseline", "variation"] = "row"
    factor: str | None = Field(None, description="for a variation: the key that differs from the baseline")
    value: Any = Field(None, description="for a variation: its value of the factor")
    baseline: list[Any] | None = Field(
        None, description="for a variation: the baseline's own value of each key of the factor, stated or not"
    )
    k: int | None = Field(None, description="clusters, stated or by default; None for a method without such a number")
    train_split: str = Field("train", description="the split that it is trained on")
    subset: int | None = Field(None, description="number of training images; None: all")
    weights: str = Field("", description="of the backbone, in words; empty: its usual pre-trained ones")
    unusual: dict[str, Any] | None = Field(
        None, description="what differs from its default and has no column of its own; None: not told (schema 1)"
    )
    runs: dict[int, str] = Field(description="seed -> run id")
    protocols: list[Protocol]


class Manifest(BaseModel):
    """The rows of one grid, written into the store as ``grids/<name>.json`` at every launch.

    Schema 1 had neither ``data`` nor the settings that rows have in full.
    """

    model_config = ConfigDict(extra="forbid")

    schema_version: int = MANIFEST_SCHEMA_VERSION
    name: str
    note: str = Field("", description="the grid's own caption, printed under every table made of it")
    written: str = Field(description="UTC, ISO 8601")
    data: dict[str, DataFacts] = Field({}, description="facts of the data sets, by the names that specifications use")
    rows: list[ManifestRow]
