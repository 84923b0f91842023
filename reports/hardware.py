"""On what a run was timed: rows from unlike hardware must not be compared without a word."""

from __future__ import annotations

from typing import Any

from reports.collect import Entry
from reports.table import NoteBook
from results.record import FitRecord


def hardware(record: FitRecord) -> str | None:
    """The device that did the work: the GPU's name, or the CPU's with its threads; None where the record is silent."""
    device = str(record.execution.get("device") or "")
    if device.startswith("cuda"):
        return _gpu(record.environment.get("gpus"), device)
    cpu, threads = record.environment.get("cpu"), record.execution.get("threads")
    if not cpu:
        return None
    return f"{cpu}, {threads} thread{'' if threads == 1 else 's'}" if threads else str(cpu)


def entry_hardware(entry: Entry) -> str | None:
    """The hardware of a row's finished seeds; all of them, joined, where they differ."""
    names = (hardware(result.fit) for result in entry.done if result.fit is not None)
    known = sorted({name for name in names if name is not None})
    return " and ".join(known) or None


def warn_if_unlike(entries: list[Entry], notes: NoteBook) -> None:
    """Add a remark where times come from more than one kind of hardware."""
    if len({name for name in map(entry_hardware, entries) if name is not None}) > 1:
        notes.remark("Rows were timed on unlike hardware (see the column): their times and memory do not compare.")


def _gpu(gpus: Any, device: str) -> str | None:
    index = int(device.partition(":")[2] or 0)
    if not isinstance(gpus, list) or index >= len(gpus):
        return None
    name = gpus[index].get("name")
    return None if name is None else str(name)
