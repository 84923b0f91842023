"""Plain values with a table of places: whatever is changed, the two say the same."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from spectral_bench.common.documents.document import Document, KeyPath, Place, join, locate, place_of, standing_at

TREES = st.recursive(
    st.integers(),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text("abc", min_size=1), below, max_size=4),
)
MAPPINGS = st.dictionaries(st.sampled_from("abc"), TREES, max_size=3)
HERE, THERE = Place("here"), Place("there", "x")


def paths(value: Any, above: KeyPath = ()) -> set[KeyPath]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {above}.union(*(paths(child, (*above, key)) for key, child in children))


def consistent(document: Document) -> bool:
    return set(document.places) == paths(document.value)


@given(TREES)
def test_every_value_has_a_place_and_nothing_else_has(tree: Any) -> None:
    document = standing_at(HERE, tree)
    assert consistent(document)
    assert {place.where for place in document.places.values()} == {"here"}


@given(TREES, st.data())
def test_a_part_is_a_document_with_the_places_that_it_had(tree: Any, data: st.DataObject) -> None:
    document = standing_at(THERE, tree)
    path = data.draw(st.sampled_from(sorted(document.places, key=str)))
    part = document.part(path)
    assert consistent(part)
    assert part.value == document.get(path)
    assert part.place == document.places[path]
    assert document.with_part(path, part) == document


@given(TREES, TREES, st.data())
def test_a_part_that_is_put_takes_the_place_of_what_was_there(tree: Any, new: Any, data: st.DataObject) -> None:
    document = standing_at(HERE, tree)
    path = data.draw(st.sampled_from(sorted(document.places, key=str)))
    changed = document.with_part(path, standing_at(THERE, new))
    assert consistent(changed)
    assert changed.get(path) == new
    assert changed.places[path] == THERE
    assert document == standing_at(HERE, tree)


@given(MAPPINGS, MAPPINGS)
def test_what_is_overlaid_is_consistent_and_own_values_win(common: Any, own: Any) -> None:
    merged = standing_at(HERE, common).overlaid(standing_at(THERE, own))
    assert consistent(merged)
    for path in paths(own):
        assert merged.places[path].where == "there"
    for key in common.keys() - own.keys():
        assert merged.get((key,)) == common[key]
        assert merged.places[key,].where == "here"


def test_mappings_are_merged_where_they_are_said_to_be() -> None:
    common, own = standing_at(HERE, {"a": {"b": 1, "c": {"d": 2}}}), standing_at(THERE, {"a": {"c": {"e": 3}}})
    assert common.overlaid(own).value == {"a": {"b": 1, "c": {"d": 2, "e": 3}}}
    assert common.overlaid(own, lambda path: len(path) < 2).value == {"a": {"b": 1, "c": {"e": 3}}}
    assert common.overlaid(own, lambda path: not path).value == {"a": {"c": {"e": 3}}}


@given(MAPPINGS, st.sampled_from("abc"))
def test_a_key_that_is_left_out_leaves_no_place(tree: Any, key: str) -> None:
    left = standing_at(HERE, tree).without(key)
    assert consistent(left)
    assert left.value == {other: child for other, child in tree.items() if other != key}


def test_paths_of_children() -> None:
    assert join("", "runs") == "runs"
    assert join("runs", 1) == "runs[1]"
    assert join("runs[1]", "k") == "runs[1].k"
    assert HERE.below("runs").below(1) == Place("here", "runs[1]")


def test_the_way_goes_as_deep_as_it_can_and_skips_steps_that_lead_nowhere() -> None:
    document = standing_at(HERE, {"a": [{"b": 1}], "0": 2})
    for way, found in {
        ("a", 0, "b"): ("a", 0, "b"),
        ("a", "tag", 0, "b"): ("a", 0, "b"),
        ("a", 5): ("a",),
        (0,): (),
        (): (),
    }.items():
        assert locate(document.value, way) == (found, document.get(found))
        assert place_of(way, document.places) == document.places[found]


def test_a_value_that_is_null_is_stated() -> None:
    document = standing_at(HERE, {"a": None})
    assert document.states(("a",))
    assert not document.states(("b",))
    assert document.get(("a",)) is document.get(("b",)) is None


def test_children_of_a_scalar_are_none() -> None:
    scalar = standing_at(HERE, 3)
    assert not scalar.items
    assert not scalar.elements
    assert [part.value for part in standing_at(HERE, [1, 2]).elements] == [1, 2]
    assert {key: part.place.path for key, part in standing_at(HERE, {"a": 1}).items.items()} == {"a": "a"}
