"""What work is going to take: seconds and memory, from what was measured of the same and of similar work.

Work is cut into parts (the features of some images, a fit, the evaluation of a view), and a measurement tells what one
part took. ``predict`` is a function of the two and of nothing else.

Of all that was measured, what is nearest counts, scaled to the number of units: what is the same but for its length
before what is similar, runs before probes where they are as near in size. How far off a prediction may be follows from
how near it is: see ``_spread``.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

# Of the logarithm of a prediction: see `_spread`. Found by holding predictions against runs, as the benchmark does.
RUN_SPREAD = 0.2
PROBE_SPREAD = 0.4
SIMILAR_SPREAD = 0.5
PER_SETTING = 0.1
PER_FOLD = 0.1

Kind = Literal["features", "fit", "evaluate"]
Stages = Mapping[str, float]
"""Seconds by stage."""


@dataclass(frozen=True)
class Part:
    """A part of the work of a run.

    Attributes:
        kind: features of images, a fit, or an evaluation.
        same: what has this in common takes the same time a unit.
        similar: what has this in common takes a time of the same order a unit.
        settings: what tells similar parts apart, by name.
        units: what the time grows with: images, or images in all steps of a training; None where it is not known.
        images: the images that are looked at; None where that is not known.
        area: pixels of all that is looked at of an image; None where that depends on the image.
    """

    kind: Kind
    same: str
    similar: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    units: float | None = None
    images: float | None = None
    area: float | None = None


@dataclass(frozen=True)
class Measurement:
    """What one part took.

    Attributes:
        part: what was measured.
        growing: seconds by stage that grow with its units.
        by_image: seconds by stage that grow with its images alone, such as a last look at all of them after a training.
        new: seconds by stage that grow with images that are met for the first time: with units, up to all images.
        once: seconds by stage that do not grow.
        host: peak resident bytes of the process; 0 where nobody looked.
        host_per_image: bytes by which that grows with each further image.
        device: peak bytes on the CUDA device; None on a CPU.
        machine: processor and threads, or GPU.
        finished: when, UTC, ISO 8601.
        probe: whether it was a probe, which is much smaller than any run.
        drift: how much further off a prediction may be for every factor of e between its units and the measured ones.
    """

    part: Part
    growing: Stages
    by_image: Stages = field(default_factory=dict)
    new: Stages = field(default_factory=dict)
    once: Stages = field(default_factory=dict)
    host: int = 0
    host_per_image: float = 0.0
    device: int | None = None
    machine: str = ""
    finished: str = ""
    probe: bool = False
    drift: float = PER_FOLD


@dataclass(frozen=True)
class Prediction:
    """What work is going to take.

    Attributes:
        stages: seconds by stage.
        low, high: seconds; a rule of thumb, which ``benchmarks/predictions.py`` holds against runs.
        host: peak resident bytes; None where nobody looked.
        device: peak bytes on the CUDA device; None on a CPU.
        machine: that it holds for.
        basis: what it rests on: ``runs`` of the same, ``probes`` of the same, or ``similar`` work.
    """

    stages: Stages
    low: float
    high: float
    host: int | None
    device: int | None
    machine: str
    basis: Literal["runs", "probes", "similar"]

    @property
    def seconds(self) -> float:
        """On the wall clock, in all."""
        return sum(self.stages.values())


MOST_SIMILAR = 200  # measurements of similar work that are looked at, the newest: stores can hold thousands


class Measurements:
    """All that was measured, found by part. Of several machines, that of the newest measurement counts."""

    def __init__(self, known: Iterable[Measurement]) -> None:
        self._same: dict[Hashable, list[Measurement]] = defaultdict(list)
        self._similar: dict[Hashable, list[Measurement]] = defaultdict(list)
        for one in known:
            self._same[one.part.kind, one.part.same].append(one)
            self._similar[one.part.kind, one.part.similar].append(one)
        self._trimmed: dict[Hashable, list[Measurement]] = {}

    def same(self, part: Part) -> list[Measurement]:
        """Those of the same work, whatever its length."""
        return self._newest("same", self._same, (part.kind, part.same))

    def similar(self, part: Part) -> list[Measurement]:
        """Those of similar work."""
        return self._newest("similar", self._similar, (part.kind, part.similar))

    def _newest(self, what: str, among: Mapping[Hashable, list[Measurement]], key: Hashable) -> list[Measurement]:
        if (what, key) not in self._trimmed:
            found = sorted(among.get(key, ()), key=lambda one: one.finished, reverse=True)
            # Times of two machines have no median that would hold for either.
            found = [one for one in found if one.machine == found[0].machine]
            self._trimmed[what, key] = found[:MOST_SIMILAR]
        return self._trimmed[what, key]


def predict(parts: Sequence[Part], measured: Measurements) -> Prediction | None:
    """What work takes whose parts follow each other; None where nothing was measured that a part is like.

    Args:
        parts: of the work; none: nothing is left to do.
        measured: all that is known.
    """
    found = [_predict_part(part, measured) for part in parts]
    known = [one for one in found if one is not None]
    if len(known) < len(found):  # the sum of what is known would pass for the whole
        return None
    if not known:
        return Prediction({}, 0.0, 0.0, None, None, "", "runs")
    stages: dict[str, float] = defaultdict(float)
    for one in known:
        for stage, seconds in one.stages.items():
            stages[stage] += seconds
    order = ("runs", "probes", "similar")
    return Prediction(
        stages=dict(stages),
        low=sum(one.low for one in known),
        high=sum(one.high for one in known),
        # Parts follow each other in one process, so memory is the most that any of them takes.
        host=max((one.host for one in known if one.host is not None), default=None),
        device=max((one.device for one in known if one.device is not None), default=None),
        machine=known[0].machine,
        basis=max((one.basis for one in known), key=order.index),
    )


def _predict_part(part: Part, measured: Measurements) -> Prediction | None:
    same = measured.same(part)
    rated = [(_spread(part, one), one) for one in same or measured.similar(part)]
    if not rated:
        return None
    least = min(spread for spread, _ in rated)
    # Several may be as near as the nearest: repeats of one configuration, say.
    best = [one for spread, one in rated if spread <= least + 1e-9]
    scaled = [_scaled(part, one) for one in best]
    names = dict.fromkeys(stage for stages in scaled for stage in stages)
    stages = {name: median(one[name] for one in scaled if name in one) for name in names}
    seconds = sum(stages.values())
    # Repeats that differ more than they should tell more than the rule does.
    seen = max((abs(math.log(max(sum(one.values()), 1e-9) / max(seconds, 1e-9))) for one in scaled), default=0.0)
    factor = math.exp(max(least, seen))
    hosts = [_host(part, one) for one in best if one.host]
    devices = [one.device for one in best if one.device is not None]
    return Prediction(
        stages=stages,
        low=seconds / factor,
        high=seconds * factor,
        host=max(hosts, default=None),
        device=max(devices, default=None),
        machine=best[0].machine,
        basis="similar" if not same else "probes" if best[0].probe else "runs",
    )


def _spread(part: Part, one: Measurement) -> float:
    """How far the logarithm of a prediction from one measurement may be off.

    The base is that of repeated runs, of probes, or of similar runs, to which each setting that differs adds; every
    factor of e between the numbers of units adds more. ``benchmarks/predictions.py`` counts how often the ranges hold.
    """
    spread = PROBE_SPREAD if one.probe else RUN_SPREAD
    if part.same != one.part.same:
        names = part.settings.keys() | one.part.settings.keys()
        differing = sum(part.settings.get(name) != one.part.settings.get(name) for name in names)
        spread = max(spread, SIMILAR_SPREAD) + PER_SETTING * differing
    ratio = _ratio(part, one)
    if ratio is None:
        return spread + SIMILAR_SPREAD  # nothing to scale by
    return spread + one.drift * abs(math.log(ratio))


def _ratio(part: Part, one: Measurement) -> float | None:
    """How many times the units of a measurement the part has; None where that is unknown."""
    if not part.units or not one.part.units:
        return None
    ratio = part.units / one.part.units
    if part.same == one.part.same or part.area == one.part.area:
        return ratio
    return None if part.area is None or one.part.area is None else ratio * part.area / one.part.area


def _scaled(part: Part, one: Measurement) -> dict[str, float]:
    ratio = _ratio(part, one) or 1.0
    images = part.images / one.part.images if part.images and one.part.images else 1.0
    all_images = part.images or one.part.images
    new = _met(all_images, ratio * (one.part.units or 1.0)) / _met(one.part.images, one.part.units or 1.0)
    stages: dict[str, float] = defaultdict(float)
    for seconds_of, times in ((one.growing, ratio), (one.by_image, images), (one.new, new), (one.once, 1.0)):
        for stage, seconds in seconds_of.items():
            stages[stage] += seconds * times
    return dict(stages)


def _met(images: float | None, units: float) -> float:
    """Of so many images those that are met in so many units."""
    return units if images is None else min(units, images)


def _host(part: Part, one: Measurement) -> int:
    further = max((part.images or 0) - (one.part.images or 0), 0.0)
    # Never less: memory that was once taken does not shrink with fewer images.
    return one.host + int(one.host_per_image * further)
