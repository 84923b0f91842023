from __future__ import annotations

from spectral_bench.bench.grid.expansion import UncheckedRow, unchecked_rows
from spectral_bench.common.documents.problems import Problems
from spectral_bench.common.documents.reading import parse_document


def rows_of(text: str) -> tuple[list[UncheckedRow], list[str]]:
    problems = Problems()
    return unchecked_rows(parse_document(text, "f"), problems), list(problems)


def test_rows_keep_the_order_of_the_file_with_ablations_first() -> None:
    found, problems = rows_of(
        "runs: [{method: a}, {method: b, matrix: {k: [1, 2]}}]\n"
        "ablate: {base: {method: c, params: {k: 1}}, vary: {k: [2]}}\n"
    )
    assert not problems
    assert [(row.values.get(("method",)), row.role) for row in found] == [
        ("c", "baseline"),
        ("c", "variation"),
        ("a", "row"),
        ("b", "row"),
        ("b", "row"),
    ]


def test_a_row_knows_where_it_comes_from() -> None:
    found, _ = rows_of(
        "ablate:\n  base: {method: c, params: {k: 1}}\n  vary:\n    k:\n      - 2\n      - 3\n"
        "runs:\n  - method: a\n  - method: b\n"
    )
    assert [row.values.place.where for row in found] == ["f:2", "f:5", "f:6", "f:8", "f:9"]
    assert [row.values.place.path for row in found][:2] == ["ablate.base", "ablate.vary.k[0]"]


def test_the_name_of_a_baseline_is_not_that_of_its_variations() -> None:
    found, _ = rows_of("ablate: {base: {method: c, name: base}, vary: {alpha: [1], name: [other]}}")
    names = [row.values.get(("name",)) for row in found]
    assert names == ["base", None, "other"]


def test_a_baseline_may_state_no_value_of_what_varies() -> None:
    found, _ = rows_of("ablate: {base: {method: c}, vary: {alpha: [0.1, 0.3]}}")
    assert [row.value for row in found] == [None, 0.1, 0.3]


def test_a_mapping_is_a_value_too() -> None:
    found, problems = rows_of(
        "ablate: {base: {method: c, transform: evaluation}, vary: {transform: [evaluation, {crop: 32, flip: true}]}}"
    )
    assert not problems
    assert [row.value for row in found] == [None, {"crop": 32, "flip": True}]


def test_joint_values_are_the_baseline_only_if_all_of_them_are() -> None:
    found, _ = rows_of("ablate: {base: {method: c, params: {a: 1, b: 2}}, vary: {'a, b': [[1, 2], [1, 3], [0, 2]]}}")
    assert [row.value for row in found] == [None, [1, 3], [0, 2]]
    assert [row.values.get(("params",)) for row in found[1:]] == [{"a": 1, "b": 3}, {"a": 0, "b": 2}]


def test_problems_of_one_block_leave_the_others_alone() -> None:
    found, problems = rows_of(
        "ablate:\n  - {base: {method: a}}\n  - {base: {method: b}, vary: {k: [1]}}\nruns: [3, {method: c}]\n"
    )
    assert [row.values.get(("method",)) for row in found] == ["b", "b", "c"]
    assert len(problems) == 2
