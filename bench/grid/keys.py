"""The keys of a run in a grid, and how a value is put under one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator

from spectral_bench.common.documents.document import Node, join
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

Values = dict[str, Node]


def is_run_key(key: str) -> bool:
    """Whether a key, dotted or not, is one of a run; any other is a parameter of the method."""
    return key.partition(".")[0] in RUN_KEYS


def parameter_path(key: str) -> list[str]:
    """The steps below a run that a key leads to: ``k`` gives params, k; ``features.views`` gives features, views."""
    steps = key.split(".")
    return steps if is_run_key(key) else ["params", *steps]


def put(values: Values, key: str, node: Node) -> Values:
    """A copy of a run's values in which ``key`` (a run key, dotted or not, or a parameter) has the value ``node``."""
    first, *rest = parameter_path(key)
    return {**values, first: _put_below(values.get(first), rest, node, first)}


def get(values: Values, key: str) -> Node | None:
    """The value under ``key`` in a run's values, or None where it is not stated."""
    first, *rest = parameter_path(key)
    node = values.get(first)
    for step in rest:
        node = node.child(step) if node else None
    return node


def _put_below(parent: Node | None, steps: list[str], node: Node, path: str) -> Node:
    if not steps:
        return node
    parent = parent if parent and isinstance(parent.value, Mapping) else Node({}, node.where, path)
    child = _put_below(parent.child(steps[0]), steps[1:], node, join(path, steps[0]))
    return parent.with_item(steps[0], child)


def merged(defaults: Values, own: Values) -> Values:
    """The defaults overlaid by a run's own values: params key by key, everything else as a whole."""
    together = {**defaults, **own}
    shared, mine = defaults.get("params"), own.get("params")
    if shared and mine and isinstance(mine.value, Mapping) and isinstance(shared.value, Mapping):
        together["params"] = Node({**shared.items, **mine.items}, mine.where, mine.path)
    return together
