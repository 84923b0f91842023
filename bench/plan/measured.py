"""What runs and probes have measured, and the parts of what is planned, in the words of ``bench.plan.prediction``."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from spectral_bench.bench.features.backbones import backbone_info
from spectral_bench.bench.plan.prediction import Measurement, Part, Stages
from spectral_bench.bench.plan.records import PastRun, Recorded
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.files import write_bytes
from spectral_bench.methods.registry import ANY, METHODS
from spectral_bench.results.documents import names_in
from spectral_bench.results.identity import digest
from spectral_bench.results.record import BASE_STAGE, COHORT, HEALTH_STAGE
from spectral_bench.results.specification import identity_form, own_name, view_form

logger = logging.getLogger(__name__)

PROBES_FOLDER = "probes"  # in the store: what `plan --probe` measured, a file a configuration and machine

REST = "rest"  # the stage of what no stage was charged with: opening data, writing records

_LENGTH = ("steps", "epochs")
# Stages of a training that grow with its steps; others of a fit look at all images once.
_STEPPED = ("fit", "graph", "teacher")

Written = Mapping[str, Any]
"""A specification as plain values."""


def is_trained(method: str, params: Written) -> bool:
    """Whether a method with these parameters is trained in steps, each on a batch of images.

    One that ships and starts from the fit of one certain method has that one's parameters beside its own, and no steps.
    """
    shipped = METHODS.get(method)
    if shipped is not None and shipped.facts.fit_from not in (None, ANY):
        return False
    return "batch_size" in params and any(params.get(name) for name in _LENGTH)


def steps_of(params: Written, images: float | None) -> int | None:
    """Training steps in all; None where they depend on a number of images that is not known."""
    if params.get("steps"):
        return int(params["steps"])
    return None if images is None else int(params["epochs"]) * int(images // params["batch_size"])


def fit_part(written: Written, images: float | None) -> Part:
    """A fit.

    Args:
        written: its specification.
        images: that it is trained on; None where that is not known.
    """
    form = identity_form(written)
    params, data = dict(form["params"]), {**form["data"], "subset": None}
    units: float | None = images
    if is_trained(str(form["method"]), params):
        steps = steps_of(params, images)
        units = None if steps is None else float(steps * params["batch_size"])
    if "batch_size" in params:
        # Fits that differ in length alone take the same time a step, and what starts from them the same time.
        params = {name: value for name, value in params.items() if name not in _LENGTH}
    backbone = _network(form["backbone"])
    stated = {name: form.get(name) for name in ("features", "precision")}
    return Part(
        "fit",
        same=digest(["fit", form["method"], params, data, backbone, stated]),
        similar=_similar("fit", form["method"], data["dataset"], backbone["name"], _mode(form)),
        settings={**params, "transform": data.get("transform"), **stated},
        units=units,
        images=images,
    )


def evaluation_part(written: Written, view: Written, images: float | None) -> Part:
    """The evaluation of a fit under a view; arguments as for ``fit_part``, the images those of the view."""
    # Without the number of images, which is what the time is scaled by.
    form, look = identity_form(written), {**view_form(view), "subset": None}
    params = {name: value for name, value in form["params"].items() if name not in _LENGTH}
    backbone = _network(form["backbone"])
    seen = digest(look)
    return Part(
        "evaluate",
        same=digest(["evaluate", form["method"], params, seen, backbone, _mode(form)]),
        similar=_similar("evaluate", form["method"], seen, backbone["name"], _mode(form)),
        settings=params,
        units=images,
        images=images,
    )


def features_part(written: Written, source: Written, images: float | None) -> Part:
    """The features of images, to be cached.

    Args:
        written: the specification of the fit.
        source: the training data, or a view.
        images: as for ``fit_part``.
    """
    backbone = _network(identity_form(written)["backbone"])
    transform = source.get("transform") or source
    shots = written["features"].get("views", 1) if "transform" in source else 1 if source.get("flip") is None else 2
    geometry = {name: transform.get(name) for name in ("resize", "scale", "crop", "centre_crop", "window", "stride")}
    dataset = source.get("known_as") or source["dataset"]
    return Part(
        "features",
        same=digest(["features", backbone, dataset, geometry, shots]),
        similar=_similar("features", backbone["name"]),
        units=images,
        images=images,
        area=_area(written["backbone"], geometry, shots),
    )


def _network(backbone: Written) -> dict[str, Any]:
    # Without the digest of the weights: other weights take the same time, and they may not be known yet.
    return {"name": own_name(str(backbone["name"])), "options": backbone.get("options", {})}


def _similar(*names: object) -> str:
    return " ".join(own_name(str(name)) for name in names)


def _mode(form: Written) -> str:
    return str(form.get("features", {}).get("mode", "cache"))


def _area(backbone: Written, geometry: Written, shots: int) -> float | None:
    """Pixels that the backbone sees of an image; None where they depend on the image."""
    resize = geometry["resize"] or {}
    side = geometry["crop"] or geometry["centre_crop"]
    sides = (side, side) if side else tuple(resize.get("size") or ()) if resize.get("mode") == "exact" else ()
    if not sides or geometry["window"]:
        return None
    try:
        native = backbone_info(str(backbone["name"]), backbone.get("options", {})).native
    except ConfigError:  # of a user's own, and gone
        return None
    height, width = native or sides  # a backbone with a resolution of its own resizes whatever it is given
    return float(height * width * shots)


def measurements(past: Iterable[PastRun]) -> Iterator[Measurement]:
    """What runs that did not fail took."""
    for run in past:
        spec = _plain(run.fit.spec)
        if run.fit.status != "failed":
            yield from of_fit(run.fit, spec)
        for record in run.evaluations.values():
            if record.status != "failed":
                yield from of_evaluation(record, spec, _plain(record.view))


def of_fit(record: Recorded, spec: Written) -> Iterator[Measurement]:
    """What a fit took, the fit itself last.

    Args:
        record: of the fit.
        spec: of it.
    """
    images = _items(record, "fit")
    trained = is_trained(str(spec["method"]), spec["params"])
    stages = _stages(record)
    # A fit's checks look at few images, or at a sample, however many there are.
    once = {name: stages.pop(name) for name in (BASE_STAGE, HEALTH_STAGE, REST) if name in stages}
    if _mode(spec) == "cache":
        yield from _of_features(record, spec, spec["data"], stages.pop("features", None))
    looks = {name: stages.pop(name) for name in list(stages) if trained and name not in _STEPPED}
    yield _measurement(record, fit_part(spec, images), stages, looks, once)


def of_evaluation(record: Recorded, spec: Written, view: Written) -> Iterator[Measurement]:
    """What an evaluation took, the evaluation itself last.

    Args:
        record: of the evaluation.
        spec: of the fit.
        view: what was looked at.
    """
    part = evaluation_part(spec, view, _items(record, "evaluate"))
    stages = _stages(record)
    once = {name: stages.pop(name) for name in (HEALTH_STAGE, REST) if name in stages}
    if _mode(spec) == "cache":
        yield from _of_features(record, spec, view, stages.pop("features", None))
    yield _measurement(record, part, stages, once=once)


def _of_features(record: Recorded, spec: Written, source: Written, seconds: float | None) -> Iterator[Measurement]:
    if seconds:
        yield _measurement(record, features_part(spec, source, _items(record, "features")), {"features": seconds})


def _measurement(
    record: Recorded, part: Part, growing: Stages, by_image: Stages | None = None, once: Stages | None = None
) -> Measurement:
    # Features have a measurement of their own, and their memory is that of the backbone.
    costs = [cost for cost in record.costs if (cost.stage == "features") == (part.kind == "features")]
    devices = [cost.peak_device for cost in costs if cost.peak_device is not None]
    return Measurement(
        part,
        dict(growing),
        dict(by_image or {}),
        once=dict(once or {}),
        host=max((cost.peak_rss for cost in costs), default=0),
        device=max(devices, default=None),
        machine=machine_of(record.execution, record.environment),
        finished=record.finished,
    )


def _stages(record: Recorded) -> dict[str, float]:
    """Wall seconds by stage, and the rest; what another run had paid for is left out.

    Of a run side by side with others there is no rest: between its begin and its end were the turns of all of them.
    """
    found: dict[str, float] = defaultdict(float)
    for cost in record.costs:
        if not cost.reused:
            found[cost.stage] += cost.wall_s
    alone = COHORT not in record.execution
    rest = _elapsed(record) - sum(cost.wall_s for cost in record.costs) if alone else 0.0
    return {**found, REST: rest} if rest > 0 else dict(found)


def _elapsed(record: Recorded) -> float:
    try:
        begun, ended = datetime.fromisoformat(record.started), datetime.fromisoformat(record.finished)
    except ValueError:
        return 0.0
    return (ended - begun).total_seconds()


def _items(record: Recorded, stage: str) -> float | None:
    found = [cost.items for cost in record.costs if cost.stage == stage and cost.items]
    return float(found[0]) if found else None


def _plain(value: Any) -> Written:
    """A specification as plain values, whether it was read in full or in short."""
    return value if isinstance(value, dict) else value.model_dump(mode="json")


def machine_of(execution: Written, environment: Written) -> str:
    """The machine of a record, as far as it decides how long something takes: GPU, or processor and threads."""
    if str(execution.get("device", "")).startswith("cuda"):
        gpus = environment.get("gpus") or [{}]
        return f"GPU {gpus[0].get('name', '')}".strip()
    return f"{environment.get('cpu', 'CPU')}, {execution.get('threads') or '?'} threads"


def is_gpu(machine: str) -> bool:
    """Whether a machine, as ``machine_of`` words it, is a GPU."""
    return machine.startswith("GPU")


_PROBES: TypeAdapter[list[Measurement]] = TypeAdapter(list[Measurement])


def write_probe(store: Path, found: list[Measurement]) -> None:
    """Keep what a probe measured, in place of what an earlier one did of the same on such a machine.

    Raises:
        StoreError: it cannot be written.
    """
    # The same configuration on the same kind of machine gives the same file: a later probe takes its place.
    key = digest([sorted(one.part.same for one in found), found[0].machine], 16)
    write_bytes(store / PROBES_FOLDER / f"{key}.json", _PROBES.dump_json(found, indent=1))


def read_probes(store: Path) -> Iterator[Measurement]:
    """All that probes have measured; a file of another release is passed over, with a line in the log."""
    folder = store / PROBES_FOLDER
    for name in names_in(folder):
        if name.endswith(".json"):
            try:
                yield from _PROBES.validate_json((folder / name).read_bytes())
            except (OSError, ValidationError) as error:
                logger.warning("%s: passed over (%s)", folder / name, type(error).__name__)
