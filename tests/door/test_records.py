from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

import spectral_bench as sb
from spectral_bench.common.errors import StoreError, UserError

FIXTURES = Path(__file__).parents[1] / "results" / "fixtures"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, since who reads scores keeps them in the store."""
    return shutil.copytree(sorted(FIXTURES.glob("store_v*"))[0], tmp_path_factory.mktemp("records") / "store")


@pytest.fixture(scope="module")
def frame(store: Path) -> pd.DataFrame:
    return sb.load_records(store)


def test_a_row_a_run_and_protocol_with_real_types(frame: pd.DataFrame) -> None:
    assert not frame.duplicated(["grid", "title", "protocol", "seed"]).any()
    assert pd.api.types.is_integer_dtype(frame["seed"])
    assert pd.api.types.is_float_dtype(frame["mIoU"])
    assert pd.api.types.is_integer_dtype(frame["k"])
    assert frame.loc[frame["state"] == "done", "mIoU"].between(0, 1).all()
    assert frame.loc[frame["state"] != "done", "mIoU"].isna().all()


def test_means_are_those_of_the_report(frame: pd.DataFrame, store: Path) -> None:
    from spectral_bench.reports import build_tables
    from spectral_bench.results.store import Store

    table = build_tables(Store.open(store))[0]
    means = frame[frame["state"] == "done"].groupby("title")["mIoU"].mean() * 100
    told = {row.cells["configuration"].value: row.cells["mIoU"].value for row in table.rows}
    assert means.to_dict() == pytest.approx({title: told[title] for title in means.index})
    assert len(means) > 0


def test_errors(store: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        sb.load_records(tmp_path / "gone")
    with pytest.raises(UserError, match="protocol"):
        sb.load_records(store, protocol="whol")


def test_a_capsule_is_packed_and_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spectral_bench.reports.capsule.rendered", lambda _, form: form.encode())
    store = Path(shutil.copytree(sorted(FIXTURES.glob("store_v*"))[-1], tmp_path / "store"))
    packed = sb.pack(store, tmp_path / "capsule", matching="majority", unfinished=True)
    assert packed.capsule.report.matching == ["majority"]
    assert sb.replay(str(tmp_path / "capsule")).equal
    assert len(sb.load_records(tmp_path / "capsule")) == len(sb.load_records(store))
    (tmp_path / "capsule/report/numbers.tex").write_text("")
    assert [one.path for one in sb.replay(tmp_path / "capsule").differences] == ["report/numbers.tex"]
