"""Compute the report of a capsule anew, and compare it with the one that it holds, to the byte."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spectral_bench.common.errors import UserError
from spectral_bench.reports.capsule import PICTURES, compute, versions
from spectral_bench.results.capsule import REPORT_FOLDER, Capsule, file_digest, read_capsule
from spectral_bench.results.store import TEXTS_FOLDER, Store

What = Literal["changed", "missing", "not packed", "differs", "not recomputed", "not shipped"]


@dataclass(frozen=True)
class Difference:
    """A file that is not what it should be.

    Attributes:
        path: in the capsule.
        what: ``changed`` since it was packed; ``missing``; ``not packed``, though it lies where readers look;
            ``differs``, as it was packed, from what is computed anew; ``not recomputed``; or ``not shipped``, though it
            is computed.
        line: of a file of the report the first line that is computed otherwise, from 1; 0 where none can be told.
        shipped, replayed: that line in the capsule and as it is computed anew; None beyond the end.
    """

    path: str
    what: What
    line: int = 0
    shipped: str | None = None
    replayed: str | None = None


@dataclass(frozen=True)
class Replay:
    """What ``replay`` has found.

    Attributes:
        capsule: what its head says.
        compared: the files of the report that were computed anew, equal or not.
        pictures: files that are not computed anew; what they show is compared by the JSON file beside them.
        differences: none where all is equal.
        problem: why no report could be computed; empty where one was.
        unlike: package -> its version then and now, where they differ.
    """

    capsule: Capsule
    compared: tuple[str, ...]
    pictures: tuple[str, ...]
    differences: tuple[Difference, ...]
    problem: str
    unlike: dict[str, tuple[str | None, str | None]]

    @property
    def equal(self) -> bool:
        """Whether every file is what was packed, and the report what is computed anew."""
        return not self.differences and not self.problem


def replay(folder: Path) -> Replay:
    """Compute the report of a capsule anew and compare it with the one that it holds. Nothing is written.

    Args:
        folder: of the capsule. Neither the data, nor weights, nor a network are looked at.

    Raises:
        StoreError: it is no capsule, or a newer release made it.
    """
    folder = folder.absolute()
    capsule = read_capsule(folder)
    found = list(_changed(folder, capsule.kept))
    shipped = {path: _content(folder / path) for path in capsule.shipped}
    pictures = tuple(path for path in shipped if path.rpartition(".")[2] in PICTURES)
    report, problem = {}, ""
    try:
        report = compute(Store.open(folder), capsule.report, len(capsule.unfinished)).files
    except UserError as error:
        problem = str(error)
    for path in sorted({*shipped, *report} - set(pictures)):
        difference = _compared(path, shipped.get(path), report.get(path), capsule.files.get(path))
        if difference is not None and not (problem and difference.what == "not recomputed"):
            found.append(difference)
    rest = capsule.files.keys() - capsule.kept.keys() - (shipped.keys() - set(pictures))
    found += _changed(folder, {path: capsule.files[path] for path in sorted(rest)})
    found += [Difference(path, "not packed") for path in _strangers(folder, capsule)]
    here = versions()
    unlike = {
        name: (version, here.get(name)) for name, version in capsule.versions.items() if version != here.get(name)
    }
    return Replay(capsule, tuple(sorted(report)), pictures, tuple(found), problem, unlike)


def _changed(folder: Path, digests: Mapping[str, str]) -> Iterator[Difference]:
    for path, digest in digests.items():
        try:
            if file_digest(folder / path) != digest:
                yield Difference(path, "changed")
        except OSError:
            yield Difference(path, "missing")


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _compared(path: str, shipped: bytes | None, computed: bytes | None, digest: str | None) -> Difference | None:
    """How a file of the report is not what is computed; ``digest``: of what was packed, None where nothing was."""
    if shipped is None:
        return Difference(path, "not shipped" if digest is None else "missing")
    what: What = "differs" if hashlib.sha256(shipped).hexdigest() == digest else "changed"
    if computed is None:
        return Difference(path, "not recomputed" if what == "differs" else what)
    if shipped == computed:
        return None
    ours, theirs = (content.decode(errors="replace").split("\n") for content in (shipped, computed))
    same = next((n for n, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), None)
    line = min(len(ours), len(theirs)) if same is None else same
    told = (lines[line] if line < len(lines) else None for lines in (ours, theirs))
    return Difference(path, what, line + 1, *told)


def _strangers(folder: Path, capsule: Capsule) -> Iterator[str]:
    """Files that were not packed and lie where readers of a store look; hidden ones are looked at by nobody."""
    for place in ("grids", "records", "checks", TEXTS_FOLDER, REPORT_FOLDER):
        for path in sorted((folder / place).rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and name not in capsule.files and not path.name.startswith("."):
                yield name
