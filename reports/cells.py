"""Cells over seeds: means with their spread, states in words, and the notes that say which seeds are not in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from spectral_bench.reports.own_methods import NOTES, SYMBOLS
from spectral_bench.reports.rows import LABELS_SYMBOL, PER_IMAGE_SYMBOL, TEXT_SYMBOL, ScoredRow, SeedResult
from spectral_bench.reports.table import Cell, CellState, NoteBook
from spectral_bench.results.metrics import Scores
from spectral_bench.results.statistics import Summary, summarise, without_spread

_WORST_FIRST = (
    CellState.FAILED,
    CellState.NOT_CONVERGED,
    CellState.NOT_APPLICABLE,
    CellState.STALE,
    CellState.RUNNING,
    CellState.MISSING,
)
_REASON_LENGTH = 160
_MODULES = 3

TEXT_NOTE = (
    "Named by text: given the names of the classes, and no label. Matching text keeps these names; any other matches "
    "its clusters anew, by labels."
)
CALLED_NOTE = (
    "Named by text: each cluster is called as the text vector nearest to the mean of its features; no label is looked "
    "at."
)
PER_IMAGE_NOTE = (
    "Clusters are matched to classes anew in each image, by its own labels: not comparable with scores under one "
    "matching for all images."
)

Measure = Callable[[SeedResult], float | None]
Metric = Callable[[Scores], float]


def setting_cell(entry: ScoredRow, text: str | None, marks: tuple[str, ...] = ()) -> Cell:
    """A cell that says what the row is."""
    return Cell(value=text, runs=entry.all_runs, marks=marks)


def score_cell(entry: ScoredRow, metric: Metric, notes: NoteBook, scale: float = 100.0) -> Cell:
    """Mean and standard deviation of a metric over the finished seeds, times ``scale``.

    A row without a finished seed gives its state in words; one with some seeds missing carries a mark whose note
    says which and why, so that no average passes over a failure in silence.
    """
    if not entry.done:
        return Cell(state=worst_state(entry), runs=entry.all_runs, marks=incomplete_marks(entry, notes))
    summary = score_summary(entry, metric, scale)
    marks = incomplete_marks(entry, notes)
    return Cell(value=summary.mean, std=summary.std, n=summary.n, runs=entry.runs, marks=marks)


def score_summary(entry: ScoredRow, metric: Metric, scale: float = 100.0) -> Summary:
    """A metric over the finished seeds of a row with at least one; no spread where they are no replicates."""
    summary = summarise(list(seed_values(entry, metric, scale).values()))
    return summary if entry.replicated else without_spread(summary)


def seed_values(entry: ScoredRow, metric: Metric, scale: float = 100.0) -> dict[int, float]:
    """A metric of each finished seed, times ``scale``."""
    return {result.seed: scale * metric(result.scores) for result in entry.done if result.scores is not None}


def mean_cell(entry: ScoredRow, measure: Measure, marks: tuple[str, ...] = ()) -> Cell:
    """Mean and standard deviation of a cost over the finished seeds that have it."""
    found = _measured(entry, measure)
    if not found:
        return Cell(runs=entry.all_runs)
    summary = summarise(list(found.values()))
    return Cell(value=summary.mean, std=summary.std, n=summary.n, runs=tuple(found), marks=marks)


def peak_cell(entry: ScoredRow, measure: Measure, marks: tuple[str, ...] = ()) -> Cell:
    """The largest cost over the finished seeds that have it."""
    found = _measured(entry, measure)
    if not found:
        return Cell(runs=entry.all_runs)
    return Cell(value=max(found.values()), n=len(found), runs=tuple(found), marks=marks)


def seeds_cell(entry: ScoredRow, notes: NoteBook) -> Cell:
    """How many seeds the row rests on."""
    return Cell(value=len(entry.done), n=len(entry.done), runs=entry.all_runs, marks=incomplete_marks(entry, notes))


def worst_state(entry: ScoredRow) -> CellState:
    """The gravest state among the seeds that are not done; ``DONE`` where all are."""
    states = {result.state for result in entry.seeds}
    return next((state for state in _WORST_FIRST if state in states), CellState.DONE)


def incomplete_marks(entry: ScoredRow, notes: NoteBook) -> tuple[str, ...]:
    """The mark of a row whose seeds are not all done; its note counts them and says what became of the others."""
    lost = [result for result in entry.seeds if result.state is not CellState.DONE]
    if not lost:
        return ()
    fates = "; ".join(_fate(state, reason, lost) for state, reason in dict.fromkeys((r.state, r.reason) for r in lost))
    return (notes.mark(f"{len(entry.done)} of {len(entry.seeds)} seeds: {fates}."),)


def label_marks(entry: ScoredRow, notes: NoteBook) -> tuple[str, ...]:
    """The marks of a row whose method sees labels, or might (own code that has not passed), or is given names."""
    marks = [notes.mark("Uses labels; kept out of rankings.", LABELS_SYMBOL)] if entry.uses_labels else []
    if entry.named_by_text:
        called = entry.protocol.names_by_features
        marks.append(notes.mark(CALLED_NOTE if called else TEXT_NOTE, TEXT_SYMBOL))
    if entry.own_code in SYMBOLS:
        symbol = SYMBOLS[entry.own_code]
        marks.append(notes.mark(NOTES[symbol], symbol))
    return tuple(marks)


def per_image_marks(entry: ScoredRow, notes: NoteBook) -> tuple[str, ...]:
    """The mark of a row whose clusters are matched to classes in each image by itself."""
    return (notes.mark(PER_IMAGE_NOTE, PER_IMAGE_SYMBOL),) if entry.per_image else ()


def stale_marks(entry: ScoredRow, notes: NoteBook) -> tuple[str, ...]:
    """The marks of a row with seeds that rest on code that has changed since, or on other data than newer rows."""
    marks = []
    if stale := [result for result in entry.done if result.changed]:
        modules = sorted({module for result in stale for module in result.changed})
        more = f" and {len(modules) - _MODULES} more" if len(modules) > _MODULES else ""
        text = f"code changed since: {', '.join(modules[:_MODULES])}{more}"
        marks.append(notes.mark(f"Stale{_which(stale, entry)}: {text}."))
    if other := [result for result in entry.done if result.versions]:
        marks.append(notes.mark(f"Not comparable{_which(other, entry)}: saw other files of its data than newer runs."))
    return (*marks, *list_marks(entry, notes), *replicate_marks(entry, notes))


def replicate_marks(entry: ScoredRow, notes: NoteBook) -> tuple[str, ...]:
    """The mark of a row whose seeds are no replicates."""
    if entry.replicated:
        return ()
    text = "All seeds gave the same result, bit for bit: the method ignores its seed. They are one result"
    return (notes.mark(f"{text}: no spread over seeds, no interval, no claim, no rank."),)


def list_marks(entry: ScoredRow, notes: NoteBook) -> tuple[str, ...]:
    """The mark of a row with seeds that were evaluated under another class list than the one that it is scored over."""
    older = [result for result in entry.done if result.relisted]
    if not older or entry.class_table is None:
        return ()
    classes = len(entry.class_table.classes)
    text = f"Scored over today's class list ({classes} classes), which was edited after the evaluation"
    return (notes.mark(f"{text}{_which(older, entry)}."),)


def _which(results: Sequence[SeedResult], entry: ScoredRow) -> str:
    """Which seeds of a row these are, unless they are all."""
    return "" if len(results) == len(entry.done) else f" ({_seeds_words([str(result.seed) for result in results])})"


def _seeds_words(seeds: list[str]) -> str:
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(seeds)}"


def _fate(state: CellState, reason: str, lost: list[SeedResult]) -> str:
    seeds = [str(result.seed) for result in lost if (result.state, result.reason) == (state, reason)]
    short = reason if len(reason) <= _REASON_LENGTH else reason[: _REASON_LENGTH - 1] + "…"
    return f"{_seeds_words(seeds)} {state.value}" + (f" ({short})" if short else "")


def _measured(entry: ScoredRow, measure: Measure) -> dict[str, float]:
    pairs = ((result.run_id, measure(result)) for result in entry.done)
    return {run: value for run, value in pairs if value is not None}
