"""Time estimates from the records of past runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from spectral_bench.bench.plan.model import PlannedRun
from spectral_bench.bench.plan.snapshot import Cost, PastRun
from spectral_bench.results.specification import own_name

Stages = dict[str, float]


class History:
    """What past runs cost, by configuration and by family.

    A family is a method on one split and subset with one backbone; its parameters and seeds may differ. Estimates are
    medians of wall time, as measured on whatever machines made the records.
    """

    def __init__(self, past: Iterable[PastRun]) -> None:
        self._fits: dict[object, list[Stages]] = defaultdict(list)
        self._evaluations: dict[object, list[Stages]] = defaultdict(list)
        self._usual: dict[object, Stages | None] = {}
        for run in past:
            fit = run.fit
            if fit.status != "failed":
                stages = _stages(fit.costs)
                self._fits[fit.configuration_id].append(stages)
                self._fits[fit.family].append(stages)
            for view_id, record in run.evaluations.items():
                if record.status != "failed":
                    self._evaluations[(view_id, fit.method, fit.family[-1])].append(_stages(record.costs))

    def estimate(self, run: PlannedRun) -> Stages | None:
        """Seconds by stage of what is left of a run; None where the past says nothing about a part of it."""
        spec = run.spec
        total: Stages = {}
        if not run.condition.fitted:
            past = self._medians(self._fits, spec.configuration_id) or self._medians(self._fits, spec.family)
            if past is None:
                return None
            total = dict(past)
        for view in run.condition.missing:
            seen = self._medians(self._evaluations, (view.view_id, spec.method, own_name(spec.backbone.name)))
            if seen is None:
                return None
            for stage, seconds in seen.items():
                total[stage] = total.get(stage, 0.0) + seconds
        return total

    def _medians(self, past: Mapping[object, list[Stages]], key: object) -> Stages | None:
        """What is usual under a key, computed once; None where there is no past."""
        if key not in self._usual:
            self._usual[key] = _medians(past[key]) if key in past else None
        return self._usual[key]


def _stages(costs: Sequence[Cost]) -> Stages:
    """Wall seconds by stage; what another run had paid for is left out."""
    total: Stages = defaultdict(float)
    for cost in costs:
        if not cost.reused:
            total[cost.stage] += cost.wall_s
    return dict(total)


def _medians(past: Sequence[Stages]) -> Stages:
    """The median of each stage over the runs that have it."""
    stages = dict.fromkeys(stage for one in past for stage in one)
    return {stage: median(one[stage] for one in past if stage in one) for stage in stages}
