"""The records of runs: one folder a run, readable by any process at any moment.

Layout, below ``records/`` of a store (readers ignore files that they do not know)::

    <run_id>/fit.json                             the record of the fit; appears last
    <run_id>/evaluations/<view_id>.npz, .json     contingency, then the record that vouches for it; of a view that
                                                  names clusters their mean features (``results.naming``)
    <run_id>/attempts/<n>.json, <view_id>-<n>.json    every failure, kept
    <run_id>/claim.lock, claim.json               who works on the run

Every file appears whole or not at all, payload before record, so a crash at any moment leaves the store valid.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spectral_bench.common.collection import no_collection
from spectral_bench.common.errors import StoreError
from spectral_bench.common.files import write_bytes
from spectral_bench.results import claims
from spectral_bench.results.contingency import Contingency
from spectral_bench.results.documents import document_bytes, names_in, read_document, require_file_name
from spectral_bench.results.naming import ClusterVectors
from spectral_bench.results.record import SCHEMA_VERSION, EvaluationRecord, FitRecord
from spectral_bench.results.state import RunState, StoredRun, run_state
from spectral_bench.results.summaries import EvaluationSummary, FitSummary, RunSummary

CHECKPOINT_FILE = "checkpoint.pt"
FIT_FILE = "fit.json"

# Clients that keep folders in step leave copies of their own beside what they could not merge, such as `a (1)` or
# `a.sync-conflict-20250131.json`. Whatever is not called as the store calls things is none of them.
_RUN_ID = re.compile(r"[^\s()]+-s\d+-[0-9a-f]{12}")
_EVALUATION = re.compile(r"[0-9a-f]{12}\.(json|npz)")
_RECORD = re.compile(r"[0-9a-f]{12}\.json")
_ATTEMPT = re.compile(r"([0-9a-f]{12}-)?\d+\.json")

logger = logging.getLogger(__name__)
_NO_CONTINGENCY = "%s: the contingency beside it is missing or torn, taken as absent"


@dataclass(frozen=True)
class Run:
    """A fit and its evaluations, as they are stored.

    Attributes:
        fit: the record of the fit.
        evaluations: view id -> record, for every evaluation that was tried.
    """

    fit: FitRecord
    evaluations: dict[str, EvaluationRecord] = field(default_factory=dict)

    @property
    def run_id(self) -> str:
        """The run's identity."""
        return self.fit.run_id


class RunRecords:
    """The runs of a store. Nothing is cached: readers see what is there.

    Args:
        folder: ``records/`` of the store; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.records_folder = folder

    def run_folder(self, run_id: str) -> Path:
        """The folder of a run, which need not exist."""
        return self.records_folder / require_file_name(run_id)

    def runs(self) -> list[str]:
        """The ids of all runs that left anything, in alphabetical order."""
        return [name for name in names_in(self.records_folder) if _RUN_ID.fullmatch(name)]

    def fit_record(self, run_id: str) -> FitRecord | None:
        """The record of a fit, failed or not; None while there is none.

        Raises:
            StoreError: a newer release wrote it.
        """
        return read_document(self.run_folder(run_id) / FIT_FILE, FitRecord, SCHEMA_VERSION)

    def evaluation_record(self, run_id: str, view_id: str) -> EvaluationRecord | None:
        """The record of an evaluation, failed or not; None while there is none.

        A record whose contingency is missing, torn or another is worth nothing: it counts as absent, with a warning.

        Raises:
            StoreError: a newer release wrote it.
        """
        return self._evaluation_record(self._evaluation(run_id, view_id, ".json"), None)

    def _evaluation_record(self, path: Path, files: frozenset[str] | None) -> EvaluationRecord | None:
        """The record at ``path``, if its contingency is intact or, where the folder's ``files`` are given, there."""
        if not _RECORD.fullmatch(path.name):
            return None
        record = read_document(path, EvaluationRecord, SCHEMA_VERSION)
        if record is None or record.status == "failed":
            return record
        payload = path.with_suffix(".npz")
        if payload.name in files if files is not None else _intact(payload, record.contingency_sha256):
            return record
        logger.warning(_NO_CONTINGENCY, path)
        return None

    def contingency(self, run_id: str, view_id: str) -> Contingency:
        """The contingency of a finished evaluation.

        Raises:
            StoreError: there is no such evaluation, or its contingency is missing or torn.
        """
        record = self.evaluation_record(run_id, view_id)
        if record is None or record.status == "failed":
            raise StoreError(
                f"{self._evaluation(run_id, view_id, '.npz')}: no intact contingency; evaluate the run again"
            )
        return Contingency.load(self._evaluation(run_id, view_id, ".npz"))

    def cluster_vectors(self, run_id: str, view_id: str) -> ClusterVectors:
        """The mean features of clusters from a finished evaluation of a view that names them.

        Raises:
            StoreError: there is no such evaluation, or its file is missing or torn.
        """
        path, record = self._evaluation(run_id, view_id, ".npz"), self.evaluation_record(run_id, view_id)
        if record is None or record.status == "failed":
            raise StoreError(f"{path}: no intact mean features of clusters; evaluate the run again")
        return ClusterVectors.load(path)

    def load_run(self, run_id: str, *, verify: bool = True) -> Run | None:
        """A fit with all of its evaluations; None while the fit has no record.

        Args:
            run_id: the run.
            verify: read each contingency to see that it is the one its record vouches for; else only that it exists.
        """
        fit = self.fit_record(run_id)
        if fit is None:
            return None
        folder = self.run_folder(run_id) / "evaluations"
        files = frozenset(names_in(folder))
        found = (self._evaluation_record(folder / name, None if verify else files) for name in sorted(files))
        return Run(fit, {record.view_id: record for record in found if record is not None})

    def load_all(self, *, verify: bool = False) -> list[Run]:
        """All runs whose fit has a record, in the order of their ids; ``verify`` as in ``load_run``."""
        with no_collection():
            return [run for run_id in self.runs() if (run := self.load_run(run_id, verify=verify)) is not None]

    def summaries(self) -> list[RunSummary]:
        """All runs whose fit has a record, in short, in the order of their ids.

        An evaluation whose contingency is missing counts as absent; whether it is intact is not looked at.

        Raises:
            StoreError: a newer release wrote a record.
        """
        with no_collection():
            return [found for run_id in self.runs() if (found := self._summary(run_id)) is not None]

    def _summary(self, run_id: str) -> RunSummary | None:
        # Texts in place of paths: with thousands of runs, paths alone take as long as what is in the files.
        folder = f"{self.records_folder}/{run_id}"
        fit = read_document(f"{folder}/fit.json", FitSummary, SCHEMA_VERSION)
        if fit is None:
            return None
        files = frozenset(names_in(f"{folder}/evaluations"))
        found: dict[str, EvaluationSummary] = {}
        for name in sorted(files):
            path = f"{folder}/evaluations/{name}"
            record = read_document(path, EvaluationSummary, SCHEMA_VERSION) if _RECORD.fullmatch(name) else None
            if record is not None and (record.status == "failed" or f"{name[:-5]}.npz" in files):
                found[record.view_id] = record
            elif record is not None:
                logger.warning(_NO_CONTINGENCY, path)
        return RunSummary(fit, found)

    def state(self, run_id: str) -> RunState:
        """How far a run is, of which no evaluation is wanted."""
        if self.is_claimed(run_id):
            return RunState.RUNNING
        return run_state(StoredRun(self.fit_record(run_id)), checkpoint=self.has_checkpoint(run_id))

    def has_checkpoint(self, run_id: str) -> bool:
        """Whether a fit that was interrupted left a checkpoint to go on from."""
        return (self.run_folder(run_id) / CHECKPOINT_FILE).exists()

    def write_fit(self, record: FitRecord) -> None:
        """Store the record of a fit whose state is stored already.

        A failure is kept among the attempts too, and never replaces a success; a success replaces a failure.

        Raises:
            StoreError: the disk is full or the store cannot be written; what was stored before is untouched.
        """
        folder = self.run_folder(record.run_id)
        text = document_bytes(record)
        if record.status == "failed":
            self._keep_attempt(folder, "", text)
            before = self.fit_record(record.run_id)
            if before is not None and before.status != "failed":
                return
        write_bytes(folder / FIT_FILE, text)

    def write_evaluation(
        self, record: EvaluationRecord, contingency: Contingency | ClusterVectors | None = None
    ) -> EvaluationRecord:
        """Store an evaluation: its contingency, then the record that vouches for it.

        Args:
            record: its ``contingency_sha256`` is filled in here.
            contingency: what was counted, of a view that names clusters their mean features; None for a failure only.

        Returns:
            The record as it was stored.

        Raises:
            StoreError: as for ``write_fit``.
            ValueError: a contingency is missing, or was given with a failure.
        """
        if (contingency is None) != (record.status == "failed"):
            raise ValueError(f"an evaluation that is {record.status} needs {'no' if contingency else 'a'} contingency")
        path = self._evaluation(record.run_id, record.view_id, ".json")
        if contingency is not None:
            payload = path.with_suffix(".npz")
            contingency.save(payload)
            record = record.model_copy(update={"contingency_sha256": _sha256(payload)})
        else:
            self._keep_attempt(self.run_folder(record.run_id), f"{record.view_id}-", document_bytes(record))
            before = self.evaluation_record(record.run_id, record.view_id)
            if before is not None and before.status != "failed":
                return record
        write_bytes(path, document_bytes(record))
        return record

    def attempts(self, run_id: str) -> list[str]:
        """The names of the failures that a run has behind it, fits and evaluations, in alphabetical order."""
        return [name[:-5] for name in names_in(self.run_folder(run_id) / "attempts") if _ATTEMPT.fullmatch(name)]

    def discard(self, run_id: str) -> None:
        """Forget a run's results so that it can be done anew. Its failures, orders and log stay.

        The evaluations go before the fit, so that a crash in between cannot leave them to a later fit.
        """
        folder = self.run_folder(run_id)
        for name in filter(_EVALUATION.fullmatch, names_in(folder / "evaluations")):
            (folder / "evaluations" / name).unlink()
        for name in (FIT_FILE, "fit.safetensors", CHECKPOINT_FILE):
            (folder / name).unlink(missing_ok=True)

    def _keep_attempt(self, folder: Path, prefix: str, text: bytes) -> None:
        used = [name[len(prefix) : -5] for name in names_in(folder / "attempts") if name.startswith(prefix)]
        number = 1 + max((int(part) for part in used if part.isdecimal()), default=0)
        write_bytes(folder / "attempts" / f"{prefix}{number}.json", text)

    def _evaluation(self, run_id: str, view_id: str, suffix: str) -> Path:
        return self.run_folder(run_id) / "evaluations" / f"{require_file_name(view_id)}{suffix}"

    @contextmanager
    def claim(self, run_id: str, **facts: str) -> Iterator[None]:
        """Own a run (its fit and every evaluation of it) for the length of a ``with`` block.

        The claim ends with the process that holds it, however it dies. Half-written files that a dead owner left
        behind are removed.

        Args:
            run_id: the run.
            facts: what else the owner says of itself, such as ``job="1234_5"``.

        Raises:
            Busy: another process owns it.
            StoreError: the store cannot be written, or its file system has no locks.
        """
        folder = self.run_folder(run_id)
        with claims.claim(folder, **facts):
            for leftover in folder.rglob(".*.tmp"):
                leftover.unlink(missing_ok=True)
            yield

    def is_claimed(self, run_id: str) -> bool:
        """Whether a living process owns the run."""
        return claims.is_claimed(f"{self.records_folder}/{require_file_name(run_id)}")

    def owner(self, run_id: str) -> dict[str, Any]:
        """What the run's owner says of itself (host, pid, since, ...); empty where nobody works on it."""
        return claims.owner(self.run_folder(run_id)) if self.is_claimed(run_id) else {}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _intact(path: Path, sha256: str) -> bool:
    try:
        return _sha256(path) == sha256
    except OSError:
        return False
