"""Bold: the best rows of each column as far as the seeds can tell, or the reason why there are none."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from spectral_bench.reports.cells import Metric, score_summary, seed_values
from spectral_bench.reports.collect import alike
from spectral_bench.reports.rows import ScoredRow
from spectral_bench.reports.table import NoteBook, TableRow
from spectral_bench.results.comparison import MIN_SEEDS, common_seeds, rank

_NAMED = 4
Best = Mapping[tuple[str, str], frozenset[int]]


def emphasise(
    rows: Sequence[TableRow], entries: Sequence[ScoredRow], metrics: Mapping[str, Metric], notes: NoteBook
) -> tuple[TableRow, ...]:
    """The rows with the best cells of some columns in bold.

    Only rows without labels that saw the same data and were scored alike are compared with each other.

    Args:
        rows: one an entry.
        entries: what the rows were made of.
        metrics: column key -> metric of that column; more is better.
        notes: gets a remark that says what bold means, or why there is none.
    """
    taking_part = {
        scored_as: [index for index in members if _takes_part(entries[index])]
        for scored_as, members in alike(entries).items()
    }
    columns = {
        (scored_as, key): {index: seed_values(entries[index], metric) for index in members}
        for scored_as, members in taking_part.items()
        if len(members) > 1
        for key, metric in metrics.items()
    }
    found = rank(columns)
    outshone = _outshone(entries, {column: metrics[column[1]] for column in columns}, found.best)
    bold = {(index, key) for (group, key), best in found.best.items() if (group, key) not in outshone for index in best}
    if found.lacking:
        everybody = {index for rows_of in columns.values() for index in rows_of}
        notes.remark(_why_not([entries[index] for index in found.lacking], len(everybody)))
    elif bold:
        notes.remark(
            "Bold: the best row of a column and every row that cannot be told from it at the 5 % level "
            "(differences paired by seed, corrected over the table by Holm's method)."
        )
        _remark_on_seeds(columns.values(), notes)
    if outshone:
        notes.remark(
            "No bold in a column where a row without replicates stands above the ranked rows: nothing is known of how "
            "far apart they are beyond the seeds at hand."
        )
    keys: dict[int, set[str]] = {}
    for index, key in bold:
        keys.setdefault(index, set()).add(key)
    return tuple(_in_bold(row, keys.get(index, set())) for index, row in enumerate(rows))


def _takes_part(entry: ScoredRow) -> bool:
    return bool(entry.done) and entry.ranked and entry.replicated


def _outshone(
    entries: Sequence[ScoredRow], columns: Mapping[tuple[str, str], Metric], best: Best
) -> set[tuple[str, str]]:
    """The columns in which a row without replicates, which is not ranked, stands above the best of the others.

    Bold there would say of another row that it is the best.
    """
    groups = alike(entries)
    found = set()
    for (scored_as, key), metric in columns.items():
        alone = [entries[index] for index in groups[scored_as]]
        alone = [entry for entry in alone if entry.done and entry.ranked and not entry.replicated]
        first = [score_summary(entries[index], metric).mean for index in best.get((scored_as, key), ())]
        if first and any(score_summary(entry, metric).mean > max(first) for entry in alone):
            found.add((scored_as, key))
    return found


def _remark_on_seeds(columns: Collection[Mapping[int, Mapping[int, float]]], notes: NoteBook) -> None:
    """Say which seeds the best row was chosen by where rows have others: a printed mean may then be above the best."""
    common = {common_seeds(rows) for rows in columns if len({frozenset(values) for values in rows.values()}) > 1}
    for seeds in sorted(common):
        numbers = ", ".join(map(str, seeds))
        notes.remark(f"Rows have unlike seeds: the best one is that of the best mean over those of all ({numbers}).")


def _why_not(lacking: Sequence[ScoredRow], of: int) -> str:
    reason = f"No row is in bold: a claim needs {MIN_SEEDS} common seeds in every row"
    if len(lacking) == of:
        return f"{reason}, and no row has them."
    names = list(dict.fromkeys(entry.row.title for entry in lacking))
    listed = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    return f"{reason}, and these have fewer: {listed}."


def _in_bold(row: TableRow, keys: set[str]) -> TableRow:
    cells = {key: replace(cell, bold=True) if key in keys else cell for key, cell in row.cells.items()}
    return replace(row, cells=cells)
