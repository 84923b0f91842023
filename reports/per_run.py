"""One row a run and protocol, as a frame of pandas with real types, and as a CSV, JSON or Parquet file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from spectral_bench.common.errors import UserError
from spectral_bench.common.files import write_bytes
from spectral_bench.reports.costs import run_cost
from spectral_bench.reports.rows import ScoredRow, SeedResult

_SCORES = {
    "miou": "mIoU",
    "accuracy": "accuracy",
    "mean_accuracy": "mean_accuracy",
    "ari": "ARI",
    "nmi": "NMI",
    "clusters_in_use": "clusters_in_use",
    "n_images": "images",
}
_TEXT, _FLOAT, _INTEGER = "string", "Float64", "Int64"
# Columns that every frame has, with types that do not depend on what is finished. Parameters come after them.
TYPES = {
    **dict.fromkeys(("grid", "title", "method", "dataset", "train_dataset", "backbone"), _TEXT),
    "uses_labels": "boolean",
    **dict.fromkeys(("protocol", "matching", "classes"), _TEXT),
    "seed": _INTEGER,
    **dict.fromkeys(("run_id", "state", "reason"), _TEXT),
    "finished": "datetime64[us, UTC]",
    **dict.fromkeys(("mIoU", "accuracy", "mean_accuracy", "ARI", "NMI"), _FLOAT),
    **dict.fromkeys(("clusters_in_use", "images"), _INTEGER),
    "features_s": _FLOAT,
    "features_rss": _INTEGER,
    **dict.fromkeys(("fit_s", "base_fit_s", "evaluation_s"), _FLOAT),
    **dict.fromkeys(("peak_rss", "peak_device"), _INTEGER),
    "energy_j": _FLOAT,
}
_PARAMETER_TYPES = {bool: "boolean", int: _INTEGER, float: _FLOAT, str: _TEXT}


def per_run(entries: Sequence[ScoredRow]) -> pd.DataFrame:
    """A row a run and protocol, with the columns of ``TYPES``, then each parameter of any method by its name.

    Missing (NA) is what is not known, as the parameters of a run without a record are, and a parameter that a method
    does not have. A parameter that has the name of another column becomes ``params.NAME``; one whose values are of
    several types, no plain values, or integers beyond 64 bits is JSON text.
    """
    rows = [row for entry in entries for row in _rows(entry)]
    names = list(dict.fromkeys([*TYPES, *(name for row in rows for name in row)]))
    return pd.DataFrame({name: _column(name, [row.get(name) for row in rows]) for name in names})


def require_table_file(path: Path) -> None:
    """Refuse a file whose suffix says no form of table.

    Raises:
        UserError: lists those there are.
    """
    if path.suffix.lower() not in _WRITERS:
        raise UserError(f'{path}: unknown suffix "{path.suffix}"; expected one of {", ".join(_WRITERS)}')


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame in the form that the suffix of ``path`` says: .csv, .json, or .parquet, which keeps all types.

    Raises:
        UserError: another suffix.
        StoreError: the file cannot be written.
    """
    require_table_file(path)
    write_bytes(path, _WRITERS[path.suffix.lower()](frame))


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False, lineterminator="\n").encode()


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = BytesIO()
    frame.to_parquet(buffer, engine="pyarrow", index=False)
    return buffer.getvalue()


def _json(frame: pd.DataFrame) -> bytes:
    """A list of objects; what is missing is null, a time ISO 8601."""
    times = frame.select_dtypes("datetimetz").columns
    plain = frame.assign(**{name: frame[name].map(lambda time: time.isoformat(), na_action="ignore") for name in times})
    rows = plain.astype(object).where(plain.notna(), None).to_dict("records")
    return (json.dumps(rows, indent=1, ensure_ascii=False) + "\n").encode()


_WRITERS: dict[str, Callable[[pd.DataFrame], bytes]] = {".csv": _csv, ".json": _json, ".parquet": _parquet}


def _rows(entry: ScoredRow) -> Iterator[dict[str, Any]]:
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
            "finished": _finished(result),
            **{name: getattr(result.scores, field, None) for field, name in _SCORES.items()},
            **{name: value for name, value in asdict(run_cost(result)).items() if name in TYPES},
            **_parameters(result),
        }


def _finished(result: SeedResult) -> str | None:
    """When the last of its records was written."""
    return max((record.finished for record in (result.fit, result.evaluation) if record is not None), default=None)


def _parameters(result: SeedResult) -> dict[str, Any]:
    params = result.fit.spec.params if result.fit is not None else {}
    return {f"params.{name}" if name in TYPES else name: value for name, value in params.items()}


def _column(name: str, values: list[Any]) -> pd.Series[Any]:
    """Values of one type. ``convert_dtypes`` of pandas would make integers of scores that are 1.0."""
    if name == "finished":
        times = pd.to_datetime(pd.Series(values, dtype=object), utc=True, format="ISO8601")
        return times.astype("datetime64[us, UTC]")
    if name in TYPES:
        return pd.Series(values, dtype=TYPES[name])
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        kinds = {float}
    wide = kinds == {int} and any(value is not None and not -(2**63) <= value < 2**63 for value in values)
    if len(kinds) == 1 and kinds <= set(_PARAMETER_TYPES) and not wide:
        return pd.Series(values, dtype=_PARAMETER_TYPES[kinds.pop()])
    return pd.Series([None if one is None else json.dumps(one) for one in values], dtype=_TEXT)
