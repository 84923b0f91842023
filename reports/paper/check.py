"""Every number of a paper that is a result, held against the tables of stores."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from spectral_bench.common.names import nearest as nearest_name
from spectral_bench.reports.paper.facts import Fact, Facts, Written, nearest
from spectral_bench.reports.paper.prose import Claim, Vocabulary
from spectral_bench.reports.paper.reading import Paper, Place
from spectral_bench.reports.paper.tables import Matched, matched_numbers
from spectral_bench.reports.paper.tex import argument, plain, tables_in

_USE = re.compile(r"\\benchnumber\s*\{([^{}#]*)\}")
_ALIAS = re.compile(r"\\(?:re)?newcommand\*?\s*\{?\\([A-Za-z]+)\}?\s*\[1\]\s*\{\s*\\benchnumber\s*\{#1\}\s*\}")
_CAPTION = re.compile(r"\\caption(?:of\s*\{[^{}]*\})?\*?\s*(?:\[[^\]]*\])?(?=\{)")
_FLOAT = re.compile(r"\\(begin|end)\{(?:table|sidewaystable|wraptable|figure)\*?\}")
_BY_VALUE = "named by nothing but its value"


class State(StrEnum):
    """What became of a number that was looked up."""

    AGREES = "agrees"
    DIFFERS = "differs"
    NOT_FOUND = "not found"


@dataclass(frozen=True)
class Finding:
    """A number of a paper and what the store says.

    Attributes:
        state: whether they agree.
        kind: how the number came to be there.
        place: where it stands.
        paper: as it is written.
        store: as the store's tables show it; empty where nothing is known.
        name: of the cell, as ``\\benchnumber`` takes it; the wanted name of an unknown macro.
        note: what else to say.
        runs: behind the cell.
    """

    state: State
    kind: Literal["macro", "table", "text"]
    place: Place
    paper: str
    store: str = ""
    name: str = ""
    note: str = ""
    runs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checked:
    """What was found in a paper.

    Attributes:
        findings: in the order of the kinds, then of the paper.
        passed_over: how many numbers name nothing of the store.
        unused: numbers of the paper's copy of ``numbers.tex`` that it does not use and that are not today's.
    """

    findings: tuple[Finding, ...]
    passed_over: int
    unused: tuple[str, ...]


class Checker:
    """Holds papers against the same facts.

    Args:
        facts: of the stores.
        macros: name -> what today's ``numbers.tex`` says, of each store that has the name.
    """

    def __init__(self, facts: Iterable[Fact], macros: dict[str, list[str]]) -> None:
        self._facts = Facts(facts)
        self._words = Vocabulary(self._facts)
        self._macros = macros

    def check(self, paper: Paper) -> Checked:
        """All findings of a paper."""
        text = paper.text
        used: set[str] = set()
        findings = list(self._macro_findings(paper, text, used))
        text = _blanked(text, self._uses(text))
        passed_over = 0
        tables = list(tables_in(text))
        for table in tables:
            for matched in matched_numbers(table, _caption(text, table.start), self._facts):
                if matched.facts:
                    findings.append(_of_table(matched, paper.place(text, matched.number.offset)))
                else:
                    passed_over += 1
        prose = plain(_blanked(text, [(table.start, table.end) for table in tables]))
        for claim in self._words.claims(prose):
            found = self._of_text(claim, paper.place(prose, claim.offset))
            findings += [] if found is None else [found]
            passed_over += found is None
        stale = (
            name for name, one in paper.definitions.items() if name not in used and not self._is_todays(name, one.text)
        )
        return Checked(tuple(findings), passed_over, tuple(stale))

    def _uses(self, text: str) -> list[tuple[int, int]]:
        return [found.span() for pattern in self._patterns(text) for found in pattern.finditer(text)]

    def _patterns(self, text: str) -> list[re.Pattern[str]]:
        return [_USE, *(re.compile(rf"\\{found[1]}\s*\{{([^{{}}#]*)\}}") for found in _ALIAS.finditer(text))]

    def _macro_findings(self, paper: Paper, text: str, used: set[str]) -> Iterator[Finding]:
        uses = sorted((found.start(), found[1]) for pattern in self._patterns(text) for found in pattern.finditer(text))
        for offset, name in uses:
            used.add(name)
            yield self._of_macro(paper, name, paper.place(text, offset))

    def _of_macro(self, paper: Paper, name: str, place: Place) -> Finding:
        copy, today = paper.definitions.get(name), self._macros.get(name)
        runs = self._facts.names[name][0].runs if name in self._facts.names else ()
        if copy is None:
            return Finding(State.NOT_FOUND, "macro", place, "", _shown(today), name, "the paper defines no such number")
        if today is None:
            near = nearest_name(name, self._macros)
            hint = f"no such number today; did you mean {near}?" if near else "no such number today"
            return Finding(State.NOT_FOUND, "macro", place, plain(copy.text), "", name, hint)
        state = State.AGREES if copy.text in today else State.DIFFERS
        note = "" if state is State.AGREES else f"defined at {copy.place}"
        return Finding(state, "macro", place, plain(copy.text), _shown(today), name, note, runs)

    def _is_todays(self, name: str, text: str) -> bool:
        return text in self._macros.get(name, ())

    def _of_text(self, claim: Claim, place: Place) -> Finding | None:
        agreeing = [fact for fact in claim.facts if fact.is_stated_by(claim.written)]
        clear = claim.rows or claim.measured
        if agreeing and (clear or claim.written.decimals > 0):
            return _finding(State.AGREES, "text", place, claim.written, agreeing[0], "" if clear else _BY_VALUE)
        if not claim.measured and not (claim.rows and claim.written.decimals > 0):
            return None
        best = nearest((fact for fact in claim.facts if fact.value is not None), claim.written)
        if best is None:
            return Finding(
                State.NOT_FOUND, "text", place, _as_written(claim.written), note="no such number in the tables"
            )
        if claim.rows:
            return _finding(State.DIFFERS, "text", place, claim.written, best, "nearest of what the sentence names")
        told = f"no such number; the nearest is {best.shown} ({best.name})"
        return Finding(State.NOT_FOUND, "text", place, _as_written(claim.written), note=told)


def _shown(texts: Sequence[str] | None) -> str:
    return " or ".join(plain(text) for text in texts or ())


def _as_written(number: Written) -> str:
    return f"{number.text} {number.unit}".strip()


def _of_table(matched: Matched, place: Place) -> Finding:
    number = matched.number.written
    agreeing = next((fact for fact in matched.facts if fact.is_stated_by(number)), None)
    if agreeing is not None:
        return _finding(State.AGREES, "table", place, number, agreeing)
    best = nearest(matched.facts, number)
    assert best is not None
    return _finding(State.DIFFERS, "table", place, number, best, f"{best.title}, {best.column.label}")


def _finding(
    state: State, kind: Literal["table", "text"], place: Place, number: Written, fact: Fact, note: str = ""
) -> Finding:
    unit = f" {fact.style.unit}" if fact.style.unit and fact.value is not None else ""
    return Finding(state, kind, place, _as_written(number), f"{fact.shown}{unit}", fact.name, note, fact.runs)


def _blanked(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """The text with some parts blank, and as long as it was, line by line."""
    for start, end in spans:
        blank = "".join(char if char == "\n" else " " for char in text[start:end])
        text = text[:start] + blank + text[end:]
    return text


def _caption(text: str, offset: int) -> str:
    """The caption of the float that an offset stands in; empty where it stands in none."""
    begun = list(_FLOAT.finditer(text, 0, offset))
    if not begun or begun[-1][1] != "begin":
        return ""
    end = _FLOAT.search(text, offset)
    found = _CAPTION.search(text, begun[-1].end(), len(text) if end is None else end.start())
    return "" if found is None else plain(argument(text, found.end())[0])
