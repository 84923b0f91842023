"""The records of a store as a table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from spectral_bench.reports.collect import Matchings, collect
from spectral_bench.reports.per_run import per_run
from spectral_bench.results.store import Store


def load_records(
    store: str | Path,
    *,
    grid: str | None = None,
    protocol: str | None = None,
    matching: Matchings = None,
) -> pd.DataFrame:
    """What a store holds: one row a run and protocol, finished or not.

    Args:
        store: the folder of the store.
        grid: the rows of this grid alone; None: all.
        protocol: this protocol alone; None: all.
        matching: score with this matching in place of each protocol's own, or with each of several, a row each; ``own``
            among them is the protocol's own.

    Returns:
        What ``bench report --per-run`` writes: a frame of real types with the columns ``grid``, ``title``,
        ``method``, ``dataset``, ``train_dataset``, ``backbone``, ``uses_labels``, ``protocol``, ``matching``,
        ``classes``, ``seed``, ``run_id``, ``state``, ``reason``, ``finished`` (UTC); the scores ``mIoU``,
        ``accuracy``, ``mean_accuracy``, ``ARI``, ``NMI`` (fractions), ``clusters_in_use`` and ``images``; the costs
        ``features_s``, ``fit_s``, ``base_fit_s``, ``evaluation_s`` (seconds), ``features_rss``, ``peak_rss`` and
        ``peak_device`` (bytes), ``energy_j`` (joules); then each parameter of any method by its name. What is not
        known is missing (NA).

    Raises:
        StoreError: there is no store, or it holds no results.
        UserError: a name is unknown.

    Example:
        >>> frame = sb.load_records("results/runs")  # doctest: +SKIP
        >>> frame.groupby("k")["mIoU"].agg(["mean", "std", "count"])  # doctest: +SKIP
    """
    entries = collect(Store.open(Path(store)), grid=grid, protocol=protocol, matching=matching)
    return per_run(entries)
