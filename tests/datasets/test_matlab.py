from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spectral_bench.common.errors import DataError
from spectral_bench.datasets.matlab import label_map_size, read_label_map

VALUES = np.array([[0, 1, 459], [7, 65535, 2]])


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("dtype", [np.uint16, np.float64, np.int32])
def test_values_come_back_whatever_their_type(tmp_path: Path, dtype: type, compress: bool) -> None:
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"LabelMap": VALUES.astype(dtype), "other": np.eye(4)}, do_compression=compress)
    read = read_label_map(path)
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, VALUES)
    assert label_map_size(path) == (2, 3)


def test_another_variable_can_be_asked_for(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"other": np.eye(4)})
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.mat", "other"), np.eye(4))


@pytest.mark.parametrize("values", [np.array([[0.5]]), np.array([[-1]]), np.array([[70000]]), np.array([["text"]])])
def test_values_that_are_no_ids_are_refused(tmp_path: Path, values: np.ndarray) -> None:
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"LabelMap": values})
    with pytest.raises(DataError, match=rf"{path}: LabelMap (holds values|has \d dim)"):
        read_label_map(path)


def test_a_stack_of_maps_is_refused(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"LabelMap": np.zeros((2, 2, 2))})
    with pytest.raises(DataError, match="LabelMap has 3 dimensions; expected 2"):
        label_map_size(tmp_path / "a.mat")


def test_a_missing_variable_lists_those_there_are(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"a": 1, "b": 2})
    with pytest.raises(DataError, match="holds no variable LabelMap; found: a, b"):
        read_label_map(tmp_path / "a.mat")


def test_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.mat: no such file"):
        read_label_map(tmp_path / "none.mat")
    (tmp_path / "text.mat").write_text("this is no MATLAB file" * 20)
    with pytest.raises(DataError, match=r"text\.mat: cannot be read as a MATLAB file"):
        label_map_size(tmp_path / "text.mat")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.integers(1, 400), st.booleans())
def test_truncated_files_give_a_data_error_or_the_values(tmp_path: Path, keep: int, compress: bool) -> None:
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"LabelMap": VALUES.astype(np.uint16)}, do_compression=compress)
    path.write_bytes(path.read_bytes()[:keep])
    try:
        np.testing.assert_array_equal(read_label_map(path), VALUES)
    except DataError as error:
        assert str(path) in str(error)  # noqa: PT017
