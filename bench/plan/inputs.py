"""What a run is fed: its training data and its backbone, checked against the facts of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from spectral_bench.bench.features.backbones import complete_options, weights_digest
from spectral_bench.bench.grid.keys import RunSettings
from spectral_bench.common.documents.problems import Problems
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import unknown
from spectral_bench.datasets.interface import DataInfo
from spectral_bench.datasets.registry import data_info
from spectral_bench.results.specification import BackboneSpec, Resize, TrainingData, Transform

PAPER_SCALE = (0.5, 2.0)


def training_data(settings: RunSettings, problems: Problems) -> TrainingData | None:
    """The images that a run is trained on, or None after noting problems.

    Args:
        settings: the run.
        problems: where to note, by the keys of the run.
    """
    key = "dataset" if settings.train_dataset is None else "train_dataset"
    info = None
    with problems.at(key):
        info = facts_of(settings.train_dataset or settings.dataset)
    if info is None or not _split_is_valid(settings, info, problems):
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
        raise ConfigError(
            f"the paper does not use data set {info.name}, so its transform has no sizes; "
            "choose evaluation or spell the transform out"
        )
    resize = Resize(mode="short_side", short_side=info.short_side)
    return Transform(resize=resize, scale=PAPER_SCALE, crop=info.window, flip=True, photometric=True)


def _split_is_valid(settings: RunSettings, info: DataInfo, problems: Problems) -> bool:
    if settings.train_split not in info.splits:
        problems.add("train_split", unknown(f"split of {info.name}", settings.train_split, info.splits))
        return False
    size = info.splits[settings.train_split]
    if settings.subset is not None and size is not None and settings.subset > size:
        problems.add("subset", f"{info.name} {settings.train_split} has {size} images only")
        return False
    return True


def _features_are_valid(settings: RunSettings, transform: Transform, problems: Problems) -> bool:
    features = settings.features
    why = ""
    if features.mode == "online":
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
            digest = weights_digest(settings.backbone, options) or weights.get(settings.backbone, "")
    if options is None or digest is None:
        return None
    return BackboneSpec(name=settings.backbone, options=options, weights=digest)
