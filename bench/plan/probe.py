"""``plan --probe``: which rows are measured, by which small orders, and what these tell of whole runs."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import linear_regression
from typing import Any

from pydantic import ValidationError

from spectral_bench.bench.plan.images import image_count
from spectral_bench.bench.plan.measured import (
    PROBES_FOLDER,
    REST,
    features_part,
    is_trained,
    machine_of,
    of_evaluation,
    of_fit,
    steps_of,
)
from spectral_bench.bench.plan.prediction import Measurement, Stages
from spectral_bench.bench.plan.run_ids import base_spec
from spectral_bench.bench.plan.states import Plan, PlannedRun
from spectral_bench.bench.run.health import MOST_READ
from spectral_bench.bench.run.probe import ASKED_FILE, FOUND_FILE, Asked, Pace, execute
from spectral_bench.bench.work import worker
from spectral_bench.bench.work.order import Execution, Order
from spectral_bench.common.files import write_bytes
from spectral_bench.methods.health import LOOKED_AT
from spectral_bench.methods.registry import METHODS, method_facts
from spectral_bench.results.record import HEALTH_STAGE, EvaluationRecord, FitRecord
from spectral_bench.results.runs import Run
from spectral_bench.results.specification import FitSpec, View
from spectral_bench.results.store import Store

SCRATCH_FOLDER = ".scratch"
PROBE_STEPS = 2  # of the fit whose evaluation is timed; its own pace is that of a longer one
LEAST_IMAGES = 4
NO_WARM_UP = 1e-9  # of the steps of a training: of the first alone, which is not timed
NEW_STEPS = 4  # that a training's first epoch has at least: of them all but the first tell what a new image costs
EVALUATED_IMAGES = MOST_READ  # as many as the checks of eigenfunctions may read: those of fewer images cost less
# Of a prediction from a probe: what is done step by step or image by image, and a fit of all patches at once.
LINEAR_DRIFT, OTHER_DRIFT = 0.02, 0.3

LEAST_GROWTH = 4 * 2**20  # bytes by which memory has to grow with images to count as growth: less is what allocators do


@dataclass(frozen=True)
class Probe:
    """What is measured of a run.

    Attributes:
        run: the run.
        orders: what is carried out for it, in a store for probes: fits that it starts from, then its own.
        asked: what is to be timed in each of them.
    """

    run: PlannedRun
    orders: tuple[Order, ...]
    asked: tuple[Asked, ...]


def runs_to_probe(plan: Plan) -> list[PlannedRun]:
    """The unfinished runs, of each configuration the longest, of which a part was never measured."""
    found: dict[tuple[str, ...], PlannedRun] = {}
    for run in plan.unfinished:
        if any(not plan.measured.same(part) for part in run.parts):
            key = tuple(part.same for part in run.parts if part.kind != "features")
            if key not in found or _length(run) > _length(found[key]):
                found[key] = run
    return list(found.values())


def _length(run: PlannedRun) -> float:
    return max((part.units or 0.0 for part in run.parts if part.kind == "fit"), default=0.0)


def scratch_store(store: Path) -> Store:
    """An empty store for probes, inside of a store; what an earlier probe has left there is removed."""
    folder = Store.open(store, create=True).path / PROBES_FOLDER / SCRATCH_FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    return Store.open(folder, create=True)


def probe_of(run: PlannedRun, scratch: Store, execution: Execution, roots: Sequence[Path]) -> Probe:
    """The small orders that tell what a run takes.

    Args:
        run: the run.
        scratch: where they are carried out.
        execution: how.
        roots: where data sets lie.
    """
    chain = [run.spec]
    while (base := base_spec(chain[0])) is not None:
        chain.insert(0, base)
    total = image_count(run.spec.data, run.counts)
    images = max(_images(spec, total) for spec in chain)
    few = ((view, _at_most(EVALUATED_IMAGES, view, run.counts)) for view in run.condition.missing)
    views = tuple(view.model_copy(update={"subset": count}) for view, count in few)
    shared: dict[str, Any] = {"store": scratch.path, "data_roots": tuple(roots), "execution": execution}
    orders = _chain(chain, images, views, shared)
    sizes = _larger_sizes(run.spec, images, total)
    asked = Asked(larger=tuple(_chain(chain, more, (), shared) for more in sizes))
    if is_trained(run.spec.method, run.spec.params):
        count = steps_of(run.spec.params, None if total is None else float(total)) or PROBE_STEPS
        spec = _shrunk(run.spec, sizes[0] if sizes else images, count)
        asked.whole = orders[-1].model_copy(update={"spec": spec, "views": ()})
        # Of methods of the user's own the name may mean anything.
        warm_up = run.spec.params.get("warm_up") if run.spec.method in METHODS else None
        if warm_up is not None and 0 < warm_up < 1:
            later = spec.model_copy(update={"params": {**spec.params, "warm_up": NO_WARM_UP}})
            asked.later, asked.warm_up = asked.whole.model_copy(update={"spec": later}), warm_up
        if "steps" not in run.spec.params:  # epochs of more images are more steps: no look at all that grows
            asked.larger = asked.larger[:0]
    bases = (Asked(),) * (len(chain) - 1)
    return Probe(run, orders, (*bases, asked))


def _chain(chain: Sequence[FitSpec], images: int, views: tuple[View, ...], shared: dict[str, Any]) -> tuple[Order, ...]:
    """Orders of fits on few images, each of which starts from the one before; the last is looked at."""
    orders: list[Order] = []
    for spec in chain:
        # The whole chain in one size: a fit starts from another of the same data.
        small = _shrunk(spec, images, PROBE_STEPS)
        above = orders[-1].spec.run_id if orders else None
        orders.append(Order(spec=small, views=views if spec is chain[-1] else (), requires=above, **shared))
    return tuple(orders)


def _images(spec: FitSpec, total: int | None) -> int:
    """The least images that a fit can do with, by its parameters; all where it needs them."""
    most = total or 10**6
    count = min(most, max(LEAST_IMAGES, int(spec.params.get("batch_size", 0))))
    params = method_facts(spec.method).params(**spec.params)
    # Patches of an image are not known before it is seen, in general; 100 are few for any backbone.
    while count < most and params.misfits(count, 100 * count):
        count = min(most, 2 * count)
    return count


def _larger_sizes(spec: FitSpec, images: int, total: int | None) -> list[int]:
    """Numbers of images above ``images``, each twice the last; of a training from those of ``NEW_STEPS`` steps on.

    The last is ``total``, if that is known, and at least 1.5 times the one before: of a few images more nothing can be
    told.
    """
    least = 4 * LEAST_IMAGES
    if is_trained(spec.method, spec.params):
        least = max(least, NEW_STEPS * spec.params["batch_size"])
    most = total if total is not None else max(2 * images, least)
    sizes: list[int] = []
    while images < most:
        double = max(2 * images, least)
        images = double if 1.5 * double <= most else most
        sizes.append(images)
    return sizes


def _at_most(count: int, view: View, counts: Mapping[tuple[str, str], int]) -> int:
    total = image_count(view, counts)
    return count if total is None else min(count, total)


def _shrunk(spec: FitSpec, images: int, steps: int) -> FitSpec:
    # Those of a fit that another starts from, too, where they are among its own.
    short = {"steps": steps} if "steps" in spec.params else {"epochs": 1} if "epochs" in spec.params else {}
    params = {**spec.params, **short}
    data = spec.data.model_copy(update={"subset": images})
    return spec.model_copy(update={"data": data, "params": params})


def orders_of(probes: Sequence[Probe], scratch: Store) -> list[Order]:
    """The orders of all probes, each run once, and beside each what is to be timed."""
    # First what probes are about: as mere bases of others, the same fits would be carried out without being timed.
    own = [(probe.orders[-1], probe.asked[-1]) for probe in probes]
    bases = [pair for probe in probes for pair in zip(probe.orders[:-1], probe.asked[:-1], strict=True)]
    found: dict[str, Order] = {}
    for order, asked in (*own, *bases):
        if order.spec.run_id not in found:
            found[order.spec.run_id] = order
            write_bytes(scratch.run_folder(order.spec.run_id) / ASKED_FILE, asked.model_dump_json().encode())
    return list(found.values())


def target(path: Path, *, known_failures: int | None = None) -> int:
    """What an executor runs in place of ``bench.work.worker.main``."""
    return worker.main(path, known_failures=known_failures, execute=execute)


def found_by(probe: Probe, scratch: Store) -> list[Measurement]:
    """What a probe has measured; nothing where it failed."""
    order, asked = probe.orders[-1], probe.asked[-1]
    run = scratch.load_run(order.spec.run_id)
    if run is None or run.fit.status == "failed":
        return []
    try:
        pace = Pace.model_validate_json((scratch.run_folder(run.run_id) / FOUND_FILE).read_bytes())
    except (OSError, ValidationError):  # it ended before all was timed
        return []
    larger = [scratch.fit_record(chain[-1].spec.run_id) for chain in asked.larger]
    done = [record for record in larger if record is not None and record.status != "failed"]
    found = [
        *_of_features(run, order, pace),
        _of_fit(run.fit, done, pace, image_count(probe.run.spec.data, probe.run.counts)),
    ]
    found += [_of_view(record, run.fit, pace) for record in run.evaluations.values() if record.status != "failed"]
    return [replace(one, probe=True) for one in found]


def _of_features(run: Run, order: Order, pace: Pace) -> Iterator[Measurement]:
    written = run.fit.spec.model_dump(mode="json")
    sources = {"": written["data"]} | {view.view_id: view.model_dump(mode="json") for view in order.views}
    machine = machine_of(run.fit.execution, run.fit.environment)
    for name, cost in pace.features.items():
        part = features_part(written, sources[name], float(cost.items or 1))
        each = min(pace.feature_s[name] * (cost.items or 1), cost.wall_s)
        yield Measurement(
            part,
            {"features": each},
            once={"features": cost.wall_s - each},  # of which most is loading the network
            host=cost.peak_rss,
            device=cost.peak_device,
            machine=machine,
            finished=run.fit.finished,
            drift=LINEAR_DRIFT,
        )


def _of_fit(record: FitRecord, larger: Sequence[FitRecord], pace: Pace, total: int | None) -> Measurement:
    found, trained = _fit_alone(record), is_trained(record.spec.method, record.spec.params)
    if larger and pace.again is not None:
        sizes = [_fit_alone(one) for one in (pace.again, *larger)]
        made = [*pace.made, *(0 for _ in sizes)]
        sizes = [_without(one, pace.new_s * count) for one, count in zip(sizes, made, strict=False)]
        found = _with_looks(found, sizes, total) if trained else _at_largest(found, sizes)
    if trained and pace.step_s is not None:
        found = _at_pace(found, pace.step_s * (steps_of(record.spec.params, found.part.images) or 1))
        found = _with_new(found, pace, total)
    return replace(found, drift=LINEAR_DRIFT if trained else OTHER_DRIFT)


def _with_new(found: Measurement, pace: Pace, total: int | None) -> Measurement:
    """A training with what an image adds to the first step that it is met in, or to each where not all can be kept."""
    stage, units = _new_stage(found), found.part.units or 1.0
    if pace.room is not None and (total is None or total > pace.room):
        return replace(found, growing=_with(found.growing, stage, units * pace.new_s))
    return replace(found, new={stage: min(units, found.part.images or units) * pace.new_s})


def _new_stage(found: Measurement) -> str:
    return "graph" if "graph" in found.growing else "fit"


def _without(found: Measurement, seconds: float) -> Measurement:
    """A training without what images cost that it met for the first time."""
    stage = _new_stage(found)
    return replace(found, growing={**found.growing, stage: max(found.growing.get(stage, 0.0) - seconds, 0.0)})


def _fit_alone(record: FitRecord) -> Measurement:
    # What comes before it are features, which were measured source by source.
    *_, found = of_fit(record, record.spec.model_dump(mode="json"))
    return found


def _at_largest(first: Measurement, sizes: Sequence[Measurement]) -> Measurement:
    """A fit of all patches at once, by its sizes.

    Args:
        first: the first one in its process, which pays for what happens once in each.
        sizes: later ones, on as many images as the first and on more and more.
    """
    large, images = sizes[-1], [_images_of(one) for one in sizes]
    grows = _growth(images, [one.growing for one in sizes])
    beyond = max(sum(first.growing.values()) - sum(sizes[0].growing.values()), 0.0)
    rest = beyond + sum(large.growing.values()) - sum(grows.values())
    each = _host_per_image(sizes)
    host = first.host + int(each * (images[-1] - images[0]))
    # Its checks are of a sample, which is whole among as many images as there are.
    checks = {HEALTH_STAGE: large.once[HEALTH_STAGE]} if HEALTH_STAGE in large.once else {}
    once = _with({**first.once, **checks}, REST, rest)
    return replace(large, growing=grows, once=once, host=host, host_per_image=each)


def _with_looks(first: Measurement, sizes: Sequence[Measurement], total: int | None) -> Measurement:
    """A training, with what looks at each image once apart from its steps, by its sizes.

    Args:
        first: the first one in its process.
        sizes: later ones of as many steps, on as many images as the first and on more and more.
        total: images of the real one; its own checks look at as many whole batches as hold ``LOOKED_AT`` at most.
    """
    large, images = sizes[-1], [_images_of(one) for one in sizes]
    all_grows = _growth(images, [{**one.growing, **one.by_image} for one in sizes])
    grows = {name: seconds / images[-1] * _images_of(first) for name, seconds in all_grows.items()}
    rest = max(sum(first.by_image.values()) - sum(grows.get(name, 0.0) for name in first.by_image), 0.0)
    growing = {name: max(seconds - grows.get(name, 0.0), 0.0) for name, seconds in first.growing.items()}
    checks = large.once.get(HEALTH_STAGE, 0.0)
    further = max(checks - sizes[-2].once.get(HEALTH_STAGE, 0.0), 0.0) / (images[-1] - images[-2])
    batch = int(first.part.settings.get("batch_size", 1))
    most = batch * math.ceil(LOOKED_AT / batch)
    checks += further * max(min(total or most, most) - images[-1], 0)
    once = _with({**first.once, **({HEALTH_STAGE: checks} if checks else {})}, REST, rest)
    return replace(first, growing=growing, by_image=grows, once=once, host_per_image=_host_per_image(sizes))


def _growth(images: Sequence[float], seconds: Sequence[Stages]) -> dict[str, float]:
    """Of the seconds of the last of several fits, by stage, those that grow with images.

    All sizes tell the slope, by least squares: iterations, and so the time an image, differ from one to the next.

    Args:
        images: of each fit, not all the same.
        seconds: by stage, of each fit.
    """
    last = seconds[-1]
    slopes = {name: linear_regression(images, [one.get(name, 0.0) for one in seconds]).slope for name in last}
    # Noise may tip the slope below 0, or above all that was measured.
    return {name: min(max(slope * images[-1], 0.0), last[name]) for name, slope in slopes.items()}


def _images_of(one: Measurement) -> float:
    return one.part.images or 1.0


def _host_per_image(sizes: Sequence[Measurement]) -> float:
    few, many = _images_of(sizes[0]), _images_of(sizes[-1])
    further = sizes[-1].host - sizes[0].host
    # Of few images more, what allocators do would be taken for that of each.
    return further / (many - few) if further > LEAST_GROWTH and many - few >= 2 * LEAST_IMAGES else 0.0


def _of_view(record: EvaluationRecord, fit: FitRecord, pace: Pace) -> Measurement:
    *_, found = of_evaluation(record, fit.spec.model_dump(mode="json"), record.view.model_dump(mode="json"))
    each = pace.image_s.get(record.view_id)
    if each is not None:
        found = _at_pace(found, each * (found.part.images or 1.0))
    return replace(found, drift=LINEAR_DRIFT)


def _at_pace(found: Measurement, seconds: float) -> Measurement:
    """A measurement whose growing part takes ``seconds``, and whose remainder comes once."""
    total = sum(found.growing.values())
    if total <= 0:
        return replace(found, growing={"fit" if found.part.kind == "fit" else "evaluate": seconds})
    growing = {name: each * seconds / total for name, each in found.growing.items()}
    return replace(found, growing=growing, once=_with(found.once, REST, max(total - seconds, 0.0)))


def _with(stages: Mapping[str, float], name: str, seconds: float) -> dict[str, float]:
    return {**stages, name: stages.get(name, 0.0) + seconds}
