"""The keys of a run in a grid, and how values are put under them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator

from spectral_bench.common.documents.document import Document, KeyPath, Place, standing_at
from spectral_bench.results.specification import Features, Transform

NamedTransform = Literal["evaluation", "paper"]


def _transform_kind(value: Any) -> str:
    return "mapping" if isinstance(value, (dict, Transform)) else "name"


class RunSettings(BaseModel):
    """The keys of one run, with their defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = Field(None, description="title of the row in tables; default: made of the method and settings")
    method: str = Field(description="a method, by name or as path/to/file.py:Class")
    params: dict[str, Any] = Field({}, description="parameters of the method that differ from their defaults")
    dataset: str = Field("synthetic", description="the data set that the fit is evaluated on")
    train_dataset: str | None = Field(None, description="the data set that it is trained on; default: dataset")
    split: str = Field("val", description="the split that it is evaluated on")
    train_split: str = Field("train", description="the split that it is trained on")
    backbone: str = Field("efficientnet_lite0", description="the frozen network")
    backbone_options: dict[str, Any] = Field({}, description="options of the backbone")
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**63)], ...] = Field((0,), min_length=1, description="one run a seed")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="of the networks that are trained")
    features: Features = Field(Features(), description="how patch features are made: {mode, views, dtype}")
    transform: Annotated[
        Annotated[NamedTransform, Tag("name")] | Annotated[Transform, Tag("mapping")], Discriminator(_transform_kind)
    ] = Field(
        "evaluation",
        description="training images: evaluation (the data set's evaluation size), paper (random scale, crop, flip "
        "and colours), or a mapping",
    )
    subset: int | None = Field(None, ge=1, description="number of training images; default: all")
    eval_subset: int | None = Field(None, ge=1, description="number of images evaluated; default: all")
    protocols: tuple[Any, ...] = Field((), description="names, paths or mappings; default: those of the grid")

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
        if twice:
            raise ValueError(f"the seed {twice[0]} stands here twice")
        return seeds


RUN_KEYS: tuple[str, ...] = tuple(RunSettings.model_fields)
EXPANSION_KEYS: tuple[str, ...] = ("matrix", "zip", "exclude")
# Keys that a run cannot be multiplied by: seeds and protocols are lists of their own, params go key by key.
NO_AXIS: Mapping[str, str] = {
    "seeds": "seeds is a list of its own and belongs beside method",
    "protocols": "protocols is a list of its own; every run is evaluated under all of them",
    "params": "list the parameters themselves, without params",
}


def is_run_key(key: str) -> bool:
    """Whether a key, dotted or not, is one of a run; any other is a parameter of the method."""
    return key.partition(".")[0] in RUN_KEYS


def parameter_path(key: str) -> KeyPath:
    """The key path below a run: ``k`` gives params, k; ``features.views`` gives features, views."""
    steps = key.split(".")
    return tuple(steps) if is_run_key(key) else ("params", *steps)


def put(run: Document, key: str, part: Document) -> Document:
    """A copy of a run in which ``part`` stands under ``key``, a key of runs, dotted or not, or a parameter."""
    path = parameter_path(key)
    for depth in range(1, len(path)):
        above = path[:depth]
        if not isinstance(run.get(above), dict):
            shown = ".".join(str(step) for step in above)
            run = run.with_part(above, standing_at(Place(part.place.where, shown), {}))
    return run.with_part(path, part)


def over_defaults(defaults: Document, own: Document) -> Document:
    """The defaults overlaid by a run's own values: params key by key, everything else as a whole."""
    return defaults.overlaid(own, merges=lambda path: path in ((), ("params",)))
