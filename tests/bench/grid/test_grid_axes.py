from __future__ import annotations

from typing import Any

import pytest

from spectral_bench.bench.grid.expansion import check_axis, combinations, values_differ
from spectral_bench.common.documents.document import Document, Place, standing_at
from spectral_bench.common.documents.problems import Problems
from spectral_bench.common.documents.reading import parse_document


def expand(entry: dict[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    problems = Problems()
    found = combinations(standing_at(Place("f:1", "runs[0]"), entry), problems)
    return [{key: part.value for key, part in one.items()} for one in found], list(problems)


def test_an_entry_without_lists_is_one_run() -> None:
    assert expand({"method": "m"}) == ([{}], [])


def test_matrix_and_zip_together() -> None:
    found, problems = expand({"matrix": {"a": [1, 2]}, "zip": {"b": [3, 4], "c": [5, 6]}})
    assert not problems
    assert found == [
        {"a": 1, "b": 3, "c": 5},
        {"a": 1, "b": 4, "c": 6},
        {"a": 2, "b": 3, "c": 5},
        {"a": 2, "b": 4, "c": 6},
    ]


def test_a_zip_may_repeat_a_value_and_a_matrix_may_not() -> None:
    assert expand({"zip": {"a": [1, 1], "b": [2, 3]}}) == ([{"a": 1, "b": 2}, {"a": 1, "b": 3}], [])
    assert expand({"matrix": {"a": [1, 1]}})[1] == ["f:1: runs[0].matrix.a[1]: the value 1 stands here twice"]


def test_values_of_different_types_are_different() -> None:
    problems = Problems()
    assert values_differ(standing_at(Place("f:1"), [1, 1.0, True, "1", None, [1], {"a": 1}]), problems)
    assert not values_differ(standing_at(Place("f:1"), [{"a": 1}, {"a": 1}]), problems)
    assert len(list(problems)) == 1


def test_excluding_a_pair_leaves_each_of_its_values() -> None:
    found, problems = expand({"matrix": {"a": [1, 2], "b": [1, 2]}, "exclude": [{"a": 1, "b": 2}]})
    assert not problems
    assert {"a": 1, "b": 1} in found
    assert {"a": 2, "b": 2} in found
    assert {"a": 1, "b": 2} not in found


def test_excluding_by_one_key_excludes_the_whole_slice() -> None:
    found, _ = expand({"matrix": {"a": [1, 2], "b": [1, 2]}, "exclude": [{"a": 1}]})
    assert found == [{"a": 2, "b": 1}, {"a": 2, "b": 2}]


def test_excluding_a_list_or_a_mapping_compares_by_value() -> None:
    matrix = {"transform": ["paper", {"crop": 32}], "tau": [[1, 2], [3]]}
    found, problems = expand({"matrix": matrix, "exclude": [{"transform": {"crop": 32}, "tau": [1, 2]}]})
    assert not problems
    assert len(found) == 3


def test_lists_of_unequal_length_are_told_with_their_lengths() -> None:
    found, problems = expand({"zip": {"a": [1], "b": [2, 3], "c": [4, 5, 6]}})
    assert problems == [
        "f:1: runs[0].zip: lists that advance together must be equally long: a has 1, b has 2, c has 3",
    ]
    assert len(found) == 1  # so that its values can be checked as well


@pytest.mark.parametrize(
    ("key", "axis", "says"),
    [
        ("k", [1], None),
        ("params.k", [1], None),
        ("name", ["a", "b"], None),
        ("features.views", [1, 2], None),
        ("alpha, beta", [[1, 2]], None),
        ("k", 1, "expected a list of values for k, such as [1, 2]"),
        ("k", [], "expected a list of values for k, such as [1, 2]"),
        ("k", {"a": 1}, "expected a list of values for k, such as [1, 2]"),
        ("seeds", [[1]], "seeds is a list of its own and belongs beside method"),
        ("seeds.0", [1], "seeds is a list of its own and belongs beside method"),
        ("params", [{}], "list the parameters themselves, without params"),
        ("alpha, protocols", [[1, ["a"]]], "protocols is a list of its own; every run is evaluated under all of them"),
    ],
)
def test_what_can_be_an_axis(key: str, axis: Any, says: str | None) -> None:
    problems = Problems()
    assert check_axis(key, standing_at(Place("f:1", "p"), axis), problems) is (says is None)
    assert list(problems) == ([] if says is None else [f"f:1: p: {says}"])


def test_positions_point_at_the_value_in_the_list() -> None:
    entry = parse_document("matrix:\n  k:\n    - 1\n    - 2\nmethod: m", "f")
    found = combinations(entry, Problems())
    assert [one["k"].place.where for one in found] == ["f:3", "f:4"]
    assert isinstance(found[0]["k"], Document)
