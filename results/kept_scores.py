"""Scores kept in a store, so that a report opens no contingency that an earlier one has scored.

Layout, below a store::

    scores/<code>/<sha256>.json    some scores, each by what it was computed from; named by the file's own content

A score is found by the digests of the counts, the classes and the matching that it comes from, and lies under the
digest of the code that computed it: after a change of that code, or of numpy or scipy, nothing here is found. The
folder can be deleted at any time. Files appear whole, are never changed, and count only if their content is what their
name says, so that writers may work side by side and be killed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from spectral_bench.common.errors import StoreError
from spectral_bench.common.files import write_bytes
from spectral_bench.common.loaded import loaded_source
from spectral_bench.results import agreement, contingency, image_matching, matching, metrics, naming, npz
from spectral_bench.results.documents import names_in
from spectral_bench.results.metrics import Scores
from spectral_bench.results.record import ClassTable

MOST_FILES = 16
"""Each report with new runs adds a file; with more than this they become one."""

_DIGITS = 32  # hexadecimal, of a SHA-256
_ARRAYS = {"iou": "<f8", "class_accuracy": "<f8", "matching": "<i8"}
_NUMBERS = tuple(field.name for field in fields(Scores) if field.name not in (*_ARRAYS, "classes"))
logger = logging.getLogger(__name__)


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_DIGITS]


def _code() -> str:
    """The digest of all code between stored counts and scores that are read here, as this process has loaded it."""
    modules = agreement, contingency, image_matching, matching, metrics, naming, npz
    files = [__file__, *(str(module.__file__) for module in modules)]
    sources = [hashlib.sha256(loaded_source(file) or Path(file).read_bytes()).hexdigest() for file in files]
    return _sha(json.dumps([*sources, np.__version__, scipy.__version__]).encode())


CODE = _code()  # at import: a file that is edited later is not what runs


@dataclass(frozen=True)
class ScoreKey:
    """What a score is computed from.

    Attributes:
        counted: the digest of the file of its contingency, as its record has it, which was found intact; then that of
            the counts that the matching is fitted on, where they are others, or of what clusters are named by.
        classes: the classes.
        matching: the name of the matching.
    """

    counted: tuple[str, ...]
    classes: ClassTable
    matching: str

    @cached_property
    def digest(self) -> str:
        """Under which the score is kept."""
        return _sha(json.dumps([self.counted, self.classes.raw_ids, self.matching]).encode())


class KeptScores:
    """The scores that a store keeps, read once.

    Args:
        folder: ``scores/`` of the store; it need not exist. None: of a store that is not written, which keeps none.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = None if folder is None else folder / CODE
        self._new: dict[str, Any] = {}

    def find(self, key: ScoreKey) -> Scores | None:
        """The scores of a key, or None."""
        known = self._new.get(key.digest) or self._kept.get(key.digest)
        return None if known is None else _read(known, key.classes)

    def add(self, key: ScoreKey, scores: Scores) -> None:
        """Take in scores that were just computed; ``save`` keeps them."""
        self._new[key.digest] = _written(scores)

    def save(self) -> None:
        """Keep what is new. Where the store cannot be written they are computed again next time."""
        if not self._new or self._folder is None:
            return
        try:
            _write(self._folder, self._new)
            if len(names := _files(self._folder)) > MOST_FILES:
                self._merge(self._folder, names)
        except (StoreError, OSError) as error:
            logger.info("scores are not kept: %s", error)
        self._kept.update(self._new)
        self._new = {}

    @cached_property
    def _kept(self) -> dict[str, Any]:
        return {} if self._folder is None else _read_files(self._folder, _files(self._folder))

    def _merge(self, folder: Path, names: list[str]) -> None:
        """Make one file of many. What another process adds meanwhile stays: only what was read is removed."""
        merged = _write(folder, _read_files(folder, names))
        for name in names:
            if name != merged:
                (folder / name).unlink(missing_ok=True)


def _files(folder: Path) -> list[str]:
    try:
        return [name for name in names_in(folder) if name.endswith(".json")]
    except StoreError as error:  # then all is computed
        logger.info("kept scores are not read: %s", error)
        return []


def _read_files(folder: Path, names: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in names:
        try:
            content = (folder / name).read_bytes()
        except OSError:  # merged by another process, or not ours to read: what it had is computed again
            continue
        if name == f"{_sha(content)}.json":
            found |= json.loads(content)
    return found


def _write(folder: Path, scores: Mapping[str, Any]) -> str:
    content = json.dumps(scores, sort_keys=True).encode()
    name = f"{_sha(content)}.json"
    write_bytes(folder / name, content)
    return name


def _written(scores: Scores) -> dict[str, Any]:
    """Scores as JSON values, bit for bit; the names of the classes are part of what was asked."""
    found = {name: getattr(scores, name) for name in _ARRAYS}
    arrays = {name: array.astype(_ARRAYS[name]).tobytes() for name, array in found.items() if array is not None}
    texts = {name: base64.b64encode(content).decode() for name, content in arrays.items()}
    return {**texts, "numbers": [getattr(scores, name) for name in _NUMBERS]}


def _read(written: Mapping[str, Any], classes: ClassTable) -> Scores:
    arrays: dict[str, Any] = {
        name: np.frombuffer(base64.b64decode(written[name]), dtype=kind).astype(kind.replace("<", "="))
        for name, kind in _ARRAYS.items()
        if name in written
    }
    arrays.setdefault("matching", None)  # of which each image has its own
    return Scores(classes=tuple(classes.classes), **arrays, **dict(zip(_NUMBERS, written["numbers"], strict=True)))
