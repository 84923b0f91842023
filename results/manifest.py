"""What a grid asked for, kept in the store so that reports know its rows, seeds and protocols."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from spectral_bench.results.specification import Protocol

MANIFEST_SCHEMA_VERSION = 2


class ManifestRow(BaseModel):
    """One configuration of a grid: a row of a table."""

    model_config = ConfigDict(extra="forbid")

    title: str = Field(description="the grid's own name for the row, or the method and what tells it from other rows")
    method: str
    dataset: str = Field(description="what it is evaluated on")
    train_dataset: str
    backbone: str
    uses_labels: bool = False
    settings: dict[str, Any] = Field({}, description="what the grid states for this row: parameters and run keys")
    role: Literal["row", "baseline", "variation"] = "row"
    factor: str | None = Field(None, description="for a variation: the key that differs from the baseline")
    value: Any = Field(None, description="for a variation: its value of the factor")
    runs: dict[int, str] = Field(description="seed -> run id")
    protocols: list[Protocol]


class Manifest(BaseModel):
    """The rows of one grid, written into the store as ``grids/<name>.json`` at every launch."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = MANIFEST_SCHEMA_VERSION
    name: str
    note: str = Field("", description="the grid's own caption, printed under every table made of it")
    written: str = Field(description="UTC, ISO 8601")
    rows: list[ManifestRow]
