from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from spectral_bench.bench.grid.keys import (
    NO_AXIS,
    RUN_KEYS,
    RunSettings,
    is_run_key,
    over_defaults,
    parameter_path,
    put,
)
from spectral_bench.common.documents.document import Document, Place, standing_at
from spectral_bench.common.documents.reading import parse_document
from spectral_bench.results.specification import Features, Transform

NAMES = st.sampled_from(["k", "alpha", "tau", "dataset", "backbone", "features.views", "transform.crop", "params.beta"])


def run_of(plain: dict[str, Any]) -> Document:
    return standing_at(Place("here"), plain)


def test_a_key_is_of_the_run_or_a_parameter() -> None:
    assert all(is_run_key(key) for key in RUN_KEYS)
    assert is_run_key("features.mode")
    assert not is_run_key("k")
    assert not is_run_key("kernel.width")
    assert parameter_path("k") == ("params", "k")
    assert parameter_path("params.k") == ("params", "k")
    assert parameter_path("features.views") == ("features", "views")
    assert parameter_path("kernel.width") == ("params", "kernel", "width")


@given(NAMES, st.integers(), st.dictionaries(NAMES, st.integers(), max_size=4))
def test_what_is_put_is_got_and_nothing_else_changes(key: str, value: int, others: dict[str, int]) -> None:
    run = run_of({})
    for other, number in others.items():
        run = put(run, other, standing_at(Place("there"), number))
    before = copy.deepcopy(run)
    after = put(run, key, standing_at(Place("here"), value))
    path = parameter_path(key)
    assert (after.get(path), after.places[path]) == (value, Place("here"))
    assert run == before
    for other, number in others.items():
        same_place = parameter_path(other) == path
        assert after.states(parameter_path(other))
        assert after.get(parameter_path(other)) == (value if same_place else number)


def test_a_mapping_on_the_way_takes_the_place_of_a_single_value() -> None:
    run = put(run_of({"features": 3}), "features.views", standing_at(Place("there"), 2))
    assert run.value == {"features": {"views": 2}}
    assert run.places["features",] == Place("there", "features")


def test_params_are_merged_key_by_key_and_all_else_as_a_whole() -> None:
    defaults = run_of({"params": {"k": 1, "alpha": 2}, "features": {"views": 3}, "dataset": "a"})
    own = run_of({"params": {"k": 9}, "features": {"mode": "online"}})
    assert over_defaults(defaults, own).value == {
        "params": {"k": 9, "alpha": 2},
        "features": {"mode": "online"},
        "dataset": "a",
    }
    assert not over_defaults(defaults, own).states(("features", "views"))
    assert over_defaults(defaults, run_of({})).value == defaults.value
    assert over_defaults(run_of({}), own).value == own.value


def test_a_merged_parameter_keeps_its_own_place() -> None:
    defaults = parse_document("dataset: a\nparams: {k: 1, alpha: 2}", "f")
    together = over_defaults(defaults, parse_document("\n\n\nparams: {k: 9}", "f"))
    assert together.places["params", "k"].where == "f:4"
    assert together.places["params", "alpha"] == Place("f:2", "params.alpha")


def test_bad_params_are_left_as_they_are_for_the_check() -> None:
    run = over_defaults(run_of({"params": {"k": 1}}), run_of({"params": 3}))
    assert run.value == {"params": 3}
    assert not run.states(("params", "k"))


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
