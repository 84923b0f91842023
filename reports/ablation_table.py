"""The ablation table: what each change does to the baseline, paired by seed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from spectral_bench.reports.ablations import Ablation, Compared, ablations, baseline_texts, compare
from spectral_bench.reports.cells import score_cell
from spectral_bench.reports.main_table import METRICS
from spectral_bench.reports.renderers.tex_escape import label
from spectral_bench.reports.rows import ScoredRow
from spectral_bench.reports.settings import SETTING_COLUMNS, CommonSettings, common_settings, setting_cells, value_text
from spectral_bench.reports.table import Cell, CellState, Column, NoteBook, Table, TableRow
from spectral_bench.results.comparison import MIN_SEEDS, Verdict, verdict
from spectral_bench.results.statistics import NO_CLAIM

COMPARED = ("mIoU", "accuracy")

COMPARED_COLUMNS = (
    *(
        column
        for key in COMPARED
        for column in (
            Column(key, METRICS[key][0], "percent", "higher", "std"),
            Column(f"{key}_difference", f"Δ {METRICS[key][0]}", "points", "higher", "interval"),
            Column(f"{key}_p", f"p, {METRICS[key][0]}", "number", machine=True),
        )
    ),
    Column("seeds_compared", "seeds", "count"),
    Column("verdict", "verdict"),
    Column("detectable", "detectable", "effect"),
    Column("more_seeds", "more seeds", "count"),
    Column("in_words", "in words", machine=True),
)
COLUMNS = (
    *(column for column in SETTING_COLUMNS if column.key != "configuration"),
    Column("configuration", "configuration", machine=True),
    Column("factor", "factor", machine=True),
    Column("change", "change"),
    *COMPARED_COLUMNS,
)


def ablation_tables(entries: Sequence[ScoredRow]) -> list[Table]:
    """A table for each baseline that has variations, in the order of the entries."""
    found = ablations(entries)
    names: list[str] = []
    for ablation in found:
        stem = label(f"ablation-{ablation.grid}")
        free = (f"{stem}-{number}" if number > 1 else stem for number in count(1))
        names.append(next(name for name in free if name not in names))
    return [_table(ablation, name) for ablation, name in zip(found, names, strict=True)]


def _table(ablation: Ablation, name: str) -> Table:
    notes = NoteBook()
    compared = compare(ablation, {key: METRICS[key][1] for key in COMPARED})
    factors = {key.strip() for _, entry in ablation.pairs for key in (entry.row.factor or "").split(",")}
    shared = common_settings([entry for _, entry in ablation.pairs], factors)
    rows = tuple(_row(index, pair, compared, shared, notes) for index, pair in enumerate(ablation.pairs))
    remark_on_differences(rows, "the baseline", notes)
    own = "; ".join(f"{factor} = {text}" for factor, text in baseline_texts(ablation).items())
    change = f"one change at a time, from {own}." if own else "one change at a time."
    caption = f"Ablation of {ablation.pairs[0][0].marked_title}: {change}"
    return Table(name, caption, COLUMNS, rows, notes.notes())


def remark_on_differences(rows: Sequence[TableRow], other: str, notes: NoteBook) -> None:
    """Say what the ``COMPARED_COLUMNS`` of some rows tell, which are compared with ``other``."""
    notes.remark(
        f"Differences to {other} in points of per cent: the mean over the seeds that both rows have, paired by "
        "seed, with the 95 % Student-t interval where there are two seeds or more. Verdicts on mIoU at the 5 % level, "
        f"corrected over the table by Holm's method; a claim needs {MIN_SEEDS} seeds."
    )
    words = {row.cells.get("verdict", Cell()).value for row in rows}
    if "undecided" in words:
        notes.remark("Detectable: the effect that would have been found with a probability of 0.8.")
    if words & {"undecided", "no claim"}:
        notes.remark(
            "More seeds: about how many would decide if difference and spread stay as they are; a dash: no number up "
            "to 1000; 0: only the correction for the size of the table stands in the way."
        )


def _row(
    index: int, pair: tuple[ScoredRow, ScoredRow], compared: Compared, shared: CommonSettings, notes: NoteBook
) -> TableRow:
    baseline, entry = pair
    cells = setting_cells(entry, notes, shared)
    is_baseline = entry is baseline
    change = "baseline" if is_baseline else f"{entry.row.factor} = {value_text(entry.row.value)}"
    cells["factor"] = Cell(value=entry.row.factor or "")
    cells["change"] = Cell(value=change, runs=entry.all_runs, marks=cells["configuration"].marks)
    cells |= compared_cells(index, pair, compared, notes)
    return TableRow(cells, ranked=entry.ranked, group="" if is_baseline else entry.row.factor or "")


def compared_cells(
    index: int, pair: tuple[ScoredRow, ScoredRow], compared: Compared, notes: NoteBook
) -> dict[str, Cell]:
    """The cells of ``COMPARED_COLUMNS`` of a row, the second of the pair: what tells it from the first, and how surely.

    Args:
        index: of the pair among those that were ``compared``.
        pair: the row that is compared with, and the row; twice the same for the former's own line.
        compared: the differences.
        notes: gets the notes of marks.
    """
    baseline, entry = pair
    is_baseline = entry is baseline
    cells: dict[str, Cell] = {}
    for key in COMPARED:
        cells[key] = score_cell(entry, METRICS[key][1], notes)
        if not is_baseline:
            cells[f"{key}_difference"] = _difference_cell(pair, (index, key), compared, notes)
            cells[f"{key}_p"] = Cell(value=compared.p.get((index, key)))
    found = compared.differences.get((index, "mIoU"))
    cells["seeds_compared"] = Cell(value=len(entry.done) if is_baseline else found.summary.n if found else 0)
    reached = verdict_on(index, pair, compared)
    if reached is not None:
        cells |= {
            "verdict": Cell(value=reached.word),
            "detectable": Cell(value=reached.detectable),
            "more_seeds": Cell(value=reached.more_seeds),
            "in_words": Cell(value=reached.sentence),
        }
    elif found is not None:
        cells |= {"verdict": Cell(value="no claim"), "in_words": Cell(value=NO_CLAIM)}
    return cells


def verdict_on(index: int, pair: tuple[ScoredRow, ScoredRow], compared: Compared) -> Verdict | None:
    """What may be said of the difference in mIoU of a pair; None without one, or where seeds are no replicates.

    Args:
        index, pair, compared: as for ``compared_cells``.
    """
    found = compared.differences.get((index, "mIoU"))
    if found is None or not all(row.replicated for row in pair):
        return None
    return verdict(found.summary, compared.p.get((index, "mIoU")))


def _difference_cell(
    pair: tuple[ScoredRow, ScoredRow], key: tuple[int, str], compared: Compared, notes: NoteBook
) -> Cell:
    baseline, entry = pair
    runs = (*entry.runs, *baseline.runs)
    if key not in compared.differences:
        text = "Not compared: evaluated on other images or scored otherwise than the baseline."
        return Cell(state=CellState.NOT_APPLICABLE, runs=runs, marks=(notes.mark(text),))
    found = compared.differences[key]
    if found is None:
        text = "No difference: no seed is finished in both this row and the baseline."
        return Cell(runs=runs, marks=(notes.mark(text),) if entry.done else ())
    summary = found.summary
    return Cell(value=summary.mean, low=summary.low, high=summary.high, n=summary.n, runs=runs)
