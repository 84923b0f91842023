"""The fields of a protocol, of measured and of published rows alike: in words, and in a form that can be compared."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from spectral_bench.reports.published import features
from spectral_bench.reports.rows import ScoredRow
from spectral_bench.reports.settings import MATCHING_WORDS, fitted_words
from spectral_bench.results.published import Look, PublishedRow
from spectral_bench.results.specification import BackboneSpec, Protocol, Resize, View

NOT_STATED = "not stated"
NOT_FINISHED = "not finished"

FIELDS = {
    "dataset": "data set",
    "backbone": "backbone",
    "facet": "features",
    "layer": "layer",
    "classes": "classes",
    "split": "split",
    "images": "images",
    "view": "view",
    "flip": "mirrored image",
    "matching": "matching",
    "crf": "CRF",
    "k": "K",
    "runs": "runs",
    "uses_labels": "uses labels",
}
"""Key of a field -> its name."""

_MATCHINGS: dict[Hashable, str] = {
    **{str(name): words for name, words in MATCHING_WORDS.items()},
    "hungarian_rest_first": "Hungarian on counts, one-to-one, left-over clusters as the first class",
    "text": "classes named by text",
    "linear_probe": "linear probe",
}
_YES_OR_NO: dict[Hashable, str] = {True: "yes", False: "no"}
_FLIP_WORDS: dict[Hashable, str] = {
    "none": "not looked at",
    "features": "its features averaged in",
    "scores": "its scores averaged in",
}
_LAYER_WORDS: dict[Hashable, str] = {"all": "several levels"}
_CRF_WORDS: dict[Hashable, str] = {
    "none": "no",
    "dense": "yes",
    "black_image": "yes, on a black image",
    "pamr": "no, PAMR",
}


@dataclass(frozen=True)
class FieldValue:
    """One field of a protocol.

    Attributes:
        words: for people.
        keys: what it agrees with: two values agree if they have a key in common. None where it is not stated.
    """

    words: str
    keys: frozenset[Hashable] = frozenset()


def published_fields(row: PublishedRow) -> dict[str, FieldValue]:
    """The fields of a published row; those that the source does not state agree with nothing."""
    protocol = row.protocol
    view = protocol.view
    return {
        "dataset": _value(protocol.dataset),
        "backbone": FieldValue(row.backbone or row.timm or NOT_STATED, _keys(row.timm)),
        "facet": _value(protocol.facet),
        "layer": _layer(protocol.layer),
        "classes": _value(protocol.classes),
        "split": _value(protocol.split),
        "images": _value(protocol.images),
        "view": FieldValue(look_words(view), frozenset({view})) if isinstance(view, Look) else _value(view),
        "flip": _value(protocol.flip, _FLIP_WORDS),
        "matching": _value(protocol.matching, _MATCHINGS),
        "crf": _value(protocol.crf, _CRF_WORDS),
        "k": _value(protocol.k),
        "runs": _runs(protocol.seeds, protocol.selection),
        "uses_labels": _value(protocol.uses_labels, _YES_OR_NO),
    }


def measured_fields(entry: ScoredRow) -> dict[str, FieldValue]:
    """The fields of a measured row; what only a finished run knows agrees with nothing before one is."""
    protocol, view = entry.protocol, entry.protocol.view
    evaluations = [result.evaluation for result in entry.done if result.evaluation is not None]
    table = entry.class_table
    look = _look(view)
    return {
        "dataset": FieldValue(entry.data_title, frozenset({view.dataset})),
        "backbone": _backbone(entry),
        **_features(entry),
        "classes": _finished([] if table is None else [len(table.classes)]),
        "split": _value(view.split),
        "images": _images(entry),
        "view": FieldValue(look_words(look), frozenset({look})),
        "flip": _value(view.flip or "none", _FLIP_WORDS),
        "matching": _matching(protocol),
        "crf": _refinement(view),
        "k": _finished([evaluation.n_clusters for evaluation in evaluations]),
        "runs": _runs(len(entry.done), "mean") if entry.done else FieldValue(NOT_FINISHED),
        "uses_labels": _value(entry.uses_labels, _YES_OR_NO),
    }


def differing(published: dict[str, FieldValue], measured: Sequence[dict[str, FieldValue]]) -> list[str]:
    """The keys of the fields in which a published row agrees with no measured row, in the order of FIELDS."""
    return [key for key in FIELDS if not any(published[key].keys & fields[key].keys for fields in measured)]


def look_words(look: Look) -> str:
    """How images are looked at, in a few words."""
    parts = [_resize_words(look.resize)]
    if look.centre_crop is not None:
        parts.append(f"centre {look.centre_crop}")
    if look.window is not None:
        parts.append(f"windows of {look.window}" + ("" if look.stride is None else f" every {look.stride}"))
    return ", ".join(parts) + (", labels too" if look.label_resize else "")


def _resize_words(resize: Resize) -> str:
    if resize.size is not None:
        return f"{resize.size[0]} x {resize.size[1]}"
    return "own size" if resize.short_side is None else f"short side {resize.short_side}"


def _value(value: Hashable, words: Mapping[Hashable, str] | None = None) -> FieldValue:
    if value is None:
        return FieldValue(NOT_STATED)
    return FieldValue(str(value) if words is None else words[value], frozenset({value}))


def _keys(value: Hashable) -> frozenset[Hashable]:
    return frozenset() if value is None else frozenset({value})


def _finished(values: Iterable[int]) -> FieldValue:
    found = sorted(set(values))
    return FieldValue(" or ".join(map(str, found)), frozenset(found)) if found else FieldValue(NOT_FINISHED)


def _runs(seeds: int | None, selection: str | None) -> FieldValue:
    """How many runs stand behind a number, and how they became one."""
    if seeds is None:
        return FieldValue(NOT_STATED)
    if seeds == 1:
        return FieldValue("1", frozenset({(1, "mean")}))
    return FieldValue(f"{selection or 'unknown choice'} of {seeds}", frozenset({(seeds, selection)}))


def _look(view: View) -> Look:
    return Look(**{name: getattr(view, name) for name in Look.model_fields})


def _refinement(view: View) -> FieldValue:
    """What follows the method's scores; guided up-sampling, which no published number has, agrees with nothing."""
    found = _value(_crf(view), _CRF_WORDS)
    return found if view.upsample is None else FieldValue(f"{found.words}; guided up-sampling")


def _crf(view: View) -> str:
    if view.refine is not None:
        return "pamr"
    if view.crf is None:
        return "none"
    return "black_image" if view.crf.black_image else "dense"


def _matching(protocol: Protocol) -> FieldValue:
    matching = protocol.scoring.matching
    if protocol.fit_view is None:
        return _value(matching, _MATCHINGS)
    return FieldValue(_MATCHINGS[matching] + fitted_words(protocol))


def _images(entry: ScoredRow) -> FieldValue:
    if not entry.n_images:
        return FieldValue(NOT_FINISHED)
    words = " or ".join(map(str, entry.n_images))
    is_all = entry.protocol.view.subset is None
    return FieldValue(f"all {words}" if is_all else words, frozenset({*entry.n_images, *(["all"] if is_all else [])}))


def _features(entry: ScoredRow) -> dict[str, FieldValue]:
    """Facet and layer: one of each for all seeds, whose fits differ in the seed alone."""
    specs = [result.fit.spec for result in entry.seeds if result.fit is not None]
    if not specs:
        return dict.fromkeys(("facet", "layer"), FieldValue(NOT_FINISHED))
    return {"facet": _value(features.facet(specs[0])), "layer": _layer(features.layer(specs[0]))}


def _layer(layer: str | None) -> FieldValue:
    return FieldValue(NOT_STATED) if layer is None else FieldValue(str(_LAYER_WORDS.get(layer, layer)), _keys(layer))


def _backbone(entry: ScoredRow) -> FieldValue:
    specs = {_backbone_words(result.fit.spec.backbone) for result in entry.seeds if result.fit is not None}
    names = sorted(specs or {entry.row.backbone})
    return FieldValue(" or ".join(names), frozenset(names))


def _backbone_words(spec: BackboneSpec) -> str:
    return f"{spec.name}, random weights" if spec.options.get("weights") == "random" else spec.name
