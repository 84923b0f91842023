"""``bench check-paper``: are the numbers of a paper those of a store?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from spectral_bench.bench.cli.options import DEFAULT_OUT, Against, Debug, Json, Out, Protocol, Roots, SeveralMatchings
from spectral_bench.bench.cli.output import say, show_json, show_table, tell, warn
from spectral_bench.bench.grid.load import grid_name
from spectral_bench.common.errors import UserError
from spectral_bench.common.names import few, how_many
from spectral_bench.reports.api import all_tables
from spectral_bench.reports.collect import collect
from spectral_bench.reports.paper import Checked, Checker, Finding, Paper, State, read_paper
from spectral_bench.reports.paper.facts import Fact, facts_of
from spectral_bench.reports.paper.reading import definitions_in
from spectral_bench.reports.published.table import published_table
from spectral_bench.reports.renderers.macros import render_macros
from spectral_bench.results.published import load_published
from spectral_bench.results.store import Store

_COLUMNS = ("result", "where", "paper", "store", "cell", "note")


def check_paper(
    paper: Annotated[Path, typer.Argument(help="The paper: the LaTeX file that is compiled.", metavar="PAPER.tex")],
    stores: Annotated[
        list[Path] | None,
        typer.Argument(help="Stores; default: that of --out.", metavar="STORE", show_default=False),
    ] = None,
    out: Out = DEFAULT_OUT,
    grid: Annotated[
        str | None, typer.Option("--grid", "-g", help="One grid, by name or file; default: all.", metavar="GRID")
    ] = None,
    protocol: Protocol = None,
    matching: SeveralMatchings = None,
    against: Against = None,
    data_root: Roots = None,
    listed: Annotated[bool, typer.Option("--list", help="List what agrees too.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Look up the numbers of a paper in a store: those of macros, of pasted tables, and of sentences.

    Exit code 0: all that were looked up agree; 1: one differs or is not found; 2: bad input, or none to look up.
    """
    read = read_paper(paper)
    chosen = {"grid": None if grid is None else grid_name(grid), "protocol": protocol, "matching": matching}
    checked = _checker([Store.open(store) for store in stores or [out]], chosen, against or ()).check(read)
    if not checked.findings:
        raise UserError(f"{paper}: no number in it names anything of these tables; see bench report for their rows")
    failed = bool(_told(checked, everything=False)) or bool(read.unread)
    if as_json:
        show_json(_json(paper, read, checked))
    else:
        _show(paper, read, checked, everything=listed)
    return 1 if failed else 0


def _checker(stores: Sequence[Store], chosen: dict[str, Any], against: Sequence[str]) -> Checker:
    facts: list[Fact] = []
    macros: dict[str, list[str]] = {}
    for number, store in enumerate(stores):
        entries = collect(store, **chosen)
        if not entries:
            continue
        tables = [*all_tables(entries, against=against), published_table(entries, load_published(), ())]
        # The measured rows beside published ones are those of the other tables once more.
        facts += (fact for fact in facts_of(tables, number) if fact.published or fact.table != tables[-1].name)
        for name, text in definitions_in(render_macros(tables)):
            macros.setdefault(name, []).append(text)
    return Checker(facts, macros)


def _told(checked: Checked, *, everything: bool) -> list[Finding]:
    return [one for one in checked.findings if everything or one.state is not State.AGREES]


def _show(path: Path, paper: Paper, checked: Checked, *, everything: bool) -> None:
    told = _told(checked, everything=everything)
    if told:
        rows = [(one.state.value, _place(one, path), one.paper, one.store, one.name, one.note) for one in told]
        show_table(_COLUMNS, rows, right=("paper", "store"), footnotes="note")
        say("")
    for place, name in paper.unread:
        warn(f"{place}: {name} is not there, so nothing in it was looked up")
    if checked.unused:
        tell(f"not used, and not as in today's numbers.tex: {few(checked.unused)}")
    counts = Counter(one.state for one in checked.findings)
    found = ", ".join(f"{counts[state]} {_words(state, counts[state])}" for state in State)
    tell(f"{how_many(len(checked.findings), 'number')} looked up: {found}")
    by_value = sum(one.note != "" for one in checked.findings if one.state is State.AGREES)
    if by_value:
        tell(f"{by_value} of them agree by value alone: what they stand for is not said beside them (--list)")
    left = [f"{checked.passed_over} others name nothing of these tables"] if checked.passed_over else []
    left += [f"{how_many(paper.ignored, 'line')} left out by a comment"] if paper.ignored else []
    if left:
        tell("not looked up: " + "; ".join(left))


def _words(state: State, count: int) -> str:
    verbs = {State.AGREES: ("agrees", "agree"), State.DIFFERS: ("differs", "differ")}
    return verbs.get(state, ("not found", "not found"))[count != 1]


def _place(finding: Finding, paper: Path) -> str:
    """The file as it is seen from the paper, and the line."""
    file = finding.place.file
    shown = file.relative_to(paper.parent) if file.is_relative_to(paper.parent) else file
    return f"{shown}:{finding.place.line}"


def _json(path: Path, paper: Paper, checked: Checked) -> dict[str, Any]:
    return {
        "paper": str(path),
        "counts": dict(Counter(one.state.value for one in checked.findings)),
        "numbers": [
            {
                "state": one.state.value,
                "kind": one.kind,
                "file": str(one.place.file),
                "line": one.place.line,
                "paper": one.paper,
                "store": one.store,
                "cell": one.name,
                "note": one.note,
                "runs": list(one.runs),
            }
            for one in checked.findings
        ],
        "unused": list(checked.unused),
        "not_read": [{"file": str(place.file), "line": place.line, "name": name} for place, name in paper.unread],
        "passed_over": checked.passed_over,
        "ignored_lines": paper.ignored,
    }
