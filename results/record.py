"""What a run leaves behind, as it is written to JSON. Old schema versions must load for ever."""

from __future__ import annotations

from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from spectral_bench.results.checks import CheckState
from spectral_bench.results.specification import FitSpec, View

SCHEMA_VERSION = 3
"""2: parts of a user's own are named by content (``known_as``), and ``method_check`` tells what check-method found.

3: a stage tells its share (``share_wall_s``, ``share_cpu_s``) of what the runs of a cohort computed once.
"""

BASE_STAGE = "base"
"""The stage in which a fit loads the stored fit that it starts from."""

HEALTH_STAGE = "health"
"""The stage of checks, as ``methods.health`` calls it, which imports torch."""

COHORT = "cohort"
"""The key, in what a record says of its execution, of the ids of the runs of its cohort, its own among them: those that
one process carried out side by side. A run that was alone has none."""

SITTING = "sitting"
"""The key, in what a record says of its execution, of the launch that made it; older records have none."""

Status = Literal["done", "failed", "not_converged"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class StageCost(_Part):
    """What one stage of a run cost, measured with the device synchronised at both ends."""

    stage: str
    wall_s: float = Field(description="seconds on the wall clock")
    cpu_s: float = Field(description="CPU seconds of the process, all threads, and of its helpers that ended meanwhile")
    peak_rss: int = Field(description="peak resident memory of the process, and the sum of its helpers' own, bytes")
    peak_device: int | None = Field(None, description="peak memory allocated on the CUDA device, bytes; None on CPU")
    energy_j: float | None = Field(None, description="joules of the CUDA device's board; None where it tells none")
    items: int | None = Field(None, description="images processed, where the stage goes over images")
    reused: bool = Field(False, description="the stage's product was there already; its cost was paid by another run")
    share_wall_s: float | None = Field(
        None, description="of wall_s, which counts what a cohort shares as if the run were alone: with its share alone"
    )
    share_cpu_s: float | None = Field(None, description="likewise of cpu_s; None where nothing was shared")


class Failure(_Part):
    """Why a run did not end well."""

    kind: str = Field(description="exception, out_of_memory, killed, data, interrupted, time_limit, node_failure, ...")
    message: str
    traceback: str = ""
    log_tail: str = ""

    @property
    def in_a_line(self) -> str:
        """Its kind, and the first line of its message where it has one."""
        lines = self.message.strip().splitlines()
        return f"{self.kind}: {lines[0]}" if lines else self.kind


class HealthCheck(_Part):
    """One check of a fit's numerical health."""

    name: str
    value: float | None = Field(description="None where it is not a finite number")
    limit: float | None = None
    passed: bool
    note: str = ""


class MethodCheck(_Part):
    """What ``check-method`` had found of the code of a method of the user's own when a run began."""

    code: str = Field(description="digest of the method's own modules, as in results.checks")
    verdict: CheckState


class SawFiles(Protocol):
    """A record, or its summary, that tells which files it saw."""

    @property
    def data_digest(self) -> str:
        """Of the images of its split; empty where it does not tell."""
        ...

    @property
    def label_files(self) -> str:
        """Of the labels of its split; empty where it saw none, or does not tell."""
        ...


def files_seen(record: SawFiles) -> dict[str, str]:
    """``images`` and ``labels`` -> digest of those files of the record's split, as far as it tells."""
    digests = {"images": record.data_digest, "labels": record.label_files}
    return {what: digest for what, digest in digests.items() if digest}


class FitRecord(_Part):
    """The record of one fit."""

    schema_version: int = SCHEMA_VERSION
    run_id: str
    spec: FitSpec
    status: Status
    started: str = Field(description="UTC, ISO 8601")
    finished: str = Field(description="UTC, ISO 8601")
    n_clusters: int | None = None
    parameters: int | None = Field(None, description="learnt numbers in the state")
    costs: list[StageCost] = []
    health: list[HealthCheck] = []
    failure: Failure | None = None
    uses_labels: bool = False
    base: str | None = Field(None, description="run id of the fit that this one started from, if any")
    warnings: list[str] = []
    environment: dict[str, Any] = {}
    execution: dict[str, Any] = Field({}, description="device, threads, executor, sitting: not part of the identity")
    code: dict[str, str] = Field({}, description="module -> fingerprint of its syntax tree")
    method_check: MethodCheck | None = Field(None, description="None: the method ships, or the record does not tell")
    data_digest: str = ""
    label_digest: str = Field("", description="of the labels that the fit was handed, by content; empty without any")
    label_files: str = Field("", description="digest of those labels' files: see common.digests")

    @property
    def method(self) -> str:
        """The method that was fitted."""
        return self.spec.method

    @property
    def dataset(self) -> str:
        """The data set that it was trained on."""
        return self.spec.data.dataset

    @property
    def split(self) -> str:
        """The split that it was trained on."""
        return self.spec.data.split

    @property
    def seed(self) -> int:
        """The seed."""
        return self.spec.seed

    @property
    def configuration_id(self) -> str:
        """The hash of the specification without its seed."""
        return self.spec.configuration_id

    @property
    def family(self) -> tuple[Any, ...]:
        """What fits that cost about the same have in common."""
        return self.spec.family


class ClassTable(_Part):
    """A class set as it stood when the contingency was counted, so that a record explains itself."""

    classes: list[str]
    raw_ids: list[list[int]]
    palette: list[list[int]] = []


class EvaluationRecord(_Part):
    """The record of one evaluation of a fit. The contingency lies beside it as ``<view_id>.npz``."""

    schema_version: int = SCHEMA_VERSION
    run_id: str
    view_id: str
    view: View
    status: Status
    started: str
    finished: str
    n_images: int = 0
    n_clusters: int = 0
    n_raw_labels: int = 0
    flops_features: int | None = Field(None, description="operations of the backbone on one image, all windows")
    flops_predict: int | None = Field(None, description="operations of the prediction of one image")
    class_sets: dict[str, ClassTable] = {}
    default_classes: str = ""
    contingency_sha256: str = ""
    costs: list[StageCost] = []
    health: list[HealthCheck] = []
    failure: Failure | None = None
    warnings: list[str] = []
    environment: dict[str, Any] = {}
    execution: dict[str, Any] = {}
    code: dict[str, str] = {}
    method_check: MethodCheck | None = Field(None, description="as in FitRecord, when the evaluation began")
    data_digest: str = ""
    label_files: str = Field("", description="digest of the split's label files: see common.digests")

    @property
    def dataset(self) -> str:
        """The data set that was looked at."""
        return self.view.dataset

    @property
    def split(self) -> str:
        """The split that was looked at."""
        return self.view.split
