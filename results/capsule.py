"""A capsule: of a store, what the tables and figures of some grids rest on. It is a store itself, read only.

Layout, beside that of a store (``results.store``)::

    capsule.json     what it holds: the digest of every file, how its report was made, what was left out
    README.md        the same for people
    report/          its tables, numbers and figures as they were shipped: see ``reports.capsule``

Records lose what tells of people and machines without a part in any result: ``results.neutral``. Of a split that only
matchings are fitted on, counts of single images become their sum, which is all that such a matching takes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from spectral_bench.common.errors import StoreError
from spectral_bench.common.files import write_bytes
from spectral_bench.results.checks import CHECKS_FOLDER
from spectral_bench.results.contingency import Contingency
from spectral_bench.results.documents import names_in, read_document
from spectral_bench.results.manifest import Manifest
from spectral_bench.results.neutral import Neutral
from spectral_bench.results.runs import FIT_FILE
from spectral_bench.results.state import RunState, StoredRun, run_state
from spectral_bench.results.store import CAPSULE_FILE, STORE_FILE, TEXTS_FOLDER, Store

CAPSULE_SCHEMA_VERSION = 1
REPORT_FOLDER = "report"
CURVE_FILE = "metrics.jsonl"
SUMMED = "counts of the split summed over its images: a matching that is fitted on them takes no more"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ReportOptions(_Part):
    """How the report of a capsule is made; the options of ``bench report`` by these names."""

    protocol: str | None = None
    matching: list[str] = []
    resamples: int = Field(0, ge=0)
    against: list[str] = []


class LeftOut(_Part):
    """What of the store is not in the capsule."""

    files: int
    bytes: int


class Capsule(_Part):
    """``capsule.json``."""

    schema_version: int = CAPSULE_SCHEMA_VERSION
    grids: list[str] = Field(description="names of the grids")
    runs: int = Field(description="how many runs they ask for")
    unfinished: list[str] = Field([], description="their runs that were not finished: then the report is preliminary")
    report: ReportOptions = ReportOptions()
    versions: dict[str, str | None] = Field({}, description="of what computed the report")
    neutral: dict[str, int] = Field({}, description="kind of name -> how many were replaced by neutral words")
    left_out: dict[str, LeftOut] = {}
    files: dict[str, str] = Field({}, description="path -> SHA-256 of each other file")

    @property
    def digest(self) -> str:
        """What the capsule can be cited by: a digest of all of its files but the one that holds this."""
        return hashlib.sha256(json.dumps(self.files, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def kept(self) -> dict[str, str]:
        """The files that a report is computed from, with their digests."""
        shipped = (f"{REPORT_FOLDER}/", "README.md")
        return {path: digest for path, digest in self.files.items() if not path.startswith(shipped)}

    @property
    def shipped(self) -> dict[str, str]:
        """The files of the report, with their digests."""
        return {path: digest for path, digest in self.files.items() if path.startswith(f"{REPORT_FOLDER}/")}


def read_capsule(folder: Path) -> Capsule:
    """What ``capsule.json`` of a folder says.

    Raises:
        StoreError: there is none, it cannot be read, or a newer release wrote it.
    """
    path = folder / CAPSULE_FILE
    if not path.exists():
        what = "a folder without it" if folder.is_dir() else "a file" if folder.exists() else "nothing"
        raise StoreError(f"{folder}: expected a capsule (a folder with {CAPSULE_FILE}, by bench pack), found {what}")
    found = read_document(path, Capsule, CAPSULE_SCHEMA_VERSION)
    if found is None:
        raise StoreError(f"{path}: cannot be read as the head of a capsule; fetch the capsule anew")
    return found


def file_digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Unfinished:
    """A run that a grid asks for and that is not finished."""

    title: str
    seed: int
    run_id: str
    state: RunState


def unfinished(store: Store, manifests: Iterable[Manifest]) -> list[Unfinished]:
    """The runs of some grids that are not finished: all that is wanted of a finished one is on record."""
    found: list[Unfinished] = []
    for manifest in manifests:
        views_of = _asked_views([manifest])
        for row in manifest.rows:
            for seed, run_id in sorted(row.runs.items()):
                wanted = {view_id: store.evaluation_record(run_id, view_id) for view_id in views_of[run_id]}
                stored = StoredRun(store.fit_record(run_id), wanted)
                busy, begun = store.is_claimed(run_id), store.has_checkpoint(run_id)
                state = run_state(stored, claimed=busy, checkpoint=begun)
                if not state.finished and run_id not in {one.run_id for one in found}:
                    found.append(Unfinished(row.title, seed, run_id, state))
    return found


def _asked_views(manifests: Iterable[Manifest]) -> dict[str, dict[str, bool]]:
    """Run id -> view id -> whether its counts are wanted image by image; else a matching is fitted on their sum."""
    found: dict[str, dict[str, bool]] = {}
    for manifest in manifests:
        for row in manifest.rows:
            views: dict[str, bool] = {}
            for protocol in row.protocols:
                views[protocol.view.view_id] = True
                if protocol.name_view is not None:
                    views[protocol.name_view.view_id] = True
                if protocol.fit_view is not None:
                    drawn = protocol.scoring.label_budget is not None
                    view_id = protocol.fit_view.view_id
                    views[view_id] = views.get(view_id, False) or drawn
            for run_id in row.runs.values():
                own = found.setdefault(run_id, {})
                own |= {view_id: own.get(view_id, False) or whole for view_id, whole in views.items()}
    return found


@dataclass
class Taken:
    """What is taken of a store.

    Attributes:
        documents: path -> JSON value, as the store has it.
        copies: path -> where it lies, of files that are copied as they are.
        summed: path of an evaluation's record -> where its counts lie, which are summed over images.
        texts: path -> text.
        neutral: the words that stand for names of machines and folders.
    """

    documents: dict[str, Any] = field(default_factory=dict)
    copies: dict[str, Path] = field(default_factory=dict)
    summed: dict[str, Path] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    neutral: Neutral = field(default_factory=Neutral)

    def write(self, folder: Path) -> None:
        """Write all of it into an empty folder.

        Raises:
            StoreError: something cannot be read or written.
        """
        for path, source in self.copies.items():
            write_bytes(folder / path, _read(source))
        for path, source in self.summed.items():
            payload = (folder / path).with_suffix(".npz")
            _sum_of_images(Contingency.load(source)).save(payload)
            record = self.documents[path]
            warnings = [*record.get("warnings", []), *([] if SUMMED in record.get("warnings", []) else [SUMMED])]
            self.documents[path] = record | {"contingency_sha256": file_digest(payload), "warnings": warnings}
        for path, document in self.documents.items():
            write_bytes(folder / path, _json_bytes(self.neutral.document(document)))
        for path, text in self.texts.items():
            write_bytes(folder / path, self.neutral.text(text).encode())


def take(store: Store, manifests: Sequence[Manifest], texts: dict[str, str] | None = None) -> Taken:
    """What tables and figures of some grids rest on: grids, records, counts, names, training curves, checks.

    Args:
        store: the store.
        manifests: of the grids.
        texts: path in the capsule -> text that is kept too, such as that of a grid's file.

    Raises:
        StoreError: something cannot be read.
    """
    taken = Taken(texts=dict(texts or {}))
    for name in (STORE_FILE, "weights.json"):
        _take_document(taken, store, name)
    for manifest in manifests:
        _take_document(taken, store, f"grids/{manifest.name}.json")
        if (grid := store.path / "grids" / f"{manifest.name}.yaml").exists():  # in a capsule that is packed again
            taken.texts.setdefault(f"grids/{manifest.name}.yaml", _read(grid).decode())
    for digest in _words(manifests):
        if (source := store.path / (name := f"{TEXTS_FOLDER}/{digest}.npz")).exists():
            taken.copies[name] = source
    for run_id, views in _with_bases(store, _asked_views(manifests)).items():
        _take_run(taken, store, run_id, views)
    taken.neutral.learn(taken.documents.values(), taken.texts.values())
    return taken


def _words(manifests: Iterable[Manifest]) -> set[str]:
    """Digests of the words that clusters are named by."""
    protocols = (protocol for manifest in manifests for row in manifest.rows for protocol in row.protocols)
    return {protocol.scoring.names.text_digest for protocol in protocols if protocol.scoring.names is not None}


def _with_bases(store: Store, asked: dict[str, dict[str, bool]]) -> dict[str, dict[str, bool]]:
    """With the fits that others start from, whose seconds tables tell."""
    found = dict(asked)
    waiting = list(asked)
    while waiting:
        fit = store.fit_record(waiting.pop())
        if fit is not None and fit.base is not None and fit.base not in found:
            found[fit.base] = {}
            waiting.append(fit.base)
    return found


def _take_run(taken: Taken, store: Store, run_id: str, views: dict[str, bool]) -> None:
    fit = store.fit_record(run_id)
    if fit is None:
        return
    place = f"records/{run_id}"
    _take_document(taken, store, f"{place}/{FIT_FILE}")
    if (store.run_folder(run_id) / CURVE_FILE).exists():
        taken.copies[f"{place}/{CURVE_FILE}"] = store.run_folder(run_id) / CURVE_FILE
    checked = [fit.method_check]
    for view_id, whole in views.items():
        record = store.evaluation_record(run_id, view_id)
        if record is None:
            continue
        path = f"{place}/evaluations/{view_id}.json"
        _take_document(taken, store, path)
        checked.append(record.method_check)
        if record.status != "failed":
            payload = f"{place}/evaluations/{view_id}.npz"
            (taken.copies if whole else taken.summed)[payload if whole else path] = store.path / payload
    for code in {check.code for check in checked if check is not None}:
        for name in names_in(store.path / CHECKS_FOLDER / code):
            _take_document(taken, store, f"{CHECKS_FOLDER}/{code}/{name}")


def _take_document(taken: Taken, store: Store, path: str) -> None:
    source = store.path / path
    if not source.exists():
        return
    try:
        taken.documents[path] = json.loads(_read(source))
    except ValueError as error:
        raise StoreError(f"{source}: cannot be read as JSON ({error})") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror or error})") from error


def _json_bytes(value: Any) -> bytes:
    """As records are written."""
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n").encode()


def _sum_of_images(counts: Contingency) -> Contingency:
    """The same counts as those of one image; of a sum, itself."""
    if counts.n_images == 1:
        return counts
    matrix = counts.matrix()
    cluster, label = (found.astype(np.int32) for found in np.nonzero(matrix))
    name = f"sum of {counts.n_images} images"
    nothing = np.zeros(len(cluster), dtype=np.int32)
    return Contingency((name,), counts.n_clusters, counts.n_labels, nothing, cluster, label, matrix[cluster, label])


def left_out(store: Store, taken: Taken) -> dict[str, LeftOut]:
    """Kind -> how many files of a store, and bytes, are not among what was taken of it, by kind."""
    kept = {*taken.documents, *taken.copies, *taken.texts}
    runs = {path.split("/")[1] for path in taken.documents if path.startswith("records/")}
    summed = {str(path.relative_to(store.path)) for path in taken.summed.values()}
    found: dict[str, list[int]] = {}
    for path, size in _files(store.path):
        kind = "counts of single images, of splits that only matchings are fitted on" if path in summed else ""
        if path not in kept and (kind or size):
            found.setdefault(kind or _kind(path, runs), []).append(size)
    told = {kind: LeftOut(files=len(sizes), bytes=sum(sizes)) for kind, sizes in found.items() if kind}
    return dict(sorted(told.items()))


_KINDS = {
    "features": "features",
    TEXTS_FOLDER: "words that the grids do not name clusters by",
    "panels": "panels of the gallery, which hold images of the data",
    "fit.safetensors": "what fits learnt (weights)",
    "checkpoint.pt": "checkpoints",
    "evaluations": "evaluations that the grids do not ask for",
}


def _kind(path: str, runs: set[str]) -> str:
    """What a file of a store is, that is left out; empty for what a capsule has of its own."""
    first, _, rest = path.partition("/")
    if first != "records":
        own = first in (REPORT_FOLDER, CAPSULE_FILE, "README.md")
        return "" if own else _KINDS.get(first, "grids that were not asked for" if first == "grids" else "caches")
    run_id, _, name = rest.partition("/")
    kind = _KINDS.get(name.partition("/")[0], "logs, orders and failures that were tried again")
    return kind if run_id in runs else "runs that the grids do not ask for, or without a record"


def _files(folder: Path) -> Iterator[tuple[str, int]]:
    for place, _, names in os.walk(folder):
        for path in (Path(place) / name for name in names):
            if path.is_file():
                yield path.relative_to(folder).as_posix(), path.stat().st_size
