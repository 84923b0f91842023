"""A small part of a run, timed: its features, some training steps, the evaluation of a few images, peak memory.

The parts are carried out by the code that carries out runs, on a few images and in a store of their own, which is
thrown away. What the records there do not tell, the pace of a step and of an image, is left beside them.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from statistics import fmean, median

from pydantic import BaseModel, ConfigDict

from spectral_bench.bench.features.backbones.network import FrozenNetwork
from spectral_bench.bench.measure.meter import Meter
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
from spectral_bench.results.specification import View
from spectral_bench.results.store import Store

ASKED_FILE, FOUND_FILE = "probe.json", "pace.json"
# Steps are timed for `CLEAR_S` seconds, at least so many after the first epoch, and more until one of them has written
# the curve. Fits of more and more images go on, so that what grows stands out, until the next would make them take
# longer than `LONG_S` together, or they have with their features.
LEAST_STEPS, MOST_STEPS = 4, 12
LEAST_KNOWN = 2  # after the first epoch, where steps are so long that fewer have to do
CLEAR_S, LONG_S = 1.0, 8.0
# What takes more than so many times the median was the machine's pause, and counts as so long; unless more than one in
# so many does, as every eighth image where eight go through a network together.
PAUSE, RARE = 3.0, 10


class Asked(BaseModel):
    """What a probe is to do besides its order; lies in the folder of the order's run.

    Attributes:
        whole: the order with the training steps of the real run, and images of several of them, of which some are
            timed; None for what has no steps.
        later: the same with steps as they are after its warm-up; None where all are alike.
        warm_up: the share of steps before those.
        larger: the order on more and more images, which tell what grows with them, each after the fits that it starts
            from; empty where there are no more.
    """

    model_config = ConfigDict(extra="forbid")

    whole: Order | None = None
    later: Order | None = None
    warm_up: float = 1.0
    larger: tuple[tuple[Order, ...], ...] = ()


class Pace(BaseModel):
    """What a probe found that records do not tell.

    Attributes:
        step_s: seconds of a training step whose images were met before, those that write the curve and those that do
            not by their shares.
        new_s: seconds that an image adds to the first step that it is met in: of what is kept from then on.
        room: how many images there is room to keep that of; None where nothing is kept.
        image_s: view id -> seconds of the evaluation of an image after the first.
        features: what the features of some images took, by source: the training images as ``""``, or a view's id.
        feature_s: likewise seconds an image, without the network's start.
        again: the record of the order's fit, carried out a second time: without what only the first one in a process
            takes, as fits on more images are; None where there are none.
        made: how many images the fit met for the first time when it was carried out again, and each one on more images.
    """

    model_config = ConfigDict(extra="forbid")

    step_s: float | None = None
    new_s: float = 0.0
    room: int | None = None
    image_s: dict[str, float] = {}
    features: dict[str, StageCost] = {}
    feature_s: dict[str, float] = {}
    again: FitRecord | None = None
    made: list[int] = []


@dataclass(frozen=True)
class _Timed(Run):
    """A run that notes when each step or image of a stage was done."""

    ticks: dict[str, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))
    loads: list[float] = field(default_factory=list)

    @cached_property
    def backbone(self) -> FrozenNetwork:
        """As of a run; how long it takes to load is noted."""
        begun = time.perf_counter()
        found = super().backbone
        self.loads.append(time.perf_counter() - begun)
        return found

    def beside(self, order: Order) -> _Timed:
        """Another order, with the network of this one."""
        found = _Timed(order, self.store, self.should_stop)
        vars(found)["backbone"] = self.backbone  # where `cached_property` would keep it
        return found

    def progress(self, stage: str) -> Callable[[int, int], None]:
        return lambda done, total: self.ticks[stage].append((time.perf_counter(), done))

    def each(self, stage: str) -> float | None:
        """Mean seconds of one of a stage after the first that was done; None where there was no other."""
        ticks = [(at, done) for at, done in self.ticks[stage] if done > 0]
        pairs = [(later[0] - earlier[0], later[1] - earlier[1]) for earlier, later in pairwise(ticks)]
        return steady_mean([(seconds, count) for seconds, count in pairs if count > 0])


def steady_mean(took: Sequence[tuple[float, int]]) -> float | None:
    """Seconds of one of several alike, with rare pauses of the machine cut short.

    Args:
        took: seconds, and of how many.
    """
    if not took:
        return None
    most = PAUSE * median(seconds / count for seconds, count in took)
    if sum(seconds > most * count for seconds, count in took) * RARE > len(took):
        most = math.inf
    return sum(min(seconds, most * count) for seconds, count in took) / sum(count for _, count in took)


def execute(order: Order, *, store: Store, should_stop: Callable[[], bool]) -> Outcome:
    """Carry out an order that is as small as a probe, and time it.

    Raises:
        UserError, Exception: whatever the run would raise.
    """
    folder = store.run_folder(order.spec.run_id)
    asked = Asked.model_validate_json((folder / ASKED_FILE).read_bytes())
    PIXEL_GRAPHS.clear()  # as a run does: each pays for its own
    pace = Pace()

    def keep() -> None:
        write_bytes(folder / FOUND_FILE, pace.model_dump_json().encode())

    try:
        _time_features(_Timed(order, store, should_stop), asked, pace)
        if asked.whole is not None:
            _time_steps(asked.whole, store, should_stop, pace)
        if asked.later is not None and pace.step_s is not None:
            first, further = pace.step_s, pace.new_s
            _time_steps(asked.later, store, should_stop, pace)
            pace.step_s = asked.warm_up * first + (1 - asked.warm_up) * (pace.step_s or first)
            pace.new_s = max(further, pace.new_s)
        record, method = fit(_Timed(order, store, should_stop))
        status = record.status
        for view in order.views:
            run = _Timed(order, store, should_stop)
            begun = time.perf_counter()
            look(run, view, method)
            took = time.perf_counter() - begun - sum(run.loads)
            # Several images go through the network together, so that those after the first tell too little.
            each = took / view.subset if order.spec.features.mode == "online" and view.subset else run.each("evaluate")
            if each is not None:
                pace.image_s[view.view_id] = each
        if asked.larger:
            pace.again, made = _fitted([order], store, should_stop)
            pace.made.append(made)
            store.write_fit(record)  # what the first one took is a run's
        keep()
        for made in _fit_larger(asked.larger, store, should_stop):
            pace.made.append(made)
            keep()  # each time: what an attempt that is killed has found by then counts
    except RunInterrupted:
        return Outcome("interrupted")
    return Outcome(status)


def _fitted(chain: Sequence[Order], store: Store, should_stop: Callable[[], bool]) -> tuple[FitRecord, int]:
    """The record of the last of fits that start from each other, and how many images it met for the first time."""
    for order in chain:
        PIXEL_GRAPHS.clear()
        made = PIXEL_GRAPHS.made
        record, _ = fit(_Timed(order, store, should_stop))
    return record, PIXEL_GRAPHS.made - made


def _fit_larger(chains: Sequence[Sequence[Order]], store: Store, should_stop: Callable[[], bool]) -> Iterator[int]:
    """Fit one after the other, each on twice the images, as long as that is not too long.

    Yields:
        How many images a fit met for the first time.
    """
    begun, spent = time.perf_counter(), 0.0
    for chain in chains:
        record, made = _fitted(chain, store, should_stop)
        yield made
        # Features that an earlier probe has extracted take no time here: they must not decide how far this one goes.
        alone = sum(cost.wall_s for cost in record.costs if cost.stage != "features")
        spent += alone
        if spent + 2 * alone > LONG_S or time.perf_counter() - begun >= LONG_S:
            return


def _time_features(run: _Timed, asked: Asked, pace: Pace) -> None:
    """Extract what the order caches, source by source; what an earlier probe has extracted is passed over."""
    if run.spec.features.mode != "cache":
        return
    _time_source(run, "", training_patches, pace)
    if pace.features and asked.larger:
        # Of few images the first forward pass, and what is decoded ahead, would count for more than they do.
        _time_source(run.beside(asked.larger[0][-1]), "", training_patches, pace)
    for view in run.order.views:

        def extract(run: _Timed, meter: Meter, view: View = view) -> object:
            return view_features(run, view, run.open_data(view.dataset).images(view.split), meter)

        _time_source(run, view.view_id, extract, pace)


def _time_source(run: _Timed, source: str, extract: Callable[[_Timed, Meter], object], pace: Pace) -> None:
    meter = run.meter()
    run.loads.clear()
    extract(run, meter)
    (cost,) = meter.costs()
    if cost.reused:  # extracted for another probe: the time was that of a look
        return
    pace.features.setdefault(source, cost)
    pace.feature_s[source] = max(cost.wall_s - sum(run.loads), 0.0) / (cost.items or 1)


def _time_steps(order: Order, store: Store, should_stop: Callable[[], bool], pace: Pace) -> None:
    """Time steps of a training, of which the first are done and the rest is not."""
    run = _Counted(order, store, should_stop)
    try:
        fit(run)
    except RunInterrupted:  # by itself, as soon as enough steps are timed; or by somebody else after all
        if should_stop():
            raise
    pace.step_s, pace.new_s = run.means()
    pace.room = PIXEL_GRAPHS.room


@dataclass(frozen=True)
class _Counted(_Timed):
    """A fit that is stopped once enough of its steps were timed."""

    @property
    def batch_size(self) -> int:
        """Images a step."""
        return int(self.spec.params["batch_size"])

    @property
    def first_epoch(self) -> int:
        """Steps whose images are met for the first time; 0 where later epochs see other views, and all are alike."""
        return 0 if self.spec.features.views > 1 else int((self.spec.data.subset or 0) // self.batch_size)

    @property
    def steps(self) -> list[float]:
        """When each step was done."""
        found: list[float] = []
        for at, done in self.ticks["fit"]:
            if done <= len(found):  # what comes after a training, such as k-means, counts anew
                break
            found.append(at)
        return found

    @property
    def enough(self) -> bool:
        """Whether steps after the first epoch are timed, one that writes the curve too, unless that takes too long."""
        steps = self.steps
        took, more = steps[-1] - steps[0] if steps else 0.0, len(steps) - self.first_epoch
        if took >= LONG_S and len(steps) >= LEAST_STEPS and (more >= LEAST_KNOWN or took >= 4 * LONG_S):
            return True
        if more < LEAST_STEPS or took < CLEAR_S:
            return False
        return more >= MOST_STEPS or len(self._written()) > 0

    def __post_init__(self) -> None:
        asked = self.should_stop
        # The class is frozen, as `Run` is.
        object.__setattr__(self, "should_stop", lambda: asked() or self.enough)

    def _written(self) -> list[int]:
        """The steps after the first, from 0, that wrote the curve."""
        steps = [int(row["step"]) for row in read_metrics(self.folder / METRICS_FILE)]
        done = len(self.steps)
        return [step for step in steps if 0 < step < done]

    def means(self) -> tuple[float | None, float]:
        """Mean seconds of a step whose images were met before, None where there were no two; and more a new image."""
        took = {index: later - earlier for index, (earlier, later) in enumerate(pairwise(self.steps), 1)}
        written = self._written()
        new, known = ([step for step in took if (step < self.first_epoch) is first] for first in (True, False))
        plain = {step for step in took if step not in written}
        usual = _mean_of(took, known, plain) or _mean_of(took, new, plain)
        if usual is None:
            return None, 0.0
        further = max((_mean_of(took, new, plain) or usual) - usual, 0.0)
        # Of `every` steps one writes the curve, which costs more: both kinds by their shares. Where all do, all count.
        each = [max(took[step] - usual - further * (step < self.first_epoch), 0.0) for step in written if plain]
        return usual + (fmean(each) / written[0] if each else 0.0), further / self.batch_size


def _mean_of(took: Mapping[int, float], steps: Sequence[int], plain: Collection[int]) -> float | None:
    """Mean seconds of those of ``steps`` that are plain, or of all where none is."""
    chosen = [step for step in steps if step in plain] or steps
    return steady_mean([(took[step], 1) for step in chosen])
