"""What planning asks of a record, read without the rest: thousands of records in a second.

A record is a tree of small parts, and building all of them takes ten times as long as parsing its text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict

from spectral_bench.results.identity import digest
from spectral_bench.results.record import Failure, HealthCheck, Status
from spectral_bench.results.specification import identity_form, own_name


class _Summary(BaseModel):
    """Unlike a record, a summary passes over what it does not know."""

    model_config = ConfigDict(extra="ignore")


class CostSummary(_Summary):
    """What one stage took; see ``results.record.StageCost``."""

    stage: str
    wall_s: float
    peak_rss: int = 0
    peak_device: int | None = None
    items: int | None = None
    reused: bool = False


class FitSummary(_Summary):
    """A part of a ``results.record.FitRecord``; the specification as it is written."""

    schema_version: int
    run_id: str
    spec: dict[str, Any]
    status: Status
    costs: list[CostSummary] = []
    health: list[HealthCheck] = []
    failure: Failure | None = None
    started: str = ""
    finished: str = ""
    environment: dict[str, Any] = {}
    execution: dict[str, Any] = {}
    uses_labels: bool = False
    code: dict[str, str] = {}
    data_digest: str = ""
    label_files: str = ""

    @property
    def method(self) -> str:
        """The method that was fitted."""
        return str(self.spec["method"])

    @property
    def dataset(self) -> str:
        """The data set that it was trained on."""
        return str(self.spec["data"]["dataset"])

    @property
    def split(self) -> str:
        """The split that it was trained on."""
        return str(self.spec["data"].get("split", ""))

    @property
    def seed(self) -> int:
        """The seed."""
        return int(self.spec.get("seed", 0))

    @property
    def configuration_id(self) -> str:
        """As ``results.specification.FitSpec.configuration_id``."""
        return digest(identity_form({**self.spec, "seed": 0}))

    @property
    def family(self) -> tuple[Any, ...]:
        """As ``results.specification.FitSpec.family``."""
        data = self.spec["data"]
        dataset = data.get("known_as") or self.dataset
        backbone = own_name(self.spec["backbone"]["name"])
        return (own_name(self.method), dataset, data.get("split"), data.get("subset"), backbone)


class EvaluationSummary(_Summary):
    """A part of a ``results.record.EvaluationRecord``; the view as it is written."""

    schema_version: int
    view_id: str
    view: dict[str, Any]
    status: Status
    costs: list[CostSummary] = []
    health: list[HealthCheck] = []
    failure: Failure | None = None
    started: str = ""
    finished: str = ""
    environment: dict[str, Any] = {}
    execution: dict[str, Any] = {}
    code: dict[str, str] = {}
    data_digest: str = ""
    label_files: str = ""

    @property
    def dataset(self) -> str:
        """The data set that was looked at."""
        return str(self.view["dataset"])

    @property
    def split(self) -> str:
        """The split that was looked at."""
        return str(self.view.get("split", ""))


@dataclass(frozen=True)
class RunSummary:
    """A fit and its evaluations in short; see ``results.runs.Run``."""

    fit: FitSummary
    evaluations: dict[str, EvaluationSummary] = field(default_factory=dict)

    @property
    def run_id(self) -> str:
        """The run's identity."""
        return self.fit.run_id
