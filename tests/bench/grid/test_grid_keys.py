from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from spectral_bench.bench.grid.keys import (
    NO_AXIS,
    RUN_KEYS,
    RunSettings,
    Values,
    get,
    is_run_key,
    merged,
    parameter_path,
    put,
)
from spectral_bench.common.documents.document import Node, from_plain
from spectral_bench.results.specification import Features, Transform

NAMES = st.sampled_from(["k", "alpha", "tau", "dataset", "backbone", "features.views", "transform.crop", "params.beta"])


def values_of(plain: dict[str, Any]) -> Values:
    return dict(from_plain(plain, "here").items)


def plain(values: Values) -> dict[str, Any]:
    return {key: node.plain() for key, node in values.items()}


def test_a_key_is_of_the_run_or_a_parameter() -> None:
    assert all(is_run_key(key) for key in RUN_KEYS)
    assert is_run_key("features.mode")
    assert not is_run_key("k")
    assert not is_run_key("kernel.width")
    assert parameter_path("k") == ["params", "k"]
    assert parameter_path("params.k") == ["params", "k"]
    assert parameter_path("features.views") == ["features", "views"]
    assert parameter_path("kernel.width") == ["params", "kernel", "width"]


@given(NAMES, st.integers(), st.dictionaries(NAMES, st.integers(), max_size=4))
def test_what_is_put_is_got_and_nothing_else_changes(key: str, value: int, others: dict[str, int]) -> None:
    values: Values = {}
    for other, number in others.items():
        values = put(values, other, Node(number, "there"))
    before = plain(values)
    after = put(values, key, Node(value, "here"))
    found = get(after, key)
    assert found is not None
    assert (found.value, found.where) == (value, "here")
    assert plain(values) == before
    for other, number in others.items():
        same_place = parameter_path(other) == parameter_path(key)
        kept = get(after, other)
        assert kept is not None
        assert kept.value == (value if same_place else number)


def test_what_is_not_stated_is_none() -> None:
    values = values_of({"params": {"k": 3}, "dataset": "camvid"})
    assert get(values, "alpha") is None
    assert get(values, "features.views") is None
    assert get(values, "dataset.x") is None
    assert get({}, "k") is None


def test_params_are_merged_key_by_key_and_all_else_as_a_whole() -> None:
    defaults = values_of({"params": {"k": 1, "alpha": 2}, "features": {"views": 3}, "dataset": "a"})
    own = values_of({"params": {"k": 9}, "features": {"mode": "online"}})
    assert plain(merged(defaults, own)) == {
        "params": {"k": 9, "alpha": 2},
        "features": {"mode": "online"},
        "dataset": "a",
    }
    assert plain(merged(defaults, {})) == plain(defaults)
    assert plain(merged({}, own)) == plain(own)


def test_a_merged_parameter_keeps_its_own_place() -> None:
    defaults = {"params": from_plain({"k": 1, "alpha": 2}, "f:2", "defaults.params")}
    own = {"params": from_plain({"k": 9}, "f:7", "runs[0].params")}
    together = merged(defaults, own)["params"]
    assert together.items["k"].where == "f:7"
    assert together.items["alpha"].where == "f:2"
    assert together.items["alpha"].path == "defaults.params.alpha"


def test_bad_params_are_left_as_they_are_for_the_check() -> None:
    values = merged(values_of({"params": {"k": 1}}), values_of({"params": 3}))
    assert plain(values) == {"params": 3}


def test_defaults_of_a_run() -> None:
    settings = RunSettings(method="m")
    assert settings.features == Features()
    assert (settings.split, settings.train_split, settings.train_dataset) == ("val", "train", None)
    assert (settings.subset, settings.eval_subset, settings.precision) == (None, None, "float32")
    assert settings.transform == "evaluation"


def test_every_key_says_what_it_is() -> None:
    described = {key: field.description for key, field in RunSettings.model_fields.items()}
    assert all(described.values()), described


def test_a_transform_is_a_name_or_a_mapping() -> None:
    assert RunSettings(method="m", transform={"crop": 32}).transform == Transform(crop=32)
    assert RunSettings(method="m", transform="paper").transform == "paper"
    with pytest.raises(ValidationError):
        RunSettings(method="m", transform="other")


def test_keys_that_cannot_be_multiplied_are_keys_of_a_run() -> None:
    assert set(NO_AXIS) <= set(RUN_KEYS)
