from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_samples import Outcome, add_row, miou, outcomes, write_grid

from spectral_bench.common.errors import UserError
from spectral_bench.reports.collect import collect
from spectral_bench.reports.per_run import TYPES, per_run, require_table_file, write_table
from spectral_bench.results.store import Store


@pytest.fixture
def frame(store: Store) -> pd.DataFrame:
    first = add_row(store, "first", {0: Outcome(10), 1: Outcome(20), 2: Outcome(fit_status=None)}, params={"k": 2})
    plain = {"k": 3, "level": "last", "scale": 0.5, "state": "odd", "sizes": [1, 2]}
    second = add_row(store, "second", outcomes(30), params=plain)
    third = add_row(store, "third", outcomes(40), params={"k": 4, "level": 2, "scale": 1})
    return per_run(collect(write_grid(store, first, second, third)))


def test_a_row_a_seed_with_the_scores_of_its_own(frame: pd.DataFrame) -> None:
    assert list(frame["title"]) == ["first"] * 3 + ["second", "third"]
    assert list(frame["seed"]) == [0, 1, 2, 0, 0]
    assert list(frame["state"]) == ["done", "done", "missing", "done", "done"]
    np.testing.assert_allclose(
        (100 * frame["mIoU"]).to_numpy(float, na_value=np.nan), [miou(10), miou(20), np.nan, miou(30), miou(40)]
    )


def test_columns_have_types_that_do_not_depend_on_their_values(frame: pd.DataFrame, store: Store) -> None:
    none_done = per_run(collect(write_grid(store, add_row(store, "x", {0: Outcome(fit_status=None)}), name="other")))
    for found in (frame, none_done):
        assert {name: str(found[name].dtype) for name in TYPES} == TYPES
    assert frame["finished"].iloc[0] == pd.Timestamp("2026-01-02T03:14:15", tz="UTC")
    assert frame["finished"].isna().tolist() == [False, False, True, False, False]


def test_parameters_are_columns_of_one_type_each(frame: pd.DataFrame) -> None:
    assert (str(frame["k"].dtype), str(frame["scale"].dtype)) == ("Int64", "Float64")
    assert frame["k"].dropna().tolist() == [2, 2, 3, 4]
    assert frame["level"].dropna().tolist() == ['"last"', "2"]
    assert frame["sizes"].dropna().tolist() == ["[1, 2]"]
    assert frame["params.state"].dropna().tolist() == ["odd"]


def test_integers_keep_all_their_digits(store: Store) -> None:
    given = {"k": 3, "narrow": 2**63 - 1, "wide": 2**63}
    other = {"k": 4, "narrow": 2**53 + 1}
    rows = add_row(store, "first", outcomes(10), params=given), add_row(store, "second", outcomes(20), params=other)
    frame = per_run(collect(write_grid(store, *rows)))
    assert frame["narrow"].tolist() == [2**63 - 1, 2**53 + 1]
    assert frame["wide"].dropna().tolist() == [str(2**63)]


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".PARQUET"])
def test_what_is_written_reads_back_the_same(frame: pd.DataFrame, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"runs{suffix}"
    write_table(frame, path)
    read: Any = pd.read_csv if suffix == ".csv" else pd.read_parquet
    again = read(path)
    if suffix != ".csv":
        pd.testing.assert_frame_equal(again, frame)
        return
    assert list(again) == list(frame)
    assert again["mIoU"].dropna().tolist() == frame["mIoU"].dropna().tolist()
    assert again["run_id"].tolist() == frame["run_id"].tolist()


def test_other_suffixes_are_refused_with_those_there_are(tmp_path: Path) -> None:
    for name in ("runs.xlsx", "runs"):
        with pytest.raises(UserError, match=r"expected one of \.csv, \.json, \.parquet"):
            require_table_file(tmp_path / name)
