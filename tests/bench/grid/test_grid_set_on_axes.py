"""``--set`` on an axis under ``ablate`` replaces it, or says truthfully that it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spectral_bench.bench.grid.load import load_grid
from spectral_bench.common.errors import ConfigError

TEXT = """\
ablate:
  base: {method: neuralef, params: {k: 8}}
  vary:
    k: [8, 16]
    features.views: [1, 2]
    "temperature_max, temperature_min": [[1.0, 1.0], [1.0, 0.5]]
"""
ALONE = "ablate: {base: {method: neuralef, params: {k: 8}}, vary: {k: [8, 16]}}"


def variations(tmp_path: Path, text: str, *changes: str) -> list[tuple[str | None, Any]]:
    path = tmp_path / "g.yaml"
    path.write_text(text)
    return [(row.factor, row.value) for row in load_grid(path, changes).rows]


@pytest.mark.parametrize("key", ["k", "params.k", "ablate.vary.k"])
def test_a_list_replaces_an_axis_by_whatever_name(tmp_path: Path, key: str) -> None:
    found = variations(tmp_path, ALONE, f"{key}=[32, 64]")
    assert found == [(None, None), ("k", 32), ("k", 64)]


@pytest.mark.parametrize("key", ["features.views", "ablate.vary.features.views"])
def test_a_key_with_a_dot_is_found(tmp_path: Path, key: str) -> None:
    found = variations(tmp_path, TEXT, f"{key}=[3, 4]")
    assert [value for factor, value in found if factor == "features.views"] == [3, 4]


@pytest.mark.parametrize("key", ["k", "params.k"])
def test_one_value_in_place_of_the_only_axis_leaves_the_baseline(tmp_path: Path, key: str) -> None:
    path = tmp_path / "g.yaml"
    path.write_text(ALONE)
    (row,) = load_grid(path, [f"{key}=32"]).rows
    assert (row.role, row.settings.params) == ("baseline", {"k": 32})


def test_an_ablation_without_an_axis_in_the_file_is_a_fault_still(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a mapping with the keys base"):
        variations(tmp_path, "ablate: {base: {method: neuralef}, vary: {}}", "k=3")


@pytest.mark.parametrize("key", ["temperature_max, temperature_min", "temperature_max,temperature_min"])
def test_an_axis_of_two_keys_is_replaced_as_a_whole(tmp_path: Path, key: str) -> None:
    found = variations(tmp_path, TEXT, f"{key}=[[2.0, 1.0]]")
    assert [value for factor, value in found if factor and "temperature" in factor] == [[2.0, 1.0]]


def test_one_value_for_a_key_of_two_is_in_every_row_and_in_its_title(tmp_path: Path) -> None:
    path = tmp_path / "g.yaml"
    path.write_text(TEXT)
    rows = load_grid(path, ["temperature_max=2.0"]).rows
    assert {row.settings.params["temperature_max"] for row in rows} == {2.0}
    assert [row.value for row in rows if row.factor and "temperature" in row.factor] == [[2.0, 1.0], [2.0, 0.5]]


@pytest.mark.parametrize("change", ["temperature_max=[2.0, 3.0]", "temperature_min, temperature_max=[[1.0, 2.0]]"])
def test_what_an_axis_of_two_keys_cannot_take_is_said(tmp_path: Path, change: str) -> None:
    with pytest.raises(ConfigError) as caught:
        variations(tmp_path, TEXT, change)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"--set {change}: {change.partition('=')[0]} is varied together with others, as ")
    assert f'"temperature_max, temperature_min" on {tmp_path / "g.yaml"}:6;' in line
    assert line.endswith('--set "temperature_max, temperature_min=[[...], ...]"')
