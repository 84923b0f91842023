"""The numerical health of a fit, as its record keeps it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from spectral_bench.results.record import HealthCheck

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spectral_bench.methods.interface import Segmenter
    from spectral_bench.results.record import Status

LEAST_CLUSTERS = 2


def health_records(method: Segmenter) -> list[HealthCheck]:
    """The checks that a fitted method made of itself (its attribute ``checks``), none where it makes none."""
    return as_records(getattr(method, "checks", ()))


def as_records(checks: Sequence[Any]) -> list[HealthCheck]:
    """Checks of ``methods.health`` as a record keeps them."""
    return [
        HealthCheck(
            name=check.name,
            value=check.value if check.value is not None and math.isfinite(check.value) else None,
            limit=check.limit,
            passed=bool(check.passed),
            note=check.note,
        )
        for check in checks
    ]


def clusters_in_use(n_used: int) -> HealthCheck:
    """Whether an evaluation found more than one cluster: a network that collapsed puts every pixel into one."""
    passed = n_used >= LEAST_CLUSTERS
    return HealthCheck(name="clusters_in_use", value=n_used, limit=LEAST_CLUSTERS, passed=passed)


def status_of(health: Sequence[HealthCheck]) -> Status:
    """``not_converged`` as soon as one check failed, else ``done``."""
    return "done" if all(check.passed for check in health) else "not_converged"
