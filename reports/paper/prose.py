"""Numbers in sentences against facts: what the sentence names, rows, metrics and units, says which facts are meant."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from spectral_bench.reports.paper.facts import (
    NUMBER,
    UNIT,
    UNITS,
    Fact,
    Facts,
    RowId,
    Written,
    column_keys,
    key,
    written,
)
from spectral_bench.reports.table import Kind

_MEASURES: tuple[Kind, ...] = ("percent", "points", "effect")
_SPREADS = ("std", "low", "high")
T = TypeVar("T")
_LEAST = 3  # letters of a name that a sentence may mean
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\\])|\n\s*\n")
_TOKEN = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+|Δ")
_FOUND = re.compile(
    rf"(?<![\w.,/])(?<![=<>]\s)(?<![=<>^_])(?P<number>(?:(?<![\w)])[-+])?{NUMBER.removeprefix('[-+]?')})"
    rf"(?:\s*±\s*(?P<std>{NUMBER}))?(?:\s*\[\s*(?P<low>{NUMBER})\s*,\s*(?P<high>{NUMBER})\s*\])?"
    rf"(?:[\s-]*(?P<unit>{UNIT})(?![A-Za-z]))?(?!\w|\.\d)"
)
_NO_RESULT = re.compile(
    r"(?:table|tab|figure|fig|section|sec|appendix|eq|equation|chapter|version|algorithm|page|line|step|seed)s?\.?\s*\(?$",
    re.IGNORECASE,
)
_NO_SCORE = re.compile(
    r"[\s-]*(?:×|times\b|x\b|fold\b|epoch|image|step|iteration|layer|seed|run\b|runs\b|cluster|class|patch|pixel|parameter|"
    r"GPU|million|billion|[kMB]\b|px\b|mm\b|cm\b|pt\b|nodes?\b|samples?\b)"
)
_INTERVAL = re.compile(
    r"\s*-?(?:level|significance|confidence|interval|CI\b|percentile|quantile|Student)", re.IGNORECASE
)
_WORDS_BEFORE = 15  # characters in which a metric stands before an integer that is its value


@dataclass(frozen=True)
class Claim:
    """A number of a sentence.

    Attributes:
        written: as it stands.
        offset: in the text.
        facts: that it may state.
        rows: whether the sentence names a row.
        measured: whether it says what was measured, by a metric or a unit of one.
    """

    written: Written
    offset: int
    facts: tuple[Fact, ...]
    rows: bool
    measured: bool


@dataclass(frozen=True)
class _Named:
    """What a sentence names: rows, keys of columns of measures, and where it names rows."""

    rows: set[RowId]
    metrics: set[str]
    spans: list[tuple[int, int]]


class Vocabulary:
    """What sentences call the rows and columns of some facts.

    Args:
        facts: all of them.
    """

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self._own = [fact for fact in facts.all if not fact.published]
        self.titles: dict[str, set[RowId]] = {}
        self.heads: dict[str, set[RowId]] = {}
        for fact in self._own:
            self.titles.setdefault(key(fact.title), set()).add(fact.row)
            head = re.split(r"[,(]", fact.title)[0]
            self.heads.setdefault(key(head), set()).add(fact.row)
        measures = [fact.column for fact in self._own if fact.column.kind in _MEASURES]
        self._columns: dict[str, set[str]] = {}
        for column in measures:
            for name in column_keys(column):
                self._columns.setdefault(name, set()).add(column.key)

    def of_rows(self, rows: set[RowId]) -> list[Fact]:
        """The facts of some rows."""
        return sorted((fact for row in rows for fact in self.facts.of_row[row]), key=lambda fact: fact.order)

    def claims(self, text: str) -> Iterator[Claim]:
        """The numbers of a text that may be results, sentence by sentence."""
        position = 0
        for found in [*_SENTENCE.finditer(text), None]:
            end = len(text) if found is None else found.start()
            yield from self._in_sentence(text[position:end], position)
            position = end if found is None else found.end()

    def _in_sentence(self, sentence: str, offset: int) -> Iterator[Claim]:
        if not any(char.isdigit() for char in sentence):
            return
        named = self._named_in(sentence)
        for found in _FOUND.finditer(sentence):
            if any(start <= found.start() < end for start, end in named.spans) or not _is_result(sentence, found):
                continue
            number = written(found["number"], found["unit"] or "")
            facts = self._meant(named, number.unit)
            measured = self._is_measured(named, number, sentence[: found.start()])
            rows = bool(named.rows)
            yield Claim(number, offset + found.start(), _part(facts, ""), rows, measured)
            stated = {fact.row for fact in facts if fact.is_stated_by(number)}
            own = [fact for fact in facts if fact.row in stated] or facts
            for part in (part for part in _SPREADS if found[part]):
                spread = written(found[part], number.unit)
                yield Claim(spread, offset + found.start(part), _part(own, part), rows, measured)

    def _named_in(self, sentence: str) -> _Named:
        rows, spans = _named(sentence, self.titles)
        if not rows:
            rows, _ = _named(sentence, self.heads)
        metrics, _ = _named(sentence, self._columns)
        return _Named(rows, metrics, spans)

    def _meant(self, named: _Named, unit: str) -> list[Fact]:
        """The facts that a number with this unit may state in a sentence that names these."""
        pool = self.of_rows(named.rows) if named.rows else self._own
        facts = [fact for fact in pool if _fits(fact, named.metrics, unit)]
        of_points = unit in UNITS and "points" in UNITS[unit][0]
        return [*facts, *_differences(pool, named.metrics)] if of_points and named.rows else facts

    def _is_measured(self, named: _Named, number: Written, before: str) -> bool:
        """Whether what stands around a number says what was measured; integers stand for much else."""
        measure = number.unit in UNITS and bool(set(UNITS[number.unit][0]) & set(_MEASURES))
        if number.decimals > 0:
            return bool(named.metrics) or measure
        if measure and named.rows and named.metrics:
            return True
        near = key(before[-_WORDS_BEFORE:])
        return any(name in near and columns & named.metrics for name, columns in self._columns.items())


def _part(facts: list[Fact], part: str) -> tuple[Fact, ...]:
    return tuple(fact for fact in facts if fact.part == part)


def _fits(fact: Fact, metrics: set[str], unit: str) -> bool:
    if fact.column.kind == "count":
        return False
    if unit and fact.value is not None and not fact.in_unit(unit):
        return False
    return not metrics or fact.column.key in metrics or bool(unit and fact.column.kind not in _MEASURES)


def _differences(facts: list[Fact], metrics: set[str]) -> list[Fact]:
    """The differences of the values of every two of some rows in one column."""
    values = [fact for fact in facts if fact.column.kind == "percent" and not fact.part and fact.value is not None]
    values = [fact for fact in values if not metrics or fact.column.key in metrics]
    pairs = ((a, b) for a in values for b in values if a.row != b.row and a.column_id == b.column_id)
    return [_difference(a, b) for a, b in pairs]


def _difference(a: Fact, b: Fact) -> Fact:
    value = (a.value or 0.0) - (b.value or 0.0)
    style, column = replace(a.style, unit="points"), replace(a.column, kind="points")
    return replace(a, name=f"{a.name} - {b.name}", value=value, style=style, column=column)


def _is_result(sentence: str, found: re.Match[str]) -> bool:
    """Whether a number may be a result: no reference, factor, level of an interval, or count without a unit."""
    before, after = sentence[: found.start()], sentence[found.end() :]
    if _NO_RESULT.search(before) or _NO_SCORE.match(after):
        return False
    if _INTERVAL.match(after):
        return False
    return "." in found["number"] or bool(found["unit"]) or bool(found["std"]) or bool(re.search(r"of\s*$", before))


def _named(sentence: str, names: Mapping[str, set[T]]) -> tuple[set[T], list[tuple[int, int]]]:
    """What a sentence names, the longest names first, and where; spelling and spaces between words do not count."""
    tokens = [(found.start(), found.end(), key(found[0])) for found in _TOKEN.finditer(sentence)]
    named: set[T] = set()
    spans: list[tuple[int, int]] = []
    beginnings = {name[:length] for name in names for length in range(1, len(name) + 1)}
    index = 0
    while index < len(tokens):
        text, last, meant = "", index, None
        for position in range(index, len(tokens)):
            text += tokens[position][2]
            if text not in beginnings:
                break
            if text in names and len(text) >= _LEAST:
                last, meant = position, text
        if meant is not None:
            named |= names[meant]
            spans.append((tokens[index][0], tokens[last][1]))
            index = last
        index += 1
    return named, spans
