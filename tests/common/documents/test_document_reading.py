from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectral_bench.common.documents.document import Place
from spectral_bench.common.documents.reading import MAX_NODES, parse_document, parse_value, read_document
from spectral_bench.common.errors import ConfigError

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**9), 10**9), st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12),
)  # fmt: skip
KEYS = st.text("abcdefgh_", min_size=1, max_size=6)
TREES = st.recursive(
    SCALARS,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(KEYS, children, max_size=4),
    max_leaves=12,
)


@given(TREES)
def test_json_is_read_as_what_it_says(tree: object) -> None:
    # Not PyYAML's own dump: by YAML 1.1 it leaves texts such as 0E0, which are numbers here, without quotes.
    assert parse_value(json.dumps(tree, ensure_ascii=False)) == tree


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1.", 1.0),
        ("-2", -2),
        ("010", 10),
        ("1_000", 1000),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("12:30", "12:30"),
        ("2020-01-01", "2020-01-01"),
        ("0x10", "0x10"),
        ('"1"', "1"),
        ("~", None),
        ("", None),
        ("[1, [2]]", [1, [2]]),
    ],
)
def test_scalars_are_read_as_people_write_them(text: str, value: object) -> None:
    found = parse_value(text)
    assert found == value
    assert type(found) is type(value)


def test_every_value_has_its_line_and_its_path() -> None:
    root = parse_document("runs:\n  - method: kmeans\n    matrix:\n      k: [1,\n          2]\n", "g.yaml")
    k = ("runs", 0, "matrix", "k")
    assert root.places[k] == Place("g.yaml:4", "runs[0].matrix.k")
    assert root.places[*k, 1] == Place("g.yaml:5", "runs[0].matrix.k[1]")
    assert len(root.places) == 8


def test_an_alias_is_the_value_that_it_stands_for() -> None:
    assert parse_value("{a: &x [1, 2], b: *x}") == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: 1\nb: 2\na: 3", 3, "twice, first on f:1"),
        ("a:\n  b: 1\n  b: 2", 3, "a.b: the key stands here twice"),
        ("a: [1,\n2", 2, "not valid YAML"),
        ("a: b: c", 1, "not valid YAML"),
        ("a: !!python/object/apply:os.system [ls]", 1, "has no meaning here"),
        ("a: 1\nb: !!bool foo", 2, "the tag tag:yaml.org,2002:bool has no meaning here"),
        ("a: 1\nb: !!timestamp foo", 2, "the tag tag:yaml.org,2002:timestamp has no meaning here"),
        ("a: 1\nb: !!binary aGk=", 2, "the tag tag:yaml.org,2002:binary has no meaning here"),
        ("a: 1\nb: !!timestamp 2020-01-01", 2, "timestamp has no meaning here"),
        ("a: [1,\n!!set x]", 2, "set has no meaning here"),
        ("a: 1\n---\nb: 2", 2, "single document"),
        ("? [1]\n: 2", 1, "plain word"),
        ("a: &x {b: 1}\nc:\n  <<: *x", 3, "c: merge keys (<<) are not supported"),
        ("a: &x [*x]", 1, "an alias that contains itself"),
    ],
)
def test_what_is_no_valid_document_is_refused_with_its_line(text: str, line: int, says: str) -> None:
    with pytest.raises(ConfigError, match=r"^f:") as caught:
        parse_document(text, "f")
    assert str(caught.value).startswith(f"f:{line}: ")
    assert says in str(caught.value)


def test_an_alias_bomb_is_refused_before_it_fills_the_memory() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(ConfigError, match=str(MAX_NODES)):
        parse_document("\n".join(lines), "f")


@pytest.mark.parametrize("text", ["[" * 5000, "a: \x00", "!!int x"])
def test_broken_text_is_a_user_error(text: str) -> None:
    with pytest.raises(ConfigError, match="not valid YAML"):
        parse_document(text, "f")


def test_a_missing_file_a_folder_and_a_binary_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yaml: no such file"):
        read_document(tmp_path / "gone.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_document(tmp_path)
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"b\.yaml: expected text in UTF-8"):
        read_document(tmp_path / "b.yaml")
