"""What a fit is, how it is looked at, and how the look becomes a number.

A fit's identity is the hash of its ``FitSpec``; an evaluation's identity is the fit's and its ``View``'s. Scoring is
outside of every hash, and so is how a run is executed (device, workers, executor, inference batch).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from spectral_bench.common.names import unknown
from spectral_bench.common.registry import is_weights_file
from spectral_bench.results.identity import digest
from spectral_bench.results.parts import Crf as Crf
from spectral_bench.results.parts import Guided as Guided
from spectral_bench.results.parts import Pamr as Pamr
from spectral_bench.results.parts import Resize as Resize
from spectral_bench.results.parts import Spec as Spec
from spectral_bench.results.parts import Transform as Transform
from spectral_bench.results.parts import named_settings


class Named(Spec):
    """A specification that names a part which may be of a user's own: a path, called something else in identities."""

    known_as: str = Field("", description="stands in identities for the path of a user's own; empty: the name does")

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Plain values, as they always were where no path is named."""
        written: dict[str, Any] = handler(self)
        if not written.get("known_as", True):
            del written["known_as"]
        return written


class NamedData(Named):
    """A specification that names a data set."""

    dataset: str

    @property
    def data_name(self) -> str:
        """The data set as identities have it: a user's own by its content, wherever it lies."""
        return self.known_as or self.dataset


class TrainingData(NamedData):
    """The images that a fit sees. ``known_as`` stands for ``dataset``."""

    split: str = "train"
    subset: int | None = Field(None, ge=1, description="number of images, drawn once with a fixed seed; None: all")
    transform: Transform = Transform()


def _unset(value: object) -> bool:
    """Left out where it is written: identities are those of before there was such a key."""
    return value is None


class Features(Spec):
    """How patch features are made.

    Read from a cache of ``views`` fixed views, computed from fresh crops, or read from ``files`` that somebody else
    made, one an image (``bench.features.files``).
    """

    mode: Literal["cache", "online", "files"] = "cache"
    views: int = Field(1, ge=1, description="cached augmented views an image")
    dtype: Literal["float16", "float32"] = Field("float16", description="of the cache; of files, of the pixels alone")
    root: str | None = Field(
        None, exclude_if=_unset, description="folder of the files; {dataset}, {split} are filled in"
    )
    order: Literal["hwc", "chw"] | None = Field(None, exclude_if=_unset, description="of the files' axes; default hwc")
    stride: int | None = Field(
        None, ge=1, exclude_if=_unset, description="pixels a patch of a padded image; None: patches span the image"
    )
    levels: tuple[str, ...] | None = Field(
        None, min_length=1, exclude_if=_unset, description="keys or folders of the levels, from low to high"
    )

    @model_validator(mode="after")
    def _of_files(self) -> Self:
        if self.mode == "files":
            if not self.root:
                raise ValueError("mode files needs root: the folder of the files of features")
            if self.levels is not None and len(set(self.levels)) < len(self.levels):
                raise ValueError(f"levels: expected each name once, got {list(self.levels)}")
            object.__setattr__(self, "order", self.order or "hwc")
        else:
            for key in ("root", "order", "stride", "levels"):
                if getattr(self, key) is not None:
                    raise ValueError(f"{key} is for mode files alone")
        return self


class BackboneSpec(Named):
    """A frozen network: its name, options and the digest of its weights. ``known_as`` stands for ``name``."""

    name: str
    options: dict[str, Any] = Field({}, description="complete")
    weights: str = Field("", description="digest of the weights; filled in by planning")

    def __hash__(self) -> int:
        """Options are no part of it, being a mapping; of equality they are."""
        return hash((self.name, self.weights, self.known_as))


class FitSpec(Named):
    """One fit. Everything here changes the result, and nothing else does. ``known_as`` stands for ``method``."""

    data: TrainingData
    features: Features = Features()
    backbone: BackboneSpec
    method: str
    params: dict[str, Any] = Field({}, description="complete: defaults are filled in by planning")
    precision: Literal["float32", "bfloat16"] = "float32"
    seed: int = Field(0, ge=0)

    @property
    def run_id(self) -> str:
        """The identity of the fit, as the name of its folder: method, seed and hash."""
        return _run_id(self.method, self.model_dump(mode="json"), self.seed)

    @property
    def configuration_id(self) -> str:
        """The hash of all but the seed: what the seeds of one table row share."""
        return digest(identity_form({**self.model_dump(mode="json"), "seed": 0}))

    @property
    def family(self) -> tuple[Any, ...]:
        """What fits that cost about the same have in common; their parameters and seeds may differ."""
        data = self.data
        backbone = own_name(self.backbone.name)
        return (own_name(self.method), data.known_as or data.dataset, data.split, data.subset, backbone)


def own_name(method: str) -> str:
    """The name of a method or backbone; of ``path/to/file.py:Class`` the class."""
    return method.rsplit(":", 1)[-1]


def run_ids(spec: FitSpec, seeds: Iterable[int]) -> tuple[str, ...]:
    """The identities of a fit at each of ``seeds``, in their order: as ``FitSpec.run_id``, written out once for all."""
    written = spec.model_dump(mode="json")
    return tuple(_run_id(spec.method, written, seed) for seed in seeds)


def _run_id(method: str, written: dict[str, Any], seed: int) -> str:
    """The identity of a fit: ``written`` as plain values, with ``seed`` for its seed."""
    return f"{own_name(method).lower()}-s{seed}-{digest(identity_form({**written, 'seed': seed}))}"


def named_in(run_id: str) -> tuple[str, int]:
    """Method, in small letters, and seed, as a run's id tells them; the id itself and 0 where it is none."""
    match = re.fullmatch(r"(.+)-s(\d+)-[0-9a-f]+", run_id)
    return (match[1], int(match[2])) if match else (run_id, 0)


def identity_form(written: Mapping[str, Any]) -> dict[str, Any]:
    """What the identity of a fit is the hash of: its plain values, where no path of a user's own is left."""
    data, backbone = _renamed(written["data"], "dataset"), _renamed(written["backbone"], "name")
    backbone["options"] = placeless(backbone["options"])
    form = {**_renamed(written, "method"), "data": data, "backbone": backbone}
    if "root" in form.get("features", {}):  # the digest of the files stands where that of weights does
        form["features"] = {key: value for key, value in form["features"].items() if key != "root"}
    if named_by_text(params := written.get("params", {})):
        form["params"] = _without_place(params)
    return form


def named_by_text(params: Mapping[str, Any]) -> bool:
    """Whether a fit with these complete parameters is given the names of the classes, through text vectors."""
    start = params.get("start_params")
    return bool(params.get("text_digest")) or (isinstance(start, Mapping) and named_by_text(start))


def _without_place(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters without the place of a file of text vectors, which its digest tells from any other."""
    own = {**params, "text": "file"} if params.get("text_digest") else dict(params)
    start = params.get("start_params")
    return {**own, "start_params": _without_place(start)} if isinstance(start, Mapping) else own


def placeless(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a backbone without the place of a file of weights, which its digest tells from any other."""
    return {key: "file" if key == "weights" and is_weights_file(value) else value for key, value in options.items()}


def view_form(written: Mapping[str, Any]) -> dict[str, Any]:
    """What the identity of a view is the hash of: as ``identity_form``."""
    form = _renamed(written, "dataset")
    if names := form.get("names"):
        form["names"] = {**_renamed(names, "name"), "options": placeless(names["options"])}
    return form


def _renamed(written: Mapping[str, Any], key: str) -> dict[str, Any]:
    renamed = dict(written)
    known_as = renamed.pop("known_as", "")
    if known_as:
        renamed[key] = known_as
    return renamed


Flip = Literal["features", "scores"]


class View(NamedData):
    """What is looked at when a fit is evaluated. Gives contingency over raw label ids.

    ``known_as`` stands for ``dataset``.
    """

    split: str
    subset: int | None = Field(None, ge=1, description="number of images, drawn once with a fixed seed; None: all")
    resize: Resize = Resize()
    centre_crop: int | None = Field(None, ge=16, description="side of a centre crop of image and label, in pixels")
    label_resize: bool = Field(False, description="labels are resized (nearest) with the image; else full resolution")
    window: int | None = Field(None, ge=16, description="side of sliding windows in pixels; None: the whole image")
    stride: int | None = Field(None, ge=1, description="of the windows in pixels; the last window touches the border")
    flip: Flip | None = Field(
        None,
        exclude_if=lambda value: value is None,  # identities are those of before there was a choice
        description="what of the mirrored image is averaged in: features (STEGO) or scores (CAUSE); None: nothing",
    )
    crf: Crf | None = None
    features: str = Field(
        "",
        exclude_if=lambda value: value == "",  # identities are those of before there were such files
        description="digest of the files of features that are looked at; empty: a backbone makes them",
    )
    refine: Pamr | None = Field(None, exclude_if=lambda value: value is None, description="pamr: before the argmax")
    upsample: Guided | None = Field(
        None,
        exclude_if=lambda value: value is None,  # identities are those of before there was a choice
        description="how scores of patches reach pixels: bilinear (none), or guided by the image",
    )
    names: BackboneSpec | None = Field(
        None,
        exclude_if=lambda value: value is None,  # identities are those of before clusters could be named so
        description="network in the space of texts, whose mean feature over each cluster is wanted; None: counts are",
    )

    @field_validator("refine", mode="before")
    @classmethod
    def _refine_by_name(cls, value: Any) -> Any:
        return named_settings("refine", value, Pamr)

    @field_validator("upsample", mode="before")
    @classmethod
    def _upsample_by_name(cls, value: Any) -> Any:
        if isinstance(value, str) and value not in (names := ("bilinear", "guided")):
            raise ValueError(unknown("value", value, names))
        return None if value == "bilinear" else named_settings("upsample", value, Guided)

    @model_validator(mode="after")
    def _refined_once(self) -> Self:
        if self.refine is not None and self.crf is not None:
            raise ValueError("refine and crf both take the place of the argmax: expected one of them")
        return self

    @field_validator("flip", mode="before")
    @classmethod
    def _flip_by_switch(cls, value: object) -> object:
        """``false`` is none; ``true`` is what the first to report numbers with a mirrored image did, STEGO."""
        return {True: "features", False: None}[value] if isinstance(value, bool) else value

    @property
    def view_id(self) -> str:
        """The identity of the view."""
        return _view_id(self)

    @property
    def look_id(self) -> str:
        """The same without files of features: what rows with features of their own have in common."""
        return _view_id(self.model_copy(update={"features": ""}) if self.features else self)


@functools.lru_cache(maxsize=4096)
def _view_id(view: View) -> str:
    """Thousands of runs share a few views."""
    return digest(view_form(view.model_dump(mode="json")))


@functools.lru_cache(maxsize=4096)
def shared(view: View) -> View:
    """One object for all views that are equal, so that looking up its identity again compares no values."""
    return view


Matching = Literal[
    "majority",
    "iou",
    "hungarian",
    "hungarian_iou",
    "hungarian_present",
    "hungarian_iou_present",
    "per_image_hungarian",
    "per_image_hungarian_mean",
    "text",
]
PER_IMAGE: frozenset[Matching] = frozenset({"per_image_hungarian", "per_image_hungarian_mean"})
"""Matchings of clusters to classes anew in each image; their scores compare with those of no other."""


class Names(Spec):
    """Where clusters get names without labels: each is called as the text vector nearest to its mean feature."""

    text: str = Field(min_length=1, description="file of text vectors, as bench data text writes it")
    text_digest: str = Field("", pattern="^([0-9a-f]{16})?$", description="of what it holds; left out: filled in")
    backbone: str = Field("", description="network whose features are averaged; left out: that of the text")
    options: dict[str, Any] = Field({}, description="of that network, beside facet: language")
    split: str | None = Field(None, description="whose images' features are averaged; None: those that are scored")

    def __hash__(self) -> int:
        """As of ``BackboneSpec``."""
        return hash((self.text, self.text_digest, self.backbone, self.split))


class Scoring(Spec):
    """How contingency becomes a number. Costs nothing and is outside of every hash."""

    classes: str = Field("", description="class set of the data set; empty: its default")
    matching: Matching = "iou"
    fit_split: str | None = Field(None, description="split that the matching is fitted on; None: the evaluated one")
    label_budget: int | None = Field(
        None,
        ge=1,
        exclude_if=lambda value: value is None,  # what is stored says nothing of it where it is not asked for
        description="images of fit_split whose labels the matching sees, drawn by the seed of the run, a larger number "
        "holding a smaller one; None: all",
    )
    names: Names | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="for matching text: what names the clusters of any method; None: only those that have names do",
    )

    @field_validator("names", mode="before")
    @classmethod
    def _by_file(cls, value: Any) -> Any:
        return {"text": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fitted_somewhere(self) -> Self:
        if self.fit_split is not None and self.matching in PER_IMAGE:
            raise ValueError(f"fit_split: {self.fit_split}, but {self.matching} is fitted in each image by itself")
        if self.fit_split is not None and self.matching == "text":
            raise ValueError(f"fit_split: {self.fit_split}, but matching text is fitted on no labels")
        if self.label_budget is not None and self.fit_split is None:
            raise ValueError("label_budget: it counts images of another split, which fit_split names, such as train")
        return self


class Protocol(Spec):
    """A named view and scoring, resolved for one data set."""

    name: str
    view: View
    fit_view: View | None = Field(None, description="the view that the matching is fitted on, where it is another")
    scoring: Scoring
    name_view: View | None = Field(
        None, exclude_if=lambda value: value is None, description="the view that gives mean features of clusters"
    )

    @property
    def views(self) -> tuple[View, ...]:
        """All that it looks at."""
        return tuple(view for view in (self.view, self.fit_view, self.name_view) if view is not None)

    @property
    def names_by_features(self) -> bool:
        """Whether its matching calls clusters by their mean features."""
        return self.scoring.matching == "text" and self.scoring.names is not None
