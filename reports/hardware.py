"""On what a run was timed: rows from unlike hardware must not be compared without a word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spectral_bench.reports.rows import ScoredRow
from spectral_bench.reports.table import NoteBook
from spectral_bench.results.record import FitRecord


def hardware(record: FitRecord) -> str | None:
    """The device that did the work: the GPU's name, or the CPU's with its threads; None where the record is silent."""
    device = str(record.execution.get("device") or "")
    if device.startswith("cuda"):
        return _gpu(record.environment.get("gpus"), device)
    cpu, threads = record.environment.get("cpu"), record.execution.get("threads")
    if not cpu:
        return None
    return f"{cpu}, {threads} thread{'' if threads == 1 else 's'}" if threads else str(cpu)


def entry_hardware(entry: ScoredRow) -> str | None:
    """The hardware of a row's finished seeds; all of them, joined, where they differ."""
    names = (hardware(result.fit) for result in entry.done if result.fit is not None)
    known = sorted({name for name in names if name is not None})
    return " and ".join(known) or None


def hardware_groups(entries: Sequence[ScoredRow]) -> dict[str, list[ScoredRow]]:
    """Hardware -> the finished rows that were timed on it, those without a word of it under an empty name."""
    groups: dict[str, list[ScoredRow]] = {}
    for entry in entries:
        if entry.done:
            groups.setdefault(entry_hardware(entry) or "", []).append(entry)
    return groups


def unlike_marks(entries: Sequence[ScoredRow], notes: NoteBook) -> dict[int, tuple[str, ...]]:
    """Position -> the mark for times and memory of rows on other hardware than most rows; none where all are alike.

    Of equally frequent kinds of hardware the first counts as that of most rows. Rows without a finished seed have
    nothing to mark.
    """
    groups = hardware_groups(entries)
    if len(groups) < 2:
        return {}
    usual = max(groups, key=lambda name: len(groups[name]))
    notes.remark(f"Times and memory of rows without a hardware mark: {usual or 'hardware not recorded'}.")
    marks: dict[int, tuple[str, ...]] = {}
    for index, entry in enumerate(entries):
        name = entry_hardware(entry) or ""
        if entry.done and name != usual:
            where = f"Timed on {name}" if name else "Timed on hardware that was not recorded"
            marks[index] = (notes.mark(f"{where}: not to be compared with rows of another or no such mark."),)
    return marks


def _gpu(gpus: Any, device: str) -> str | None:
    index = int(device.partition(":")[2] or 0)
    if not isinstance(gpus, list) or index >= len(gpus):
        return None
    name = gpus[index].get("name")
    return None if name is None else str(name)
