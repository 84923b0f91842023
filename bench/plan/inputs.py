"""What a run is given: parameters, training data, classes and backbone, each checked with its place in the grid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import prod
from typing import Any, NamedTuple

from pydantic import ValidationError

from spectral_bench.bench.features.backbones import complete_options, weights_digest
from spectral_bench.bench.features.backbones.registry import backbone as described
from spectral_bench.bench.features.files import find, titled
from spectral_bench.bench.grid.keys import RUN_KEYS, RunSettings
from spectral_bench.bench.plan.images import counted, image_count, training_grids, training_sides, view_sides
from spectral_bench.bench.plan.today import Data
from spectral_bench.bench.predict.bounds import misfits
from spectral_bench.common.documents.problems import Problems
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import nearest, unknown
from spectral_bench.common.registry import FROM_FILES
from spectral_bench.datasets.interface import DataInfo
from spectral_bench.datasets.registry import FOLDER, data_info
from spectral_bench.methods.params import Params
from spectral_bench.methods.registry import METHODS, MethodFacts, complete_params
from spectral_bench.results.specification import (
    BackboneSpec,
    Features,
    Resize,
    TrainingData,
    Transform,
    View,
)


def with_classes(facts: MethodFacts, stated: Mapping[str, Any], data: TrainingData | None) -> dict[str, Any]:
    """The stated parameters, and K where it follows from the classes of the training data and is not stated."""
    n_classes = class_count(facts_of(data.dataset)) if data is not None else 0
    if not facts.classes_as_clusters or n_classes == 0 or "text" in facts.params.model_fields:
        return dict(stated)  # text vectors say which classes they are of
    return {"k": n_classes, **stated}


def checked_params(facts: MethodFacts, stated: Mapping[str, Any], problems: Problems) -> dict[str, Any] | None:
    """The complete parameters of a method, or None after noting what is wrong with the stated ones.

    Args:
        facts: of the method.
        stated: the parameters that the grid states.
        problems: where to note, by the keys of the run.
    """
    strange = [key for key in stated if key not in facts.params.model_fields]
    for key in strange:
        problems.add(("params", key), _unknown(facts, key))
    if strange:
        return None
    try:
        return complete_params(facts.name, stated)
    except ConfigError as error:
        required = [key for key, field in facts.params.model_fields.items() if field.is_required()]
        needed = {key: stated[key] for key in required if key in stated}
        if len(needed) < len(required):
            problems.add("params", str(error))
            return None
        # Each by itself, so that every wrong value is told at once, at its own place in the file.
        faulty = needed if needed and _fault(facts.name, needed) else stated  # without what it needs none can be judged
        found = {key: _fault(facts.name, {**needed, key: stated[key]}) for key in faulty}
        # Beside the others a value may be right that is wrong alone, where a default is what it does not go with.
        alone = {key: fault for key, fault in found.items() if fault and (fault.own or fault.said in str(error))}
        for key, fault in alone.items():
            problems.add(("params", key), fault.said)
        if not alone:  # each is valid, but not together with the others
            problems.add("params", str(error))
        return None


def _unknown(facts: MethodFacts, key: str) -> str:
    run_key = nearest(key, RUN_KEYS)
    hint = f' (or did you mean "{run_key}", a key of a run?)' if run_key else ""
    return unknown(f"parameter of {facts.name}", key, facts.params.model_fields) + hint


class _Fault(NamedTuple):
    """What is wrong with parameters, and whether with one by itself, whatever the others are."""

    said: str
    own: bool


def _fault(method: str, params: Mapping[str, Any]) -> _Fault | None:
    try:
        complete_params(method, params)
    except ConfigError as error:
        cause = error.__cause__
        return _Fault(str(error), isinstance(cause, ValidationError) and any(one["loc"] for one in cause.errors()))
    return None


def check_classes(
    facts: MethodFacts,
    params: Mapping[str, Any],
    data: TrainingData,
    evaluated: DataInfo,
    problems: Problems,
) -> None:
    """Note training data without labels for a method that uses them, and a K that is not the number of classes.

    Args:
        facts: of the method.
        params: its complete parameters.
        data: what it is trained on.
        evaluated: the data set that it is evaluated on, whose labels an oracle reads.
        problems: where to note, by the keys of the run.
    """
    if not facts.uses_labels:
        return
    trained = facts_of(data.dataset)
    for info in (trained, evaluated) if facts.labels_at_prediction else (trained,):
        n_classes = class_count(info)
        if n_classes == 0:
            problems.add("method", f"{facts.name} is fitted with labels, and data set {info.name} has none")
        elif info is trained and data.split in info.unlabelled:
            problems.add(
                "method", f"{facts.name} is fitted with labels, and split {data.split} of {info.name} has none"
            )
        elif facts.classes_as_clusters and params["k"] != n_classes:  # stated, or it would have been filled in
            problems.add(
                ("params", "k"),
                f"k is {params['k']}, but the clusters of {facts.name} are the {n_classes} classes of {info.name} "
                f'(class set "{info.default_classes}"): set k: {n_classes} in its row',
            )


def class_count(info: DataInfo) -> int:
    """Classes of a data set's default class set; 0 where it has no labels."""
    return len(info.class_sets[info.default_classes].classes) if info.class_sets else 0


def check_sizes(
    facts: MethodFacts,
    params: Mapping[str, Any],
    data: TrainingData,
    backbone: BackboneSpec,
    problems: Problems,
    today: Data | None = None,
) -> None:
    """Note parameters that ask for more training images or patches than there are.

    Args:
        facts: of the method.
        params: its complete parameters.
        data: what it is trained on.
        backbone: whose patches it sees.
        problems: where to note, by the keys of the run.
        today: the images that are there, which tell what the data set does not state; None: nobody looks at them.
    """
    images = image_count(data)
    if images is None and today is not None:
        images = today.count(data.dataset, data.split)
    # A data set whose images are not at hand: the fit itself says it.
    if images is None:
        return
    try:
        found = _misfits(facts.params(**params), images, data, backbone, today)
    except Exception as error:
        if facts.name in METHODS:
            raise
        said = f"{facts.name}: its parameters' misfits raised {type(error).__name__}: {error}"
        problems.add(("params",), " ".join(said.split()))
        return
    for name, expected in found.items():
        where = f"{data.dataset} {data.split}" + (f" with subset: {data.subset}" if data.subset else "")
        problems.add(("params", name), f"{name} = {params[name]}: expected {expected} (of {where})")


def _misfits(
    params: Params, images: int, data: TrainingData, backbone: BackboneSpec, today: Data | None
) -> dict[str, str]:
    grids = training_grids(data, backbone, today)
    first = next(grids, None)
    found = misfits(params, images, None if first is None else images * prod(first))
    # Sizes are asked only now, as it takes the headers of all images, and not for what images alone are too few for.
    # A fit refuses images of several sizes, whatever their sum.
    of_images = misfits(params, images, None) if found else {}
    return of_images if found != of_images and any(grid != first for grid in grids) else found


def check_scores(params: Mapping[str, Any], views: Iterable[View], problems: Problems) -> None:
    """Note views that multiply the scores of a method that are negative by its own parameters.

    Args:
        params: complete parameters of the method.
        views: what it is looked at by.
        problems: where to note, by the keys of the run.
    """
    guided = [view.upsample for view in views if view.upsample is not None]
    if params.get("scores") == "distance" and any(g.correction == "ratio" and g.temperature is None for g in guided):
        problems.add(
            ("params", "scores"),
            "scores = distance: minus the squared distances are negative, and upsample: correction: ratio multiplies "
            "them: set its temperature, which makes them shares, or correction: shift",
        )


def check_inputs(backbone: BackboneSpec, looks: Iterable[TrainingData | View], problems: Problems) -> None:
    """Note sizes of inputs that the backbone refuses; where they depend on images, it says so itself when it sees them.

    Args:
        backbone: what sees them.
        looks: the training data, and the views.
        problems: where to note, by the keys of the run.
    """
    made = described(backbone.name, backbone.options)
    for look in looks:
        sides = training_sides(look) if isinstance(look, TrainingData) else view_sides(look)
        if isinstance(look, View) and look.window is not None:
            sides = look.window, look.window
        seen = None if sides is None else made.info.native or made.info.cover(*sides)
        if seen is not None and (why := made.refused(*seen)):
            problems.add("backbone", f"{backbone.name}: {why}")
            return


PAPER_SCALE = (0.5, 2.0)  # times the short side, drawn for each crop


def training_data(settings: RunSettings, problems: Problems, today: Data | None = None) -> TrainingData | None:
    """The images that a run is trained on, or None after noting problems.

    Args:
        settings: the run.
        problems: where to note, by the keys of the run.
        today: counts images where the data set does not state their number; None: nobody does.
    """
    key = "dataset" if settings.train_dataset is None else "train_dataset"
    info = None
    with problems.at(key):
        info = counted(facts_of(settings.train_dataset or settings.dataset), [settings.train_split], today)
    keys = "train_split", "subset"
    if info is None or not has_images(info, settings.train_split, settings.subset, problems, keys):
        return None
    transform = None
    with problems.at("transform"):
        transform = resolve_transform(settings.transform, info)
    if transform is None or not _features_are_valid(settings, transform, problems):
        return None
    return TrainingData(dataset=info.name, split=settings.train_split, subset=settings.subset, transform=transform)


def facts_of(dataset: str) -> DataInfo:
    """The facts of a data set under the name that the grid uses, which may be a path.

    Raises:
        ConfigError, DataError: there is no such data set.
    """
    return replace(data_info(dataset), name=dataset)


def resolve_transform(transform: str | Transform, info: DataInfo) -> Transform:
    """A transform by name, resolved for a data set; a transform that is spelled out stays what it is.

    * ``evaluation``: the data set's evaluation size, exactly, or each image's own size where it has none.
    * ``paper``: the short side times a factor of 0.5 to 2, a square crop, a flip, and photometric distortion.

    Raises:
        ConfigError: the data set does not state what ``paper`` needs.
    """
    if isinstance(transform, Transform):
        return transform
    if transform == "evaluation":
        size = info.evaluation_size
        return Transform(resize=Resize(mode="exact", size=size) if size else Resize())
    if info.short_side is None or info.window is None:
        missing = " and ".join(key for key in ("short_side", "window") if getattr(info, key) is None)
        if info.name.startswith(FOLDER):
            raise ConfigError(
                f"transform paper takes short_side and window from the description, but {info.name} states no "
                f"{missing}; add it there, or choose evaluation or spell the transform out"
            )
        raise ConfigError(
            f"the paper does not use data set {info.name}, so its transform has no sizes; "
            "choose evaluation or spell the transform out"
        )
    resize = Resize(mode="short_side", short_side=info.short_side)
    return Transform(resize=resize, scale=PAPER_SCALE, crop=info.window, flip=True, photometric=True)


def has_images(info: DataInfo, split: str, subset: int | None, problems: Problems, keys: tuple[str, str]) -> bool:
    """Whether a data set has a split, and it as many images as are asked for; else the fault is noted at its key."""
    if split not in info.splits:
        problems.add(keys[0], unknown(f"split of {info.name}", split, info.splits))
        return False
    size = info.splits[split]
    if subset is not None and size is not None and subset > size:
        problems.add(keys[1], f"{info.name} {split} has {size} images only")
        return False
    return True


def _features_are_valid(settings: RunSettings, transform: Transform, problems: Problems) -> bool:
    features = settings.features
    # Several views are several draws of the transform, to be kept: online, or without chance, there is one kind only.
    why = ""
    if features.mode == "files" and transform.random:
        problems.add(
            "transform",
            "features of files are of whole images, and this transform draws crops or colours; choose evaluation, or a "
            "mapping with resize alone",
        )
        return False
    if features.mode == "files":
        why = "files hold one view an image"
    elif features.mode == "online":
        why = "online features are drawn anew each epoch"
    elif not transform.random:
        why = "the transform draws nothing"
    if features.views > 1 and why:
        problems.add("features", f"views: {features.views} views an image have no meaning here: {why}")
    if transform.scale is not None and transform.crop is None:
        problems.add("transform", "scale gives images of many sizes, and batches need one; give a crop too")
    return not (features.views > 1 and why) and (transform.scale is None or transform.crop is not None)


def backbone_spec(settings: RunSettings, weights: Mapping[str, str], problems: Problems) -> BackboneSpec | None:
    """The backbone of a run, or None after noting problems.

    The digest is that of the weights on this machine, else the one that the store knows, else empty: the run's
    identity is provisional until the weights are here.

    Args:
        settings: the run.
        weights: backbone -> digest, as the store knows them.
        problems: where to note, by the keys of the run.
    """
    options: dict[str, Any] | None = None
    with problems.at("backbone"):
        options = complete_options(settings.backbone, {})
    if options is None:
        return None
    if settings.backbone_options:
        options = None
        with problems.at("backbone_options"):
            options = complete_options(settings.backbone, settings.backbone_options)
    digest: str | None = None
    with problems.at("backbone"):
        if options is not None:
            # Without the weights: what the store has locked keeps the identity of runs that were made elsewhere.
            digest = weights_digest(settings.backbone, options) or weights.get(settings.backbone, "")
    if options is None or digest is None:
        return None
    return BackboneSpec(name=settings.backbone, options=options, weights=digest)


def stored_backbone(settings: RunSettings, problems: Problems) -> BackboneSpec | None:
    """What stands for the backbone of features that were computed elsewhere, or None after noting problems.

    Its title, what the first file tells, and the digest of the files of the training split.

    Args:
        settings: the run, whose features are of mode ``files``.
        problems: where to note, by the keys of the run.
    """
    title = settings.backbone.removeprefix(FROM_FILES)
    if settings.backbone_options:
        problems.add("backbone_options", "features lie in files, so there is no network that has options; leave it out")
        return None
    name = None
    with problems.at("backbone"):
        name = titled(title)
    if name is None:
        return None
    files = None
    with problems.at(("features", "root")):
        files = find(settings.features, settings.train_dataset or settings.dataset, settings.train_split)
    if files is None:
        return None
    with problems.at("features"):
        return BackboneSpec(name=name, options=files.facts(), weights=files.digest())
    return None


def stored_view(view: View, features: Features) -> View:
    """A view of features that were computed elsewhere: with the digest of the files of its split.

    Raises:
        ConfigError: it looks at other than whole images.
        DataError: there are no such files.
    """
    if other := view.model_dump(exclude_defaults=True).keys() - _OF_WHOLE_IMAGES:
        raise ConfigError(
            f"its view has {', '.join(sorted(other))}, and features of files are of whole images only; choose a "
            "protocol such as whole"
        )
    return view.model_copy(update={"features": find(features, view.dataset, view.split).digest()})


_AFTER_FEATURES = {"crf", "refine", "upsample", "names"}
_OF_WHOLE_IMAGES = {"dataset", "known_as", "split", "subset", "resize", "label_resize", "features"} | _AFTER_FEATURES
"""Keys of a view that change nothing of which features are looked at."""
