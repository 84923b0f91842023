"""Whether a run that meets the time limit of its job again and again gets anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spectral_bench.bench.order import Order
from spectral_bench.bench.outstanding import fit_outstanding, views_outstanding
from spectral_bench.bench.progress import PROGRESS_FILE, read_progress
from spectral_bench.common.files import write_json
from spectral_bench.results.runs import CHECKPOINT_FILE
from spectral_bench.results.store import Store

Mark = tuple[int, int]
"""How far a run is for good: records stored, and the step of the fit that its checkpoint holds."""


class Limits:
    """Counts the time limits in a row that each run of a job has met without progress, across its restarts.

    Args:
        folder: of the submission.
        index: of the job in its array.
    """

    def __init__(self, folder: Path, index: int) -> None:
        self._path = folder / f"limits-{index}.json"

    def met(self, order: Order, store: Store) -> int:
        """Note that a run has met the time limit.

        Returns:
            How many it has now met in a row without progress; 0 if it has made some since the last.

        Raises:
            StoreError: the store cannot be written.
        """
        run_id = order.spec.run_id + ("-features" if order.features_only else "")
        known = self._read()
        before = known.get(run_id, {"mark": [0, 0], "count": 0})
        mark = list(mark_of(order, store))
        count = 0 if mark > before["mark"] else before["count"] + 1
        write_json(self._path, known | {run_id: {"mark": max(mark, before["mark"]), "count": count}})
        return int(count)

    def _read(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._path.read_bytes()))
        except (OSError, ValueError):
            return {}


def mark_of(order: Order, store: Store) -> Mark:
    """How far a run is for good. An extraction of features starts over each time."""
    if order.features_only:
        return 0, 0
    folder = store.run_folder(order.spec.run_id)
    fitted = not fit_outstanding(order, store)
    records = int(fitted) + len(order.views) - len(views_outstanding(order, store))
    progress = read_progress(folder / PROGRESS_FILE)
    saved = progress is not None and progress.stage == "fit" and (folder / CHECKPOINT_FILE).exists()
    return records, progress.done if saved and progress is not None else 0
