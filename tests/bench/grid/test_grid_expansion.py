"""Expansion against itertools, which knows nothing of grids."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_bench.bench.grid.keys import ExecutorBlock
from spectral_bench.bench.grid.load import Grid, load_grid
from spectral_bench.common.errors import ConfigError

PARAMETERS = ("k", "alpha", "beta", "tau", "input", "depth")
VALUES = st.one_of(st.integers(-5, 5), st.text("abc", min_size=1, max_size=3), st.booleans())
AXIS = st.lists(VALUES, min_size=1, max_size=3, unique_by=lambda value: (type(value), value))


def expand(tmp_path: Path, document: dict[str, Any], *changes: str) -> Grid:
    path = tmp_path / "grid.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return load_grid(path, changes, lambda method: PARAMETERS)


def params(grid: Grid) -> list[dict[str, Any]]:
    return [row.settings.params for row in grid.rows]


@settings(max_examples=40)
@given(matrix=st.dictionaries(st.sampled_from(PARAMETERS), AXIS, min_size=1, max_size=4))
def test_matrix_is_the_product_with_the_first_key_slowest(
    tmp_path_factory: pytest.TempPathFactory, matrix: dict[str, list[Any]]
) -> None:
    grid = expand(tmp_path_factory.mktemp("g"), {"runs": [{"method": "m", "matrix": matrix}]})
    assert params(grid) == [dict(zip(matrix, values, strict=True)) for values in itertools.product(*matrix.values())]


@settings(max_examples=40)
@given(data=st.data(), length=st.integers(1, 3), keys=st.sets(st.sampled_from(PARAMETERS[:3]), min_size=1))
def test_zip_advances_together_and_is_the_fastest_axis(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, length: int, keys: set[str]
) -> None:
    zipped = {key: data.draw(st.lists(VALUES, min_size=length, max_size=length)) for key in sorted(keys)}
    matrix = {"depth": [1, 2]}
    grid = expand(tmp_path_factory.mktemp("g"), {"runs": [{"method": "m", "matrix": matrix, "zip": zipped}]})
    rows = list(zip(*zipped.values(), strict=True))
    assert params(grid) == [
        {"depth": depth, **dict(zip(zipped, row, strict=True))} for depth in matrix["depth"] for row in rows
    ]


@settings(max_examples=40)
@given(data=st.data())
def test_exclude_removes_exactly_the_combinations_that_it_describes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    matrix = {"k": [1, 2, 3], "input": ["a", "b"], "depth": [0, 1]}
    rule = st.fixed_dictionaries({}, optional={key: st.sampled_from(axis) for key, axis in matrix.items()})
    rules = data.draw(st.lists(rule.filter(bool), min_size=1, max_size=3))
    expected = [
        combination
        for values in itertools.product(*matrix.values())
        for combination in [dict(zip(matrix, values, strict=True))]
        if not any(all(combination[key] == value for key, value in one.items()) for one in rules)
    ]
    document = {"runs": [{"method": "m", "matrix": matrix, "exclude": rules}]}
    if expected:
        assert params(expand(tmp_path_factory.mktemp("g"), document)) == expected
    else:
        with pytest.raises(ConfigError, match="no run is left"):
            expand(tmp_path_factory.mktemp("g"), document)


@settings(max_examples=40)
@given(vary=st.dictionaries(st.sampled_from(PARAMETERS[1:]), AXIS, min_size=1, max_size=4))
def test_ablation_changes_one_thing_at_a_time(
    tmp_path_factory: pytest.TempPathFactory, vary: dict[str, list[Any]]
) -> None:
    base = {"method": "m", "params": {"k": 9, **dict.fromkeys(PARAMETERS[1:], "base")}}
    grid = expand(tmp_path_factory.mktemp("g"), {"ablate": {"base": base, "vary": vary}})
    baseline, *variations = grid.rows
    assert baseline.role == "baseline"
    assert len(variations) == sum(len(axis) for axis in vary.values())
    for row in variations:
        changed = {k for k, v in row.settings.params.items() if v != baseline.settings.params[k]}
        assert changed == {row.factor}
        assert row.settings.params[str(row.factor)] == row.value


def test_the_baselines_own_value_gives_no_second_row(tmp_path: Path) -> None:
    base = {"method": "m", "params": {"k": 64}}
    grid = expand(tmp_path, {"ablate": {"base": base, "vary": {"k": [32, 64, 128]}}})
    assert [row.value for row in grid.rows] == [None, 32, 128]


def test_keys_joined_by_commas_vary_together(tmp_path: Path) -> None:
    base = {"method": "m", "params": {"alpha": 1, "beta": 2}}
    vary = {"alpha, beta": [[1, 2], [3, 4]], "backbone": ["b"]}
    grid = expand(tmp_path, {"ablate": {"base": base, "vary": vary}})
    assert params(grid) == [{"alpha": 1, "beta": 2}, {"alpha": 3, "beta": 4}, {"alpha": 1, "beta": 2}]
    assert (grid.rows[1].factor, grid.rows[1].value) == ("alpha, beta", [3, 4])
    assert grid.rows[2].settings.backbone == "b"


def test_several_ablations_keep_each_baseline_before_its_variations(tmp_path: Path) -> None:
    blocks = [
        {"base": {"method": "m", "dataset": name, "params": {"k": 1}}, "vary": {"k": [2]}} for name in ("one", "two")
    ]
    grid = expand(tmp_path, {"ablate": blocks})
    assert [(row.role, row.settings.dataset) for row in grid.rows] == [
        ("baseline", "one"),
        ("variation", "one"),
        ("baseline", "two"),
        ("variation", "two"),
    ]


def test_run_keys_and_nested_keys_can_be_multiplied(tmp_path: Path) -> None:
    matrix = {"backbone": ["a", "b"], "features.views": [1, 2], "k": [5]}
    grid = expand(tmp_path, {"runs": [{"method": "m", "params": {"depth": 1}, "matrix": matrix}]})
    assert [(r.settings.backbone, r.settings.features.views, r.settings.params) for r in grid.rows] == [
        (name, views, {"depth": 1, "k": 5}) for name in ("a", "b") for views in (1, 2)
    ]


def test_defaults_lie_under_every_run_and_params_are_merged(tmp_path: Path) -> None:
    defaults = {"dataset": "camvid", "seeds": [1, 2], "params": {"k": 3, "depth": 4}}
    runs = [{"method": "m"}, {"method": "m", "seeds": [7], "params": {"k": 5}, "dataset": "ade20k"}]
    one, two = expand(tmp_path, {"defaults": defaults, "runs": runs}).rows
    assert (one.settings.dataset, one.settings.seeds, one.settings.params) == ("camvid", (1, 2), {"k": 3, "depth": 4})
    assert (two.settings.dataset, two.settings.seeds, two.settings.params) == ("ade20k", (7,), {"k": 5, "depth": 4})


def test_what_is_not_stated_has_the_documented_default(tmp_path: Path) -> None:
    grid = expand(tmp_path, {"runs": [{"method": "m"}]})
    settings_of_row = grid.rows[0].settings
    assert (settings_of_row.dataset, settings_of_row.backbone, settings_of_row.seeds) == (
        "synthetic",
        "efficientnet_lite0",
        (0,),
    )
    assert [one.value for one in grid.rows[0].protocols] == ["whole"]
    assert (grid.name, grid.note, grid.data_roots, grid.executor) == ("grid", "", (), ExecutorBlock())


def test_protocols_come_from_the_run_then_the_defaults_then_the_grid(tmp_path: Path) -> None:
    runs = [{"method": "m"}, {"method": "m", "protocols": ["own"]}]
    grid = expand(tmp_path, {"protocols": ["top"], "runs": runs})
    assert [[one.value for one in row.protocols] for row in grid.rows] == [["top"], ["own"]]
    grid = expand(tmp_path, {"protocols": ["top"], "defaults": {"protocols": ["shared"]}, "runs": runs})
    assert [[one.value for one in row.protocols] for row in grid.rows] == [["shared"], ["own"]]


def test_an_empty_list_of_protocols_is_none_and_not_the_default(tmp_path: Path) -> None:
    runs = [{"method": "m"}, {"method": "m", "protocols": ["own"]}]
    assert [len(row.protocols) for row in expand(tmp_path, {"protocols": [], "runs": runs}).rows] == [0, 1]
    runs = [{"method": "m"}, {"method": "m", "protocols": []}]
    assert [len(row.protocols) for row in expand(tmp_path, {"runs": runs}).rows] == [1, 0]
    assert [len(row.protocols) for row in expand(tmp_path, {"runs": runs[:1]}, "protocols=[]").rows] == [0]


def test_data_roots_are_relative_to_the_grid_and_the_executor_block_is_kept(tmp_path: Path) -> None:
    document = {"data_root": ["data", "/abs"], "executor": {"partition": "gpu"}, "runs": [{"method": "m"}]}
    grid = expand(tmp_path, document)
    assert grid.data_roots == (tmp_path / "data", Path("/abs"))
    assert grid.executor == ExecutorBlock(partition="gpu")
