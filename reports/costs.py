"""What the runs of a row cost: seconds a stage, summed over a run; peaks of memory over its stages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spectral_bench.results.record import HEALTH_STAGE, EvaluationRecord, FitRecord, StageCost

if TYPE_CHECKING:
    from spectral_bench.reports.rows import SeedResult

FEATURES_STAGE = "features"


@dataclass(frozen=True)
class RunCost:
    """The cost of one run under one protocol. What it cost to check the run's health is no part of it.

    Cached features are extracted once, by whichever run comes first, for all that read them: they are a cost of their
    own, and no part of the others. Features that each run computes anew, from fresh crops, are a part of its peaks and
    of its energy.

    Attributes:
        features_s: seconds for the features of fit and evaluation; None where all were there already.
        features_rss: most resident memory while cached features were extracted, bytes; None where they were there.
        fit_s: seconds of the other stages of the fit, reused ones left out.
        base_fit_s: the same of the fits that it starts from, all together; None where it starts from none on record.
        evaluation_s: seconds of the other stages of the evaluation.
        peak_rss: most resident memory of any stage, bytes.
        peak_device: most device memory of any stage, bytes; None on a CPU.
        energy_j: joules of the device over the stages that the run paid for; None where that of one is not known.
        reused: names of the fit's stages (but the features) whose product another run had paid for.
    """

    features_s: float | None
    features_rss: int | None
    fit_s: float | None
    base_fit_s: float | None
    evaluation_s: float | None
    peak_rss: int | None
    peak_device: int | None
    energy_j: float | None
    reused: tuple[str, ...]


def run_cost(result: SeedResult) -> RunCost:
    """The cost of a seed's run, worked out once."""
    return result.cost


def cost_of(fitted: FitRecord | None, evaluated: EvaluationRecord | None, bases: Sequence[FitRecord]) -> RunCost:
    """The cost of a run, from the records of its fit, of its evaluation, and of the fits that it starts from."""
    fit, evaluation = (_work(record.costs) if record is not None else [] for record in (fitted, evaluated))
    both, shared = [*fit, *evaluation], _reads_a_cache(fitted)
    features = [cost for cost in both if cost.stage == FEATURES_STAGE and not cost.reused]
    own = [cost for cost in both if cost.stage != FEATURES_STAGE] if shared else both
    return RunCost(
        features_s=_seconds(features),
        features_rss=_largest(cost.peak_rss for cost in features if shared),
        fit_s=_fit_seconds(fit),
        base_fit_s=_fit_seconds([cost for base in bases for cost in base.costs]),
        evaluation_s=_seconds([cost for cost in evaluation if cost.stage != FEATURES_STAGE]),
        peak_rss=_largest(cost.peak_rss for cost in own),
        peak_device=_largest(cost.peak_device for cost in own),
        energy_j=_joules([cost for cost in own if not cost.reused]),
        reused=tuple(dict.fromkeys(cost.stage for cost in fit if cost.reused and cost.stage != FEATURES_STAGE)),
    )


def shares_features(result: SeedResult) -> bool:
    """Whether a run reads its features from a cache, which the first run that needs it makes for all."""
    return _reads_a_cache(result.fit)


def extracted_features(result: SeedResult) -> bool:
    """Whether a run made cached features for others."""
    return shares_features(result) and run_cost(result).features_s is not None


def _reads_a_cache(fit: FitRecord | None) -> bool:
    return fit is not None and fit.spec.features.mode == "cache"


def _fit_seconds(costs: list[StageCost]) -> float | None:
    return _seconds([cost for cost in costs if cost.stage != FEATURES_STAGE and not cost.reused])


def _work(costs: list[StageCost]) -> list[StageCost]:
    return [cost for cost in costs if cost.stage != HEALTH_STAGE]


def _seconds(costs: list[StageCost]) -> float | None:
    return sum(cost.wall_s for cost in costs) if costs else None


def _largest(peaks: Iterable[int | None]) -> int | None:
    return max((peak for peak in peaks if peak is not None), default=None)


def _joules(costs: list[StageCost]) -> float | None:
    known = [cost.energy_j for cost in costs if cost.energy_j is not None]
    return sum(known) if known and len(known) == len(costs) else None
