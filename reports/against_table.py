"""Every row against one that is named, such as k-means on the same features: differences paired by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from spectral_bench.common.errors import UserError
from spectral_bench.common.names import few, nearest
from spectral_bench.reports.ablation_table import COMPARED, COMPARED_COLUMNS, compared_cells, remark_on_differences
from spectral_bench.reports.ablations import Ablation, Compared, compare
from spectral_bench.reports.collect import distinct
from spectral_bench.reports.main_table import METRICS
from spectral_bench.reports.rows import ScoredRow
from spectral_bench.reports.settings import SETTING_COLUMNS, CommonSettings, clusters, common_settings, setting_cells
from spectral_bench.reports.table import Cell, Column, NoteBook, Table, TableRow

Pair = tuple[ScoredRow, ScoredRow]
COLUMNS = (*SETTING_COLUMNS, Column("against", "compared with", constant=True), *COMPARED_COLUMNS)
_NAMED, _LISTED = 6, 30  # titles in a remark, and in an error


@dataclass(frozen=True)
class Differences:
    """What rows differ by from those that they are compared with.

    Attributes:
        pairs: (the row that is compared with, the row), the former first with itself.
        alone: rows that are compared with none.
        compared: the differences in ``COMPARED``, by position among the pairs, corrected over all of them.
    """

    pairs: tuple[Pair, ...]
    alone: tuple[ScoredRow, ...]
    compared: Compared


def differences(entries: Sequence[ScoredRow], names: Sequence[str]) -> Differences:
    """Compare each row with the named one of the same K, data, backbone, protocol and matching.

    Arguments and errors: as for ``against_table``.
    """
    entries = distinct(entries)
    pairs, alone = _pairs(entries, _named(entries, names))
    compared = compare(Ablation("", tuple(pairs)), {key: METRICS[key][1] for key in COMPARED})
    return Differences(tuple(pairs), tuple(alone), compared)


def against_table(entries: Sequence[ScoredRow], names: Sequence[str]) -> Table:
    """Each row minus the named one of the same K, data, backbone, protocol and matching, corrected over the table.

    Args:
        entries: the rows.
        names: titles of the rows to compare with, which may have ``*``, ``?`` and ``[abc]``.

    Raises:
        UserError: a name is that of no row, or names two that would both be compared with the same rows.
    """
    notes, found = NoteBook(), differences(entries, names)
    shared = common_settings([entry for _, entry in found.pairs])
    rows = tuple(_row(index, pair, found.compared, shared, notes) for index, pair in enumerate(found.pairs))
    remark_on_differences(rows, "the row that is compared with", notes)
    if found.alone:
        titles = few(list(dict.fromkeys(entry.marked_title for entry in found.alone)), _NAMED)
        notes.remark(f"Left out, for want of a row to compare with of the same K, data and protocol: {titles}.")
    return Table("against", "Differences to a row of the same K.", COLUMNS, rows, notes.notes())


def _named(entries: Sequence[ScoredRow], names: Sequence[str]) -> list[ScoredRow]:
    titles = list(dict.fromkeys(entry.row.title for entry in entries))
    for name in names:
        if not any(_is_named(title, name) for title in titles):
            guess = nearest(name, titles)
            hint = f' did you mean "{guess}"?' if guess else ""
            # Quoted, as titles have commas of their own.
            valid = few([f'"{title}"' for title in sorted(titles)], _LISTED)
            raise UserError(f'--against: unknown row "{name}";{hint} valid: {valid or "none"}')
    return [entry for entry in entries if any(_is_named(entry.row.title, name) for name in names)]


def _is_named(title: str, name: str) -> bool:
    return title == name or fnmatchcase(title, name)


def _pairs(entries: Sequence[ScoredRow], named: Sequence[ScoredRow]) -> tuple[list[Pair], list[ScoredRow]]:
    """Each row with what it is compared with, that one first with itself; and the rows that are compared with none."""
    first: dict[tuple[object, ...], ScoredRow] = {}
    for entry in named:
        other = first.setdefault(_kind(entry), entry)
        if other is not entry:
            raise UserError(
                f'--against: "{other.row.title}" and "{entry.row.title}" are both named, and have K, data and protocol '
                f"{entry.protocol.name} in common; name one of them"
            )
    groups: dict[tuple[object, ...], list[ScoredRow]] = {}
    for entry in entries:
        groups.setdefault(_kind(entry), []).append(entry)
    pairs: list[Pair] = []
    for kind, entry in first.items():
        pairs.append((entry, entry))
        pairs += [(entry, other) for other in groups[kind] if other.all_runs != entry.all_runs]
    return pairs, [entry for kind, members in groups.items() if kind not in first for entry in members]


def _kind(entry: ScoredRow) -> tuple[object, ...]:
    """What rows have in common that can be compared: only how they cluster may differ."""
    row = entry.row
    names = (row.data_name or row.dataset, row.train_data_name or row.train_dataset, row.train_split, row.backbone)
    return (entry.protocol.model_dump_json(), clusters(entry), row.subset, row.weights, *names)


def _row(index: int, pair: Pair, compared: Compared, shared: CommonSettings, notes: NoteBook) -> TableRow:
    reference, entry = pair
    cells = setting_cells(entry, notes, shared)
    cells["against"] = Cell(value=reference.row.title, runs=reference.all_runs)
    return TableRow({**cells, **compared_cells(index, pair, compared, notes)}, ranked=entry.ranked)
