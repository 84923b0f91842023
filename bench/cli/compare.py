"""``bench compare``: two stores, or two grids, cell by cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from spectral_bench.bench.cli.options import DEFAULT_OUT, Debug, Json, Matching, Out, Protocol, Roots
from spectral_bench.bench.cli.output import say, show_json, show_table, tell
from spectral_bench.bench.grid.load import grid_name
from spectral_bench.common.errors import UserError
from spectral_bench.common.names import how_many
from spectral_bench.reports.cells import PER_IMAGE_NOTE
from spectral_bench.reports.collect import collect_together
from spectral_bench.reports.compare import Comparison, Difference, Pair, compare_entries
from spectral_bench.reports.rows import PER_IMAGE_SYMBOL, ScoredRow
from spectral_bench.results.statistics import Summary
from spectral_bench.results.store import Store

STORE_FILE = "store.json"
_TOLD_FROM_NOISE = ("better", "worse", "state changed")
_COLUMNS = ("verdict", "row", "protocol", "metric", "A", "B", "B - A", "p", "note")

What = Annotated[str, typer.Argument(help="A store (its folder), a grid of --out by name, or FOLDER:GRID.")]


def compare(
    a: What,
    b: What,
    out: Out = DEFAULT_OUT,
    protocol: Protocol = None,
    matching: Matching = None,
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0, help="How far a score may move, in points of per cent.")
    ] = 0.0,
    costs: Annotated[bool, typer.Option("--costs", help="Compare time and memory too.")] = False,
    cost_tolerance: Annotated[
        float, typer.Option("--cost-tolerance", min=0, help="How far a time or a peak of memory may move, in per cent.")
    ] = 0.0,
    same_code: Annotated[
        bool, typer.Option("--same-code", help="Take rows made by unlike code as not comparable.")
    ] = False,
    exact: Annotated[
        bool, typer.Option("--exact", help="Count every difference beyond the tolerance as a change, noise or not.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Count what cannot be compared, or is there only once, as a change.")
    ] = False,
    data_root: Roots = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Say which cells of A and B differ, by how much, and whether that can be told from noise (paired by seed).

    Exit code 0: nothing changed beyond noise and tolerance; 1: something did; 2: bad input, or nothing in common.
    """
    rows = collect_together([_resolve(reference, out) for reference in (a, b)], protocol=protocol, matching=matching)
    found = compare_entries(*rows, costs=costs, tolerance=tolerance, cost_tolerance=cost_tolerance, same_code=same_code)
    if not found.pairs:  # else "nothing changed" would be said of two stores that share nothing
        raise UserError(f"{a} and {b} have no row in common (same title, data set, backbone and protocol)")
    changed = changes(found, exact=exact, strict=strict)
    if as_json:
        show_json({"a": a, "b": b, "changed": changed > 0, **comparison_json(found)})
    else:
        _show(found, changed)
    return 1 if changed else 0


def changes(found: Comparison, *, exact: bool, strict: bool) -> int:
    """How many cells, and with ``strict`` rows without a partner, count as a change."""
    cells = found.differences
    count = len([cell for cell in cells if (cell.differs if exact else cell.word in _TOLD_FROM_NOISE)])
    if strict:
        apart = [cell for cell in cells if cell.word == "not comparable"]
        count += len(apart) + len(found.only_a) + len(found.only_b)
    return count


def comparison_json(found: Comparison) -> dict[str, Any]:
    """A comparison as JSON values."""
    return {
        "cells": [_cell_json(pair, difference) for pair in found.pairs for difference in pair.differences],
        "only_a": [_row_json(entry) for entry in found.only_a],
        "only_b": [_row_json(entry) for entry in found.only_b],
        "counts": dict(Counter(difference.word for difference in found.differences)),
    }


def _resolve(reference: str, out: Path) -> tuple[Store, str | None]:
    """The store, and the name of a grid or None for all, that a reference stands for."""
    if Path(reference).is_dir():
        return Store.open(reference), None
    folder, _, grid = reference.rpartition(":")
    if folder and Path(folder).is_dir():
        return Store.open(folder), grid
    if not (out / STORE_FILE).exists():
        raise UserError(f"{reference}: no such folder, and {out} is no store that could hold a grid of this name")
    return Store.open(out), grid_name(reference)


def _show(found: Comparison, changed: int) -> None:
    rows = [cells for pair in found.pairs for d in pair.differences if d.word != "same" for cells in [_cells(pair, d)]]
    if rows:
        show_table(_COLUMNS, rows, right=("A", "B", "B - A", "p"), footnotes="note", constant=("protocol",))
    for line in _lines(found):
        tell(line)
    counts = Counter(difference.word for difference in found.differences)
    told = ", ".join(f"{count} {word}" for word, count in counts.items())
    say(f"{how_many(len(found.differences), 'cell')} of {how_many(len(found.pairs), 'row')}: {told}")
    say(f"{changed} changed" if changed else "nothing changed beyond noise and tolerance")


def _cells(pair: Pair, difference: Difference) -> tuple[str, ...]:
    moved = difference.difference
    change = "" if moved is None else _number(moved.mean, difference, signed=True)
    if moved is not None and moved.low is not None and moved.high is not None:
        change += f" [{_number(moved.low, difference)}, {_number(moved.high, difference)}]"
    return (
        difference.word,
        f"{pair.a.row.title} {PER_IMAGE_SYMBOL}" if pair.a.per_image else pair.a.row.title,
        pair.a.protocol.name,
        _label(difference),
        _mean(difference.a, difference),
        _mean(difference.b, difference),
        change,
        "" if difference.p is None else f"{difference.p:.3g}",
        difference.reason if difference.reason != difference.word else "",
    )


def _label(difference: Difference) -> str:
    return f"{difference.label} ({_unit(difference)[1]})"


def _unit(difference: Difference) -> tuple[float, str]:
    return {"seconds": (1.0, "s"), "bytes": (1e6, "MB")}.get(difference.kind, (1.0, "%"))


def _number(value: float, difference: Difference, *, signed: bool = False) -> str:
    scaled = value / _unit(difference)[0]
    return f"{scaled:+.2f}" if signed else f"{scaled:.2f}"


def _mean(summary: Summary | None, difference: Difference) -> str:
    if summary is None:
        return "-"
    spread = "" if summary.std is None else f" ± {_number(summary.std, difference)}"
    return _number(summary.mean, difference) + spread


def _lines(found: Comparison) -> Iterator[str]:
    """What is unlike about pairs, each remark with the rows that it is about, then the rows that stand alone."""
    about: dict[str, list[str]] = {}
    for pair in found.pairs:
        for remark in pair.remarks:
            about.setdefault(remark, []).append(f"{pair.a.row.title} ({pair.a.protocol.name})")
    if any(pair.a.per_image for pair in found.pairs):
        yield f"{PER_IMAGE_SYMBOL} {PER_IMAGE_NOTE}"
    for remark, names in about.items():
        which = "all rows" if len(names) == len(found.pairs) else "; ".join(names)
        yield f"{remark}: {which}"
    for name, entries in (("A", found.only_a), ("B", found.only_b)):
        for entry in entries:
            yield f"only in {name}: {entry.row.title} ({entry.data_title}, {entry.protocol.name})"


def _cell_json(pair: Pair, difference: Difference) -> dict[str, Any]:
    told = {key: value for key, value in asdict(difference).items() if key not in ("label", "kind")}
    return {**_row_json(pair.a), "grid_b": pair.b.grid, **told, "remarks": list(pair.remarks)}


def _row_json(entry: ScoredRow) -> dict[str, Any]:
    row = entry.row
    return {
        "row": row.title,
        "dataset": row.dataset,
        "backbone": row.backbone,
        "protocol": entry.protocol.name,
        "matching": entry.protocol.scoring.matching,
        "grid": entry.grid,
    }
