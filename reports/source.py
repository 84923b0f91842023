"""Where reports read from: the part of the store of records that they need."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from spectral_bench.common.words import Words
from spectral_bench.results.checks import CheckState
from spectral_bench.results.contingency import Contingency
from spectral_bench.results.manifest import Manifest
from spectral_bench.results.naming import ClusterVectors
from spectral_bench.results.record import EvaluationRecord, FitRecord


class Source(Protocol):
    """A store of records, read only. ``results.store.Store`` is one."""

    @property
    def scores_folder(self) -> Path | None:
        """Where scores are kept, by the digests of what they were computed from; None: nowhere. It need not exist."""
        ...

    def manifests(self) -> Sequence[Manifest]:
        """The grids that were launched into the store."""
        ...

    def fit_record(self, run_id: str) -> FitRecord | None:
        """The record of a fit; None while there is none."""
        ...

    def evaluation_record(self, run_id: str, view_id: str) -> EvaluationRecord | None:
        """The record of an evaluation; None while there is none."""
        ...

    def is_claimed(self, run_id: str) -> bool:
        """Whether a living process works on a run."""
        ...

    def has_checkpoint(self, run_id: str) -> bool:
        """Whether a fit that was interrupted left a checkpoint."""
        ...

    def run_folder(self, run_id: str) -> Path:
        """The folder of a run, which need not exist."""
        ...

    def check_state(self, code: str) -> CheckState:
        """What the checks of a method's own code that the store keeps say of it."""
        ...

    def contingency(self, run_id: str, view_id: str) -> Contingency:
        """The contingency of a finished evaluation."""
        ...

    def cluster_vectors(self, run_id: str, view_id: str) -> ClusterVectors:
        """The mean features of clusters from a finished evaluation of a view that names them."""
        ...

    def words(self, digest: str) -> Words:
        """The words of a digest that clusters are named by."""
        ...
