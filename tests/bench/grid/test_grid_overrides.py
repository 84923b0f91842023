from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spectral_bench.bench.grid.load import Grid, load_grid
from spectral_bench.common.errors import ConfigError

GRID = """\
name: example
defaults: {seeds: [0, 1]}
ablate:
  base: {method: net, params: {k: 64, alpha: 0.3}}
  vary:
    k: [32, 64, 128]
    alpha: [0.0, 0.3]
runs:
  - {method: means, matrix: {k: [32, 64]}}
  - {method: means, params: {k: 5}, zip: {input: [a, b], backbone: [x, y]}}
"""
PARAMETERS = {"net": ("k", "alpha", "epochs"), "means": ("k", "input")}


def parameters(method: str) -> tuple[str, ...]:
    if method not in PARAMETERS:
        raise ConfigError("unknown method")
    return PARAMETERS[method]


def load(tmp_path: Path, *changes: str, text: str = GRID) -> Grid:
    (tmp_path / "g.yaml").write_text(text)
    return load_grid(tmp_path / "g.yaml", changes, parameters)


def params(grid: Grid, key: str) -> list[Any]:
    return [row.settings.params.get(key) for row in grid.rows]


def test_without_changes(tmp_path: Path) -> None:
    assert params(load(tmp_path), "k") == [64, 32, 128, 64, 32, 64, 5, 5]


def test_a_path_into_the_file(tmp_path: Path) -> None:
    grid = load(tmp_path, "defaults.seeds=[7]", "ablate.base.params.k=16", "runs[0].matrix.k=[1, 2, 3]")
    assert {row.settings.seeds for row in grid.rows} == {(7,)}
    assert params(grid, "k") == [16, 32, 64, 128, 16, 1, 2, 3, 5, 5]


def test_a_path_makes_the_mappings_that_are_missing(tmp_path: Path) -> None:
    grid = load(tmp_path, "defaults.features.mode=online", "runs.0.params.input=z")
    assert {row.settings.features.mode for row in grid.rows} == {"online"}
    assert params(grid, "input")[4:6] == ["z", "z"]


def test_a_key_of_a_run_holds_for_every_run(tmp_path: Path) -> None:
    grid = load(tmp_path, "seeds=[5]", "features.mode=online", "dataset=camvid")
    assert {(row.settings.seeds, row.settings.features.mode, row.settings.dataset) for row in grid.rows} == {
        ((5,), "online", "camvid")
    }


def test_one_value_takes_the_place_of_every_list(tmp_path: Path) -> None:
    grid = load(tmp_path, "k=8")
    assert params(grid, "k") == [8, 8, 8, 8, 8]
    assert [row.factor for row in grid.rows] == [None, "alpha", None, None, None]
    assert params(load(tmp_path, "input=c"), "input")[-2:] == ["c", "c"]


def test_a_list_takes_the_place_of_lists_only(tmp_path: Path) -> None:
    assert params(load(tmp_path, "k=[8, 16]"), "k") == [64, 8, 16, 64, 8, 16, 5, 5]
    grid = load(tmp_path, "backbone=[p, q]")
    assert [row.settings.backbone for row in grid.rows][-2:] == ["p", "q"]


def test_a_parameter_that_the_grid_does_not_mention_is_set_where_the_method_has_it(tmp_path: Path) -> None:
    grid = load(tmp_path, "epochs=1")
    assert params(grid, "epochs") == [1, 1, 1, 1, None, None, None, None]
    assert params(load(tmp_path, "params.epochs=2"), "epochs")[0] == 2


def test_later_changes_win(tmp_path: Path) -> None:
    assert params(load(tmp_path, "epochs=1", "epochs=3"), "epochs")[0] == 3


def test_values_are_yaml(tmp_path: Path) -> None:
    grid = load(tmp_path, "alpha=1e-3", 'name="x"')
    assert params(grid, "alpha")[0] == 0.001
    assert grid.name == "x"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("epohs=1", '--set epohs=1: unknown key or parameter "epohs"; did you mean "epochs"?'),
        ("features.mod=1", '--set features.mod=1: features.mod: unknown key "mod"; did you mean "mode"?'),
        ("defaults.seds=[0]", 'defaults.seds: unknown key "seds"; did you mean "seeds"?'),
        ("runs.7.k=3", "runs is a list of 2; there is no 7 in it"),
        ("runs.x=3", "runs is a list of 2; there is no x in it"),
        ("runs[²]=3", "runs is a list of 2; there is no ² in it"),
        ("name.x=3", "name holds a single value; nothing can be set below it"),
        ("subset=none", '--set subset=none: subset: expected a whole number, got the text "none"'),
        ("seeds", "--set seeds: expected key=value"),
        ("=3", "--set =3: expected key=value"),
        ("k=[1", "--set k=[1: the value is not valid YAML"),
        ("runs=[]", None),
    ],
)
def test_bad_changes(tmp_path: Path, change: str, says: str | None) -> None:
    if says is None:
        assert len(load(tmp_path, change).rows) == 4
        return
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, change)
    assert says in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_change_can_mend_a_fault(tmp_path: Path) -> None:
    text = "runs: [{method: means, subset: none}]"
    assert load(tmp_path, "runs[0].subset=3", text=text).rows[0].settings.subset == 3


def test_an_exclusion_outlives_the_values_that_a_change_takes_away(tmp_path: Path) -> None:
    text = "runs: [{method: means, matrix: {k: [1, 2], input: [a, b]}, exclude: [{k: 1, input: a}]}]"
    assert params(load(tmp_path, "k=[2, 3]", text=text), "k") == [2, 2, 3, 3]


def test_an_unknown_method_is_left_to_the_plan(tmp_path: Path) -> None:
    text = "runs: [{method: mystery}, {method: net}]"
    grid = load(tmp_path, "epochs=2", text=text)
    assert params(grid, "epochs") == [None, 2]
