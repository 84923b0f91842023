"""A worker that is ended by SIGKILL at a stated moment of a real run; importable by its own processes."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spectral_bench.bench.features.cache.arrays import CacheWriter
from spectral_bench.bench.work import worker
from spectral_bench.bench.work.progress import PROGRESS_FILE, ProgressFile
from spectral_bench.datasets.contents import memory_folder

Moment = tuple[str, int]
"""A name, and the how manieth time that it comes up, counted from 1."""

_MEMORY = "hashes of contents"
"""Belong to no store, and are kept only of files that have been left alone for a while: no moment of a run."""


def carry_out(order: Path, at: Moment | None, told: Path | None) -> None:
    """Carry an order out, die at a moment, or write how often each moment came up into a file."""
    seen: Counter[str] = Counter()

    def reached(name: str) -> None:
        if name.endswith((PROGRESS_FILE, _MEMORY)):  # one has moments of its own, the other comes up or not
            return
        seen[name] += 1
        if (name, seen[name]) == at:
            os.kill(os.getpid(), signal.SIGKILL)

    _watch(Path, "replace", reached, lambda path, target: f"file {_kind(Path(target))}")  # how every file appears
    _watch(CacheWriter, "add", reached, lambda *_: "row of the feature cache")
    _watch(ProgressFile, "update", reached, lambda _, stage, *__: f"progress of {stage}")
    worker.main(order, log=False)
    if told is not None:
        told.write_text("".join(f"{name}\t{count}\n" for name, count in seen.items()))


def _watch(owner: type, name: str, reached: Callable[[str], None], moment: Callable[..., str]) -> None:
    """Report each call of a method before and after it."""
    inner = getattr(owner, name)

    def outer(*arguments: Any, **options: Any) -> Any:
        reached(f"before {moment(*arguments)}")
        result = inner(*arguments, **options)
        reached(f"after {moment(*arguments)}")
        return result

    setattr(owner, name, outer)


def _kind(path: Path) -> str:
    """What a file is, whatever hashes are in its name."""
    if path.parent == memory_folder():
        return _MEMORY
    return path.name if path.parent.name != "evaluations" else f"evaluation{path.suffix}"
