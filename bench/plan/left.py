"""What the unfinished runs of a store have left, as a plan predicts it, without the grids that asked for them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from itertools import chain
from typing import Any

from pydantic import ValidationError

from spectral_bench.bench.plan.build import features_key
from spectral_bench.bench.plan.estimate import with_predictions
from spectral_bench.bench.plan.measured import measurements, read_probes
from spectral_bench.bench.plan.prediction import Measurements
from spectral_bench.bench.plan.records import Snapshot
from spectral_bench.bench.plan.states import PlannedRun, RunStatus, views_of
from spectral_bench.common.errors import UserError
from spectral_bench.results.specification import FitSpec
from spectral_bench.results.state import RunState
from spectral_bench.results.store import Store


def seconds_left(store: Store, runs: Sequence[RunStatus]) -> dict[str, float | None]:
    """Seconds on the wall clock that unfinished runs have left; None for those of which nothing is known.

    Args:
        store: the store.
        runs: all that are asked about; finished ones, and those that no grid asks for, are passed over.

    Raises:
        StoreError: the store cannot be read.
    """
    unfinished = [run for run in runs if run.grid and not run.condition.finished]
    if not unfinished:
        return {}
    measured = Measurements(chain(measurements(Snapshot(store).past), read_probes(store.path)))
    planned = list(_planned(unfinished, runs))
    try:
        predicted = with_predictions(planned, measured, store.path)
    except UserError:  # a file of the user's own is gone, and only the runs that need it shall miss it
        predicted = [one for run in planned for one in _alone(run, measured, store)]
    took = {run.run_id: run.seconds for run in predicted}
    return {run.run_id: _rest(store, run, took.get(run.run_id)) for run in unfinished}


def _planned(unfinished: Sequence[RunStatus], runs: Sequence[RunStatus]) -> Iterator[PlannedRun]:
    """The runs as a plan has them; one that has neither a record nor an order by another seed of its row."""
    of_row: dict[object, Mapping[str, Any]] = {}
    for run in runs:
        if run.spec:
            of_row.setdefault((run.grid, run.title), run.spec)
    for run in unfinished:
        written = run.spec or of_row.get((run.grid, run.title))
        if not written:
            continue
        with suppress(ValidationError):  # of another release
            spec = FitSpec.model_validate({**written, "seed": run.seed})
            views = views_of(run.row.protocols) if run.row is not None else ()
            state = RunState.INTERRUPTED if _in_steps(run) else run.condition.state
            how_far = replace(run.condition, state=state)
            yield PlannedRun(run.run_id, spec, features_key(spec), views, run.requires, run.title, condition=how_far)


def _alone(run: PlannedRun, measured: Measurements, store: Store) -> Iterator[PlannedRun]:
    with suppress(UserError):
        yield from with_predictions([run], measured, store.path)


def _in_steps(run: RunStatus) -> bool:
    """Whether a run is at work on a fit whose progress tells which share of it is left, as after an interruption."""
    return run.condition.state is RunState.RUNNING and run.progress is not None and run.progress.stage == "fit"


def _rest(store: Store, run: RunStatus, seconds: float | None) -> float | None:
    """What of a prediction is left of a run at work; a fit that tells its steps, or is stored, was counted in it."""
    if seconds is None or run.condition.state is not RunState.RUNNING or run.condition.fitted or _in_steps(run):
        return seconds
    return max(0.0, seconds - (elapsed(store.owner(run.run_id)) or 0.0))


def elapsed(owner: Mapping[str, Any]) -> float | None:
    """Seconds since the owner of a run took it in hand; None where it does not say."""
    try:
        return max(0.0, time.time() - datetime.fromisoformat(str(owner.get("since"))).timestamp())
    except ValueError:
        return None
