from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from spectral_bench.common.documents.document import Place
from spectral_bench.common.documents.problems import InvalidDocument, Problems, validate
from spectral_bench.common.documents.reading import parse_document
from spectral_bench.common.errors import ConfigError


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    size: tuple[int, int] | None = None
    mode: Literal["none", "exact"] = "none"


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    count: int = Field(1, ge=1)
    rate: float = 0.5
    flag: bool = False
    inner: Inner = Inner()
    items: list[Inner] = []


def problems_of(text: str, **hints: str) -> list[str]:
    document = parse_document(text, "f")
    problems = Problems(document.places)
    found = validate(Outer, document.value, problems, hints)
    assert (found is None) == bool(problems)
    return list(problems)


def test_a_valid_document_becomes_the_model() -> None:
    problems = Problems()
    found = validate(Outer, {"name": "a", "rate": 1, "inner": {"size": [3, 4]}}, problems)
    assert found == Outer(name="a", rate=1.0, inner=Inner(size=(3, 4)))
    assert not problems


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{}", 'f:1: the key "name" is missing'),
        ("name: 3", "f:1: name: expected a text, got 3"),
        ("name: a\ncount: 0", "f:2: count: expected greater than or equal to 1, got 0"),
        ('name: a\ncount: "3"', 'f:2: count: expected a whole number, got the text "3"'),
        ("name: a\ncount: 2.5", "f:2: count: expected a whole number, got 2.5"),
        ("name: a\ncount: true", "f:2: count: expected a whole number, got true"),
        ("name: a\nflag: 1", "f:2: flag: expected true or false, got 1"),
        ("name: a\nrate: fast", 'f:2: rate: expected a number, got the text "fast"'),
        ("name: a\ninner: 3", "f:2: inner: expected a mapping, got 3"),
        ("name: a\ninner: ~", "f:2: inner: expected a mapping, got nothing"),
        ("name: a\ncuont: 1", 'f:2: cuont: unknown key "cuont"; did you mean "count"?'),
        ("name: a\ninner:\n  sise: 1", 'f:3: inner.sise: unknown key "sise"; did you mean "size"? valid: mode, size'),
        ("name: a\ninner: {mode: exat}", 'f:2: inner.mode: unknown value "exat"; did you mean "exact"?'),
        ("name: a\nitems:\n  - {}\n  - {mode: no}", 'f:4: items[1].mode: unknown value "no"'),
        ("name: a\nitems: {}", "f:2: items: expected a list, got a mapping"),
        ("3", "f:1: expected a mapping (key: value), got 3"),
    ],
)
def test_each_fault_is_said_where_it_stands(text: str, line: str) -> None:
    (found,) = problems_of(text)
    assert found.startswith(line)


def test_all_faults_are_said_at_once() -> None:
    assert len(problems_of("name: 3\ncount: 0\ninner: {mode: x, size: [1]}\nzzz: 1")) == 5


def test_a_hint_says_where_a_key_belongs() -> None:
    assert problems_of("name: a\nseeds: [0]", seeds="put it elsewhere") == ["f:2: seeds: put it elsewhere"]


def test_problems_raise_in_the_order_of_the_file_and_keep_one_of_a_kind() -> None:
    problems = Problems()
    problems.check()
    for line in ("f:10: a: late", "f:9: b: early", "no place", "f:9: b: early"):
        problems.add_line(line)
    with pytest.raises(InvalidDocument) as caught:
        problems.check()
    assert caught.value.problems == ("no place", "f:9: b: early", "f:10: a: late")
    assert str(caught.value) == "no place\nf:9: b: early\nf:10: a: late"


def test_an_error_inside_a_block_becomes_a_problem_at_the_key_path() -> None:
    problems = Problems({(): Place("f:1"), ("k",): Place("f:3", "k")})
    with problems.at("k"):
        raise ConfigError("is bad")
    with problems.at("k"):
        raise InvalidDocument(("g:1: own place",))
    with problems.at(("k", "deep")):
        raise ConfigError("is bad below")
    with problems.at("gone"):
        raise ConfigError("is missing")
    with problems.at("k"):
        pass
    assert list(problems) == ["f:3: k: is bad", "g:1: own place", "f:3: k: is bad below", "f:1: is missing"]


def test_other_errors_pass_through() -> None:
    def fail() -> Any:
        with Problems({("k",): Place("f:3", "k")}).at("k"):
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        fail()


def test_problems_of_several_documents_are_one_collection() -> None:
    grid = Problems({("k",): Place("g:1", "runs[0].params.k")})
    protocol = grid.of({("k",): Place("p:7", "view.k")})
    protocol.add("k", "is bad there")
    grid.add("k", "is bad here")
    assert list(grid) == list(protocol) == ["p:7: view.k: is bad there", "g:1: runs[0].params.k: is bad here"]
