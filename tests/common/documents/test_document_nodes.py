from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spectral_bench.common.documents.document import Node, from_plain, join

TREES = st.recursive(
    st.integers(),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text("abc", min_size=1), below, max_size=4),
)


@given(TREES)
def test_plain_undoes_from_plain(tree: object) -> None:
    assert from_plain(tree, "here").plain() == tree


def test_paths_of_children() -> None:
    assert join("", "runs") == "runs"
    assert join("runs", 1) == "runs[1]"
    assert join("runs[1]", "k") == "runs[1].k"


def test_locate_goes_as_deep_as_it_can_and_skips_steps_that_lead_nowhere() -> None:
    root = from_plain({"a": [{"b": 1}]}, "here")
    assert root.locate(("a", 0, "b")).path == "a[0].b"
    assert root.locate(("a", "tag", 0, "b")).path == "a[0].b"
    assert root.locate(("a", 5)).path == "a"
    assert root.locate(()) is root


def test_changes_make_copies() -> None:
    root = from_plain({"a": 1, "l": [1, 2]}, "here")
    assert root.with_item("b", Node(2, "there")).plain() == {"a": 1, "l": [1, 2], "b": 2}
    assert root.without("a").plain() == {"l": [1, 2]}
    assert root.items["l"].with_element(0, Node(9, "there")).plain() == [9, 2]
    assert root.plain() == {"a": 1, "l": [1, 2]}


def test_children_of_a_scalar_are_none() -> None:
    scalar = Node(3, "here", "k")
    assert not scalar.items
    assert not scalar.elements
    assert scalar.child("a") is None
    assert scalar.child(0) is None
    assert [node.plain() for node in from_plain({"a": 1, "b": 2}, "here")] == [1, 2]
