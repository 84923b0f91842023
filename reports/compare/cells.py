"""The difference of each cell of two sets of results, paired by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from spectral_bench.reports.cells import Measure, seed_values, worst_state
from spectral_bench.reports.compare.matching import match_rows
from spectral_bench.reports.compare.reasons import code_changes, cost_blockers, remarks, score_blockers
from spectral_bench.reports.compare.sittings import Part, Repeats, cost_repeats
from spectral_bench.reports.costs import extracted_features, run_cost
from spectral_bench.reports.main_table import METRICS
from spectral_bench.reports.peaks import in_cohort
from spectral_bench.reports.rows import ScoredRow
from spectral_bench.reports.table import Kind
from spectral_bench.results.comparison import MIN_SEEDS, verdict
from spectral_bench.results.statistics import (
    NO_CLAIM,
    PairedDifference,
    Summary,
    holm,
    paired_difference,
    summarise,
    without_spread,
)

SCORES = ("mIoU", "accuracy")

Word = Literal[
    "same", "within tolerance", "better", "worse", "undecided", "no claim", "state changed", "not comparable"
]

_BOTH: tuple[Part, ...] = ("fit", "evaluation")
_COSTS: dict[str, tuple[str, Kind, Measure, tuple[Part, ...]]] = {
    "fit_s": ("fit", "seconds", lambda result: run_cost(result).fit_s, ("fit",)),
    "evaluation_s": ("evaluation", "seconds", lambda result: run_cost(result).evaluation_s, ("evaluation",)),
    "peak_rss_bytes": ("peak RSS", "bytes", lambda result: run_cost(result).peak_rss, _BOTH),
    "peak_device_bytes": ("peak device memory", "bytes", lambda result: run_cost(result).peak_device, _BOTH),
}


@dataclass(frozen=True)
class Difference:
    """One cell in both sets. Scores are in per cent, times in seconds, memory in bytes.

    Attributes:
        metric, label, kind: what is compared.
        a, b: over the finished seeds of each set; None without one.
        difference: B minus A over what repeats it, None without a common seed: for scores the seeds that both have, for
            costs the pairs of sittings; where these allow no claim, the mean over seeds without an interval.
        p: of the difference, corrected over all compared cells by Holm's method.
        word: what may be said of it.
        reason: the verdict in a sentence, or why there is none.
    """

    metric: str
    label: str
    kind: Kind
    a: Summary | None
    b: Summary | None
    difference: Summary | None
    p: float | None
    word: Word
    reason: str = ""

    @property
    def differs(self) -> bool:
        """Whether the numbers differ by more than the tolerance, noise or not."""
        return self.word in ("better", "worse", "undecided", "no claim", "state changed")


@dataclass(frozen=True)
class Pair:
    """A row of A and the row of B that belongs to it; ``remarks`` say what is unlike about them."""

    a: ScoredRow
    b: ScoredRow
    differences: tuple[Difference, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """All pairs of two sets of results, and the rows that stand alone in one of them."""

    pairs: tuple[Pair, ...]
    only_a: tuple[ScoredRow, ...]
    only_b: tuple[ScoredRow, ...]

    @property
    def differences(self) -> list[Difference]:
        """All cells of all pairs."""
        return [difference for pair in self.pairs for difference in pair.differences]


@dataclass(frozen=True)
class _Raw:
    """A cell before its p value is corrected."""

    metric: str
    label: str
    kind: Kind
    a: dict[int, float]
    b: dict[int, float]
    blockers: tuple[str, ...]
    states: tuple[str, str]
    repeats: Repeats | None = None  # of a cost; None: a score, repeated by its seeds
    replicated: tuple[bool, bool] = (True, True)  # of A and B: whether their seeds gave unlike results

    @property
    def higher(self) -> bool:
        """Whether more is better."""
        return self.repeats is None

    def paired(self) -> PairedDifference | None:
        """B minus A over its repeats; over the seeds that both have where there are no repeats to speak of."""
        if self.repeats is None or self.repeats.reason:
            return paired_difference(self.b, self.a)
        return paired_difference(self.repeats.b, self.repeats.a)


def compare_entries(
    a: Sequence[ScoredRow],
    b: Sequence[ScoredRow],
    *,
    costs: bool = False,
    tolerance: float = 0.0,
    cost_tolerance: float = 0.0,
    same_code: bool = False,
) -> Comparison:
    """Compare two sets of rows cell by cell.

    Args:
        a, b: the rows; differences are B minus A.
        costs: compare time and memory too.
        tolerance: points of per cent that a score may move.
        cost_tolerance: per cent that a time or a peak of memory may move.
        same_code: rows that were made by unlike code cannot be compared.
    """
    matched = match_rows(a, b)
    raw = {
        (index, cell.metric): cell
        for index, (one, other) in enumerate(matched.pairs)
        for cell in _cells(one, other, costs=costs, same_code=same_code)
    }
    p = holm({key: p for key, cell in raw.items() if (p := _p(cell)) is not None})
    tolerances = {key: tolerance if cell.higher else _share(cell, cost_tolerance) for key, cell in raw.items()}
    found = {key: _judged(cell, p.get(key), tolerances[key]) for key, cell in raw.items()}
    pairs = tuple(
        Pair(one, other, tuple(d for (at, _), d in found.items() if at == index), tuple(remarks(one, other)))
        for index, (one, other) in enumerate(matched.pairs)
    )
    return Comparison(pairs, matched.only_a, matched.only_b)


def _cells(a: ScoredRow, b: ScoredRow, *, costs: bool, same_code: bool) -> list[_Raw]:
    code = [f"code: {len(code_changes(a, b))} modules differ"] if same_code and code_changes(a, b) else []
    states = (_state(a), _state(b))
    blockers = (*score_blockers(a, b), *code)
    unlike = (a.replicated, b.replicated)
    cells = [
        _Raw(key, METRICS[key][0], "points", *_scores(key, a, b), blockers, states, replicated=unlike) for key in SCORES
    ]
    if not costs:
        return cells
    blockers = (*cost_blockers(a, b), *code)
    for key, (label, kind, measure, parts) in _COSTS.items():
        counted, uneven = _of_like_runs(measure, a, b) if kind == "bytes" else (measure, ())
        values = _measured(a, counted), _measured(b, counted)
        if any(values):
            repeats = cost_repeats(a, b, counted, parts)
            cells.append(_Raw(key, label, kind, *values, (*blockers, *uneven), ("", ""), repeats))
    return cells


def _of_like_runs(measure: Measure, a: ScoredRow, b: ScoredRow) -> tuple[Measure, tuple[str, ...]]:
    """A peak of memory without the seeds that did more on one side than on the other; why none is left, if so.

    More is to extract features that others read, or to share the process with other runs.
    """
    sides = [{r.seed: (extracted_features(r), in_cohort(r)) for r in row.done} for row in (a, b)]
    common = sides[0].keys() & sides[1].keys()
    uneven = {seed for seed in common if sides[0][seed] != sides[1][seed]}
    if uneven and uneven == common:
        return measure, ("memory: only runs of one side extracted features, or shared their process",)
    return lambda result: None if result.seed in uneven else measure(result), ()


def _scores(key: str, a: ScoredRow, b: ScoredRow) -> tuple[dict[int, float], dict[int, float]]:
    return seed_values(a, METRICS[key][1]), seed_values(b, METRICS[key][1])


def _measured(entry: ScoredRow, measure: Measure) -> dict[int, float]:
    return {result.seed: value for result in entry.done if (value := measure(result)) is not None}


def _state(entry: ScoredRow) -> str:
    return "done" if entry.done else worst_state(entry).value


def _p(cell: _Raw) -> float | None:
    if cell.blockers or not all(cell.replicated) or (cell.repeats is not None and cell.repeats.reason):
        return None
    found = cell.paired()
    return None if found is None or len(found.seeds) < MIN_SEEDS else found.p


def _share(cell: _Raw, per_cent: float) -> float:
    return per_cent / 100 * abs(summarise(list(cell.a.values())).mean) if cell.a else 0.0


def _judged(cell: _Raw, p: float | None, tolerance: float) -> Difference:
    a, b = (_summary(side, replicated) for side, replicated in zip((cell.a, cell.b), cell.replicated, strict=True))
    made = Difference(cell.metric, cell.label, cell.kind, a, b, None, p, "not comparable", "; ".join(cell.blockers))
    if cell.states[0] != cell.states[1]:
        return replace(made, word="state changed", reason=f"{cell.states[0]} in A, {cell.states[1]} in B")
    if cell.blockers:
        return made
    found, seeds = cell.paired(), cell.a.keys() & cell.b.keys()
    if found is None:
        return replace(made, reason=f"{cell.states[0]} in both" if cell.states[0] else "not measured in one of them")
    unrepeated = cell.repeats.reason if cell.repeats is not None else ""
    sound = all(cell.replicated) and not unrepeated  # else the spread over seeds says nothing
    made = replace(made, difference=found.summary if sound else without_spread(found.summary))
    if all(cell.a[seed] == cell.b[seed] for seed in seeds):
        return replace(made, word="same")
    if abs(found.summary.mean) <= tolerance:
        return replace(made, word="within tolerance")
    if not sound:
        return replace(made, word="no claim", reason=f"no claim: {unrepeated}" if unrepeated else NO_CLAIM)
    reached = verdict(_for_better(found.summary, cell.higher), p)
    return replace(made, word=reached.word, reason=_sentence(cell, reached.sentence, reached.word))


def _summary(side: dict[int, float], replicated: bool) -> Summary | None:
    found = summarise(list(side.values())) if side else None
    return found if found is None or replicated else without_spread(found)


def _for_better(difference: Summary, higher: bool) -> Summary:
    """The difference with the sign that is positive for better."""
    if higher or difference.low is None or difference.high is None:
        return difference if higher else replace(difference, mean=-difference.mean)
    return replace(difference, mean=-difference.mean, low=-difference.high, high=-difference.low)


def _sentence(cell: _Raw, sentence: str, word: str) -> str:
    # The words of a verdict give effects in points, which times and bytes have none of.
    return sentence if cell.higher or word != "undecided" else "not distinguishable"
