"""A small part of a run, timed: its features, some training steps, the evaluation of a few images, peak memory.

The parts are carried out by the code that carries out runs, on a few images and in a store of their own, which is
thrown away. What the records there do not tell, the pace of a step and of an image, is left beside them.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean

from pydantic import BaseModel, ConfigDict

from spectral_bench.bench.run.context import Run
from spectral_bench.bench.run.evaluate import view_features
from spectral_bench.bench.run.execute import Outcome
from spectral_bench.bench.run.fit import fit, training_patches
from spectral_bench.bench.run.naming import look
from spectral_bench.bench.work.order import Order
from spectral_bench.bench.work.progress import METRICS_FILE, read_metrics
from spectral_bench.common.errors import RunInterrupted
from spectral_bench.common.files import write_bytes
from spectral_bench.methods.graphs.pixel_memory import MEMORY as PIXEL_GRAPHS
from spectral_bench.results.record import FitRecord, StageCost
from spectral_bench.results.store import Store

ASKED_FILE, FOUND_FILE = "probe.json", "pace.json"
# Steps are timed for `CLEAR_S` seconds, at least so many, and more until one of them has written the curve; fits of
# more and more images until one takes as long without its cached features, so that what grows stands out, or all
# together, features too, take `LONG_S`.
LEAST_STEPS, MOST_STEPS = 6, 12
CLEAR_S, LONG_S = 0.5, 4.0


class Asked(BaseModel):
    """What a probe is to do besides its order; lies in the folder of the order's run.

    Attributes:
        whole: the order with the training steps of the real run, of which some are timed; None for what has no steps.
        larger: the order on more and more images, which tell what grows with them; empty where there are no more.
    """

    model_config = ConfigDict(extra="forbid")

    whole: Order | None = None
    larger: tuple[Order, ...] = ()


class Pace(BaseModel):
    """What a probe found that records do not tell.

    Attributes:
        step_s: seconds of a training step, those that write the curve and those that do not by their shares.
        image_s: view id -> seconds of the evaluation of an image after the first.
        features: what the features of some images took, a list a source: the training images as ``""``, or a view's id.
        feature_s: likewise seconds an image after the first, for sources of which there was more than one.
        again: the record of the order's fit, carried out a second time: without what only the first one in a process
            takes, as fits on more images are; None where there are none.
    """

    model_config = ConfigDict(extra="forbid")

    step_s: float | None = None
    image_s: dict[str, float] = {}
    features: dict[str, list[StageCost]] = {}
    feature_s: dict[str, float] = {}
    again: FitRecord | None = None


@dataclass(frozen=True)
class _Timed(Run):
    """A run that notes when each step or image of a stage was done."""

    ticks: dict[str, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))

    def progress(self, stage: str) -> Callable[[int, int], None]:
        return lambda done, total: self.ticks[stage].append((time.perf_counter(), done))

    def each(self, stage: str) -> float | None:
        """Mean seconds between two of a stage, from the first that was done; None where there were no two."""
        ticks = [(at, done) for at, done in self.ticks[stage] if done > 0]
        if len(ticks) < 2 or ticks[-1][1] <= ticks[0][1]:
            return None
        return (ticks[-1][0] - ticks[0][0]) / (ticks[-1][1] - ticks[0][1])


def execute(order: Order, *, store: Store, should_stop: Callable[[], bool]) -> Outcome:
    """Carry out an order that is as small as a probe, and time it.

    Raises:
        UserError, Exception: whatever the run would raise.
    """
    folder = store.run_folder(order.spec.run_id)
    asked = Asked.model_validate_json((folder / ASKED_FILE).read_bytes())
    PIXEL_GRAPHS.clear()  # as a run does: each pays for its own
    pace = Pace()
    try:
        _time_features(_Timed(order, store, should_stop), pace)
        if asked.whole is not None:
            pace.step_s = _time_steps(asked.whole, store, should_stop)
        record, method = fit(_Timed(order, store, should_stop))
        status = record.status
        for view in order.views:
            run = _Timed(order, store, should_stop)
            look(run, view, method)
            if (each := run.each("evaluate")) is not None:
                pace.image_s[view.view_id] = each
        if asked.larger:
            pace.again, _ = fit(_Timed(order, store, should_stop))
            store.write_fit(record)  # what the first one took is a run's
        write_bytes(folder / FOUND_FILE, pace.model_dump_json().encode())
        _fit_larger(asked.larger, store, should_stop)
    except RunInterrupted:
        return Outcome("interrupted")
    return Outcome(status)


def _fit_larger(orders: Sequence[Order], store: Store, should_stop: Callable[[], bool]) -> None:
    """Fit one after the other, each on more images; the rest is left once the last took long enough to tell."""
    begun = time.perf_counter()
    for order in orders:
        record, _ = fit(_Timed(order, store, should_stop))
        # Features that an earlier probe has extracted take no time here: they must not decide how far this one goes.
        alone = sum(cost.wall_s for cost in record.costs if cost.stage != "features")
        if alone >= CLEAR_S or time.perf_counter() - begun >= LONG_S:
            return


def _time_features(run: _Timed, pace: Pace) -> None:
    """Extract what the order caches, source by source; what an earlier probe has extracted is passed over."""
    if run.spec.features.mode != "cache":
        return
    meter = run.meter()
    training_patches(run, meter)
    _note_features(run, "", meter.costs(), pace)
    for view in run.order.views:
        run.ticks.clear()
        meter = run.meter()
        view_features(run, view, run.open_data(view.dataset).images(view.split), meter)
        _note_features(run, view.view_id, meter.costs(), pace)


def _note_features(run: _Timed, source: str, costs: list[StageCost], pace: Pace) -> None:
    if any(cost.reused for cost in costs):  # extracted for another probe: the time was that of a look
        return
    pace.features[source] = costs
    if (each := run.each("features")) is not None:
        pace.feature_s[source] = each


def _time_steps(order: Order, store: Store, should_stop: Callable[[], bool]) -> float | None:
    """Mean seconds of a step of a training, of which the first steps are done and the rest is not."""
    run = _Counted(order, store, should_stop)
    try:
        fit(run)
    except RunInterrupted:  # by itself, as soon as enough steps are timed; or by somebody else after all
        if should_stop():
            raise
    return run.mean()


@dataclass(frozen=True)
class _Counted(_Timed):
    """A fit that is stopped once enough of its steps were timed."""

    @property
    def enough(self) -> bool:
        """Whether a step after the first has written the curve, too, unless that takes too long to come."""
        ticks = self.ticks["fit"]
        if len(ticks) < LEAST_STEPS or ticks[-1][0] - ticks[0][0] < CLEAR_S:
            return False
        return len(ticks) >= MOST_STEPS or len(self._written()) > 0

    def __post_init__(self) -> None:
        asked = self.should_stop
        # The class is frozen, as `Run` is.
        object.__setattr__(self, "should_stop", lambda: asked() or self.enough)

    def _written(self) -> list[int]:
        """The steps after the first, from 0, that wrote the curve."""
        steps = [int(row["step"]) for row in read_metrics(self.folder / METRICS_FILE)]
        return [step for step in steps if 0 < step < len(self.ticks["fit"])]

    def mean(self) -> float | None:
        """Mean seconds of a step; None where there were no two."""
        at = [when for when, _ in self.ticks["fit"]]
        took = {index: later - earlier for index, (earlier, later) in enumerate(pairwise(at), 1)}
        written = [took[step] for step in self._written() if step in took]
        plain = [seconds for step, seconds in took.items() if step not in self._written()]
        if not plain or not written:
            return fmean(took.values()) if took else None
        # Of `every` steps one writes the curve, which costs more: both kinds by their shares.
        every = self._written()[0]
        return (fmean(written) + (every - 1) * fmean(plain)) / every
