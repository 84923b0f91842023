"""The records of a store as a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from spectral_bench.reports.collect import Entry, SeedResult

_SCORES = {
    "miou": "mIoU",
    "accuracy": "accuracy",
    "mean_accuracy": "mean_accuracy",
    "ari": "ARI",
    "nmi": "NMI",
    "clusters_in_use": "clusters_in_use",
    "n_images": "images",
}


def load_records(
    store: str | Path,
    *,
    grid: str | None = None,
    protocol: str | None = None,
    matching: str | None = None,
) -> pd.DataFrame:
    """What a store holds: one row a run and protocol, finished or not.

    Args:
        store: the folder of the store.
        grid: the rows of this grid alone; None: all.
        protocol: this protocol alone; None: all.
        matching: score with this matching in place of each protocol's own.

    Returns:
        A frame of real types with the columns ``grid``, ``title``, ``method``, ``dataset``, ``train_dataset``,
        ``backbone``, ``uses_labels``, ``protocol``, ``matching``, ``classes``, ``seed``, ``run_id``, ``state``,
        ``reason``; the scores ``mIoU``, ``accuracy``, ``mean_accuracy``, ``ARI``, ``NMI`` (fractions),
        ``clusters_in_use`` and ``images``; the costs ``features_s``, ``fit_s``, ``base_fit_s``, ``evaluation_s``
        (seconds), ``peak_rss`` and ``peak_device`` (bytes), ``energy_j``; then each parameter of any method by its
        name. What is not known is missing (NA).

    Raises:
        StoreError: there is no store, or it holds no results.
        UserError: a name is unknown.

    Example:
        >>> frame = sb.load_records("results/runs")  # doctest: +SKIP
        >>> frame.groupby("k")["mIoU"].agg(["mean", "std", "count"])  # doctest: +SKIP
    """
    import pandas as pd

    from spectral_bench.reports.collect import collect
    from spectral_bench.results.store import Store

    entries = collect(Store.open(Path(store)), grid=grid, protocol=protocol, matching=matching)
    rows = [row for entry in entries for row in _rows(entry)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pd.DataFrame({name: _column([row.get(name) for row in rows]) for name in names})


def _column(values: list[Any]) -> pd.Series[Any]:
    """Values of one type, or missing ones. ``convert_dtypes`` of pandas would make integers of scores that are 1.0."""
    import pandas as pd

    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        kinds = {float}
    (kind,) = kinds if len(kinds) == 1 else (object,)
    dtype = {bool: "boolean", int: "Int64", float: "Float64", str: "string"}.get(kind, "object")
    return pd.Series(values, dtype=dtype)


def _rows(entry: Entry) -> Iterator[dict[str, Any]]:
    for result in entry.seeds:
        yield {
            "grid": entry.grid,
            "title": entry.row.title,
            "method": entry.row.method,
            "dataset": entry.row.dataset,
            "train_dataset": entry.row.train_dataset,
            "backbone": entry.row.backbone,
            "uses_labels": entry.uses_labels,
            "protocol": entry.protocol.name,
            "matching": entry.protocol.scoring.matching,
            "classes": entry.class_set,
            "seed": result.seed,
            "run_id": result.run_id,
            "state": result.state.value,
            "reason": result.reason,
            **_scores(result),
            **_costs(result),
            **_parameters(result),
        }


def _scores(result: SeedResult) -> dict[str, Any]:
    return {name: getattr(result.scores, field, None) for field, name in _SCORES.items()}


def _costs(result: SeedResult) -> dict[str, Any]:
    from spectral_bench.reports.costs import run_cost

    found = asdict(run_cost(result))
    return {name: value for name, value in found.items() if name != "reused"}


def _parameters(result: SeedResult) -> dict[str, Any]:
    return dict(result.fit.spec.params) if result.fit is not None else {}
