"""What was submitted, as JSON files in the store: all that other machines and later days need to find the jobs again.

Layout, below ``slurm/`` of a store; a submission is one job array, and its name is used once in the world::

    submit.lock                     held while anything is submitted or cancelled
    <name>/submission.json          what was submitted, with the job id as soon as it is known
    <name>/submission.sh            what sbatch was given
    <name>/trace-<index>.json       written by the job: where it is, and which run it is at work on
    <name>/cancelled-<run>          somebody wants this run cancelled
    <name>/*_log.out                what Slurm and the job said
    closed/<name>/                  a submission of which nothing is left
"""

from __future__ import annotations

import json
import secrets
import shutil
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from spectral_bench.bench.executors.slurm.cluster import Cluster, this_user
from spectral_bench.bench.grid.keys import SLURM_KEYS, ExecutorBlock, megabytes
from spectral_bench.bench.measure.environment import now
from spectral_bench.common.files import store_error, write_bytes, write_json
from spectral_bench.common.locks import exclusive
from spectral_bench.results.documents import names_in, read_document, require_file_name
from spectral_bench.results.store import Store

SUBMISSION_VERSION = 1
SUBMISSION_FILE = "submission.json"
SCRIPT_FILE = "submission.sh"
CLOSED = "closed"
_PREFIX = "bench-"

JobKey = tuple[str, int]
"""Name of a submission, which its array has in Slurm too, and the index of one of its jobs."""


class _Part(BaseModel):
    # A later release may say more: what is not known here is passed over.
    model_config = ConfigDict(extra="ignore", frozen=True)


class SubmittedRun(_Part):
    """One run of a job.

    Attributes:
        run_id: the run; for an extraction of features a name of its own.
        order: the order's file, relative to the store.
        known_failures: failures of the run that the launcher knew of; after more it is left alone.
        features_only: whether it only extracts features.
        method: of the run.
        cohort: runs of one name here are carried out side by side; empty: alone.
    """

    run_id: str
    order: str
    known_failures: int = 0
    features_only: bool = False
    method: str = ""
    cohort: str = ""


class Unit(_Part):
    """What one job of the array carries out, run after run."""

    entries: tuple[SubmittedRun, ...]  # the word of the files, which all releases read


class Submission(_Part):
    """One job array.

    Attributes:
        name: of the job in Slurm; no two submissions share one.
        job_id: of the array; None until Slurm has answered.
        units: one a job.
        after: name -> indices of the jobs that must have succeeded before.
        settings: what was asked for.
        cluster: name of the cluster.
        controller: its controller's host; empty where an older release submitted.
        user: who submitted.
        uid: the number of that user; None where an older release submitted.
        host: from where.
        time: when, UTC.
    """

    schema_version: int = SUBMISSION_VERSION
    name: str
    job_id: str | None = None
    units: tuple[Unit, ...]
    after: dict[str, tuple[int, ...]] = {}
    settings: dict[str, Any] = {}
    cluster: str = ""
    controller: str = ""
    user: str
    uid: int | None = None
    host: str = ""
    time: str = ""


def new_submission(
    units: tuple[Unit, ...], *, after: dict[str, tuple[int, ...]], settings: dict[str, Any], cluster: Cluster
) -> Submission:
    """A submission under a name of its own, made here and now."""
    user = this_user()
    return Submission(
        # By this its jobs are found, on any cluster and by anybody: ids are given again when a cluster is set up anew.
        name=_PREFIX + secrets.token_hex(8),
        units=units,
        after=after,
        settings=settings,
        cluster=cluster.name,
        controller=cluster.controller,
        user=user.name,
        uid=user.uid,
        host=socket.gethostname(),
        time=now(),
    )


CHOSEN = "chosen"  # in the settings of a submission: those that were not stated by anybody


def what_was_asked(submission: Submission) -> dict[str, int]:
    """Memory in MB and time in minutes that the jobs of a submission asked for, as far as they did."""
    settings = submission.settings
    found = {"mem_mb": megabytes(settings["mem"])} if settings.get("mem") else {}
    return found | ({"minutes": int(settings["minutes"])} if settings.get("minutes") else {})


class Trace(_Part):
    """What a job left of itself: its host, the id that Slurm gave to this very job, and the runs it was at work on."""

    host: str = ""
    job: str = ""
    run_id: str = ""
    beside: tuple[str, ...] = ()  # of its cohort, those that are at work too

    @property
    def at_work(self) -> tuple[str, ...]:
        """The runs that it was at work on."""
        return (self.run_id, *self.beside)


class Ledger:
    """The submissions of a store.

    Args:
        store: the store.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.folder = store.path / "slurm"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other launchers from submitting or cancelling for the length of the block.

        Raises:
            StoreError: another one took ten minutes, or the store cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise store_error(self.folder, error) from error
        with exclusive(self.folder / "submit.lock", wait=600.0):
            yield

    def of(self, name: str) -> Path:
        """The folder of a submission, which need not exist."""
        # A job, or who looks at one, may outlive the closing of its submission by another process.
        closed = self.folder / CLOSED / require_file_name(name)
        return closed if closed.exists() else self.folder / name

    def write(self, submission: Submission) -> None:
        """Store a submission, in place of what was known of it.

        Raises:
            StoreError: the store cannot be written.
        """
        text = submission.model_dump_json(indent=1) + "\n"
        write_bytes(self.of(submission.name) / SUBMISSION_FILE, text.encode())

    def read(self, name: str) -> Submission | None:
        """A submission by name, closed or not; None where there is none that can be read."""
        return read_submission(self.of(name))

    def open(self) -> list[Submission]:
        """The submissions of which something may be left, oldest first."""
        return self._sorted(names_in(self.folder))

    def every(self) -> list[Submission]:
        """All submissions, closed ones too, oldest first."""
        return self._sorted({*names_in(self.folder), *names_in(self.folder / CLOSED)})

    def _sorted(self, names: Iterable[str]) -> list[Submission]:
        mine = (name for name in names if name.startswith(_PREFIX))
        found = [submission for name in mine if (submission := self.read(name)) is not None]
        return sorted(found, key=lambda submission: (submission.time, submission.job_id or "", submission.name))

    def close(self, submission: Submission) -> None:
        """Note that nothing is left of a submission. Its files stay, out of the way."""
        target = self.folder / CLOSED / submission.name
        target.parent.mkdir(exist_ok=True)
        if target.exists():
            shutil.rmtree(target)
        (self.folder / submission.name).rename(target)

    def last_settings(self) -> ExecutorBlock:
        """What was stated of the jobs of each method when they were last submitted; of others, what was stated last."""
        last: dict[str, Any] = {}
        methods: dict[str, Any] = {}
        for submission in self.every():
            # What nobody stated is found anew for each submission.
            chosen = submission.settings.get(CHOSEN, ())
            last = {key: value for key, value in submission.settings.items() if key in SLURM_KEYS and key not in chosen}
            methods |= {run.method: last for unit in submission.units for run in unit.entries if run.method}
        return ExecutorBlock.model_validate(last | {"methods": methods})

    def trace(self, name: str, index: int) -> Trace | None:
        """What a job left of itself; None where it left nothing."""
        try:
            return Trace.model_validate_json((self.of(name) / f"trace-{index}.json").read_bytes())
        except (OSError, ValidationError):
            return None

    def mark_cancelled(self, name: str, run_id: str) -> None:
        """Note that somebody wants a run cancelled."""
        write_bytes(self.of(name) / f"cancelled-{require_file_name(run_id)}", b"")

    def is_cancelled(self, name: str, run_id: str) -> bool:
        """Whether somebody wants it cancelled."""
        return (self.of(name) / f"cancelled-{require_file_name(run_id)}").exists()

    def outputs(self, name: str, index: int) -> list[Path]:
        """What Slurm and one job of a submission said: the files, oldest first."""
        return sorted(self.of(name).glob(f"*_{index}_0_log.out"))


def read_submission(folder: Path) -> Submission | None:
    """The submission in a folder; None where there is none that can be read.

    Raises:
        StoreError: a newer release wrote it.
    """
    return read_document(folder / SUBMISSION_FILE, Submission, SUBMISSION_VERSION)


def write_trace(folder: Path, index: int, *, host: str, job: str, run_id: str, beside: Sequence[str] = ()) -> None:
    """Say where a job is and which runs it is at work on.

    Raises:
        StoreError: the store cannot be written.
    """
    trace = Trace(host=host, job=job, run_id=run_id, beside=tuple(beside))
    write_json(folder / f"trace-{index}.json", json.loads(trace.model_dump_json()))
