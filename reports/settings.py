"""The columns that say what a row is: grid, configuration, data, backbone, protocol, class set, matching, images."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spectral_bench.common.names import few, how_many
from spectral_bench.common.registry import short_name
from spectral_bench.reports.cells import label_marks, per_image_marks, setting_cell, stale_marks
from spectral_bench.reports.rows import PER_IMAGE_SYMBOL, ScoredRow
from spectral_bench.reports.table import Cell, Column, NoteBook
from spectral_bench.results.matching import NO_CLASS, is_one_to_one
from spectral_bench.results.specification import Matching, Protocol, own_name

MATCHING_WORDS: dict[Matching, str] = {
    "majority": "majority, many-to-one",
    "iou": "IoU, many-to-one",
    "hungarian": "Hungarian on counts, one-to-one",
    "hungarian_iou": "Hungarian on IoU, one-to-one",
    "hungarian_present": "Hungarian on counts, one-to-one, without absent classes",
    "hungarian_iou_present": "Hungarian on IoU, one-to-one, without absent classes",
    "per_image_hungarian": f"{PER_IMAGE_SYMBOL} Hungarian on counts anew in each image, sums over images",
    "text": "by text, no label looked at",
    "per_image_hungarian_mean": f"{PER_IMAGE_SYMBOL} Hungarian on counts anew in each image, mean of images",
}

_NAMED = 6
USUAL_WEIGHTS = "pre-trained"
ALL_IMAGES = "all"
_IN_COLUMNS = ("k", "dataset", "train_dataset", "split", "train_split", "subset", "eval_subset", "backbone")

SETTING_COLUMNS = (
    Column("grid", "grid", constant=True),
    Column("configuration", "configuration"),
    Column("method", "method", machine=True),
    Column("settings", "settings", machine=True),
    Column("uses_labels", "uses labels", machine=True),
    Column("own_code", "own code", machine=True),
    Column("dataset", "data set", constant=True),
    Column("train_dataset", "trained on", constant=True, echoes="dataset"),
    Column("train_images", "training images", constant=True),
    Column("backbone", "backbone", constant=True),
    Column("weights", "weights", constant=True),
    Column("k", "K", "count", constant=True),
    Column("common_settings", "common settings", constant=True),
    Column("protocol", "protocol", constant=True),
    Column("split", "split", constant=True),
    Column("classes", "classes", constant=True),
    Column("matching", "matching", constant=True),
    Column("images", "images", constant=True),
)


@dataclass(frozen=True)
class CommonSettings:
    """What the rows of a table have in common.

    Attributes:
        settings: those that differ from their defaults and are the same in all rows, or in all rows of a method; in
            words, None where there are none.
        weights: whether some rows have other weights than their backbone's usual ones, so that all say which.
        images: whether some rows are trained on another split than ``train`` or on a part of one, so that all say it.
        told: pairs of a method and a setting that the caption tells of its rows.
    """

    settings: str | None = None
    weights: bool = False
    images: bool = False
    told: frozenset[tuple[str, str]] = frozenset()


def common_settings(entries: Sequence[ScoredRow], besides: Collection[str] = ()) -> CommonSettings:
    """What rows have in common, as far as their grids told.

    Args:
        entries: the rows.
        besides: settings that the table tells in another way.
    """
    shared = _in_common(entries)
    told, known = ([_words(shared)] if shared else []), set()
    common: dict[tuple[str, str], list[str]] = {}  # a setting and its value -> the methods all of whose rows have it
    for method in dict.fromkeys(entry.row.method for entry in entries):
        own = [entry for entry in entries if entry.row.method == method]
        rest = {key: value for key, value in _in_common(own).items() if key not in shared and not _titled(own, key)}
        known |= {(method, key) for key in (*shared, *rest, *besides)}
        for key, value in rest.items():
            common.setdefault((key, value_text(value)), []).append(own_name(method))
    for names in dict.fromkeys(map(tuple, common.values())):
        settings = ", ".join(f"{key} = {text}" for (key, text), having in common.items() if tuple(having) == names)
        told.append(f"in rows of {' and '.join(names)} {settings}")
    images = any(training_words(entry) != ALL_IMAGES for entry in entries)
    return CommonSettings("; ".join(told) or None, any(_weights(entry) for entry in entries), images, frozenset(known))


def told_once(entries: Sequence[ScoredRow]) -> list[str]:
    """Sentences that tell what has no column in a table of many data sets: training images, weights, K, settings.

    Where rows differ, each value stands with the rows that have it.
    """
    shared = common_settings(entries)
    found = [_grouped("K", [str(clusters(entry) or "none") for entry in entries], entries)]
    if any(entry.row.train_dataset != entry.row.dataset for entry in entries):
        found.append(_grouped("Trained on", [entry.train_title for entry in entries], entries))
    if shared.images:
        found.append(_grouped("Training images", [training_words(entry) for entry in entries], entries))
    if shared.weights:
        found.append(_grouped("Weights", [_weights(entry) or USUAL_WEIGHTS for entry in entries], entries))
    return [*found, *([] if shared.settings is None else [f"Common settings: {shared.settings}."])]


def titles_with_clusters(entries: Sequence[ScoredRow]) -> list[str]:
    """The titles of rows, with K where rows differ in it and a title does not tell it."""
    numbers = [None if _titled([entry], "k") else clusters(entry) for entry in entries]
    several = len({clusters(entry) for entry in entries} - {None}) > 1
    return [
        f"{entry.row.title} (K = {number})" if several and number is not None else entry.row.title
        for entry, number in zip(entries, numbers, strict=True)
    ]


def clusters(entry: ScoredRow) -> int | None:
    """The number of clusters of a row: as its runs have it, else as its grid told; None where nothing tells."""
    found = {result.evaluation.n_clusters for result in entry.done if result.evaluation is not None}
    return next(iter(found)) if len(found) == 1 else entry.row.k


def setting_cells(entry: ScoredRow, notes: NoteBook, shared: CommonSettings = CommonSettings()) -> dict[str, Cell]:
    """The cells of ``SETTING_COLUMNS``. What only a finished evaluation knows is None in a row without one.

    Args:
        entry: the row.
        notes: gets the notes of its marks.
        shared: what it has in common with the other rows of the table.
    """
    marks = (*label_marks(entry, notes), *stale_marks(entry, notes), *matching_marks(entry, notes))
    marks = (*marks, *_setting_marks(entry, shared, notes))
    texts = {
        "grid": entry.grid,
        "configuration": entry.row.title,
        "method": entry.row.method,
        "settings": json.dumps(entry.row.settings, sort_keys=True, ensure_ascii=False),
        "uses_labels": "yes" if entry.uses_labels else "no",
        "own_code": entry.own_code,
        "dataset": entry.data_title,
        "train_dataset": entry.train_title,
        "train_images": training_words(entry) if shared.images else None,
        "backbone": entry.row.backbone,
        "weights": (_weights(entry) or USUAL_WEIGHTS) if shared.weights else None,
        "common_settings": shared.settings,
        "protocol": entry.protocol.name,
        "split": split_words(entry.protocol),
        "classes": _classes(entry),
        "matching": matching_words(entry.protocol),
        "images": " or ".join(map(str, entry.n_images)) or None,
    }
    cells = {key: setting_cell(entry, text, marks if key == "configuration" else ()) for key, text in texts.items()}
    return {**cells, "k": Cell(value=clusters(entry), runs=entry.all_runs)}


def training_words(entry: ScoredRow) -> str:
    """Which images of its data set a row is trained on: the split where it is not the usual one, and how many."""
    split = "" if entry.row.train_split == "train" else f"{entry.row.train_split}, "
    subset = _subset(entry)
    return split + (ALL_IMAGES if subset is None else f"subset of {subset}")


def matching_words(protocol: Protocol) -> str:
    """The matching in words, with the split that it is fitted on where that is another than the scored one."""
    return MATCHING_WORDS[protocol.scoring.matching] + fitted_words(protocol) + _named_words(protocol)


def _named_words(protocol: Protocol) -> str:
    """Whose features clusters are called by, to go behind the name of the matching; empty where by none."""
    names = protocol.scoring.names
    if not protocol.names_by_features or names is None:
        return ""
    return f", mean features of {'the evaluated images' if names.split is None else names.split}"


def fitted_words(protocol: Protocol) -> str:
    """Where the matching is fitted, to go behind its name; empty where that is what is scored."""
    if protocol.fit_view is None:
        return ""
    budget, split = protocol.scoring.label_budget, protocol.fit_view.split
    return f", fitted on {split}" if budget is None else f", fitted on {how_many(budget, 'image')} of {split}"


def split_words(protocol: Protocol) -> str:
    """The split that is scored, and whether it is a subset."""
    view = protocol.view
    return view.split if view.subset is None else f"{view.split} (subset of {view.subset})"


def _subset(entry: ScoredRow) -> int | None:
    """The number of training images, None for all: as the fits have it, else as the grid told."""
    fits = [result.fit.spec.data.subset for result in entry.seeds if result.fit is not None]
    return fits[0] if fits else entry.row.subset


def _weights(entry: ScoredRow) -> str:
    """Where the weights are from, where not from the usual place: as the grid told, else as the fits have it."""
    options = next((result.fit.spec.backbone.options for result in entry.seeds if result.fit is not None), {})
    return entry.row.weights or ("random" if options.get("weights") == "random" else "")


def _unusual(entry: ScoredRow) -> dict[str, Any]:
    """What differs from its default in a row; what the grid states, where it did not tell of defaults."""
    if entry.row.unusual is not None:
        return entry.row.unusual
    return {key: value for key, value in entry.row.settings.items() if key not in _IN_COLUMNS}


def _in_common(entries: Sequence[ScoredRow]) -> dict[str, Any]:
    """The unusual settings that all rows have with the same value, in the order of the first."""
    if not entries:
        return {}
    first, *others = [_unusual(entry) for entry in entries]
    return {key: value for key, value in first.items() if all(key in other and other[key] == value for other in others)}


def _grouped(what: str, values: Sequence[str], entries: Sequence[ScoredRow]) -> str:
    """One value for all rows, or each value with the rows that have it."""
    if len(set(values)) == 1:
        return f"{what}: {values[0]}."
    rows: dict[str, list[str]] = {}
    for value, entry in zip(values, entries, strict=True):
        rows.setdefault(value, []).append(entry.row.title)
    told = [f"{value} ({few(list(dict.fromkeys(titles)), _NAMED)})" for value, titles in rows.items()]
    return f"{what}: {'; '.join(told)}."


def _titled(entries: Sequence[ScoredRow], key: str) -> bool:
    """Whether the titles of rows tell a setting."""
    return all(f"{key}=" in entry.row.title for entry in entries)


def _words(settings: dict[str, Any]) -> str:
    return ", ".join(f"{key} = {value_text(value)}" for key, value in settings.items())


def _classes(entry: ScoredRow) -> str | None:
    table = entry.class_table
    return None if table is None else f"{len(table.classes)} ({entry.class_set})"


def _setting_marks(entry: ScoredRow, shared: CommonSettings, notes: NoteBook) -> tuple[str, ...]:
    """A mark for the settings of a row that differ from their defaults and that neither caption nor title tells."""
    method = entry.row.method
    own = {key: value for key, value in (entry.row.unusual or {}).items() if (method, key) not in shared.told}
    untold = {key: value for key, value in own.items() if not _titled([entry], key)}
    return (notes.mark(f"With {_words(untold)}."),) if untold else ()


def matching_marks(entry: ScoredRow, notes: NoteBook) -> tuple[str, ...]:
    """The marks of a matching in each image by itself, and of what a one-to-one matching leaves over or adds."""
    surplus = (*_surplus_marks(entry, notes), *_naming_marks(entry, notes))
    return (*per_image_marks(entry, notes), *surplus, *_absent_marks(entry, notes))


def _surplus_marks(entry: ScoredRow, notes: NoteBook) -> tuple[str, ...]:
    """A mark where a one-to-one matching leaves clusters or classes over."""
    table = entry.class_table
    if table is None or entry.per_image or not is_one_to_one(entry.protocol.scoring.matching):
        return ()
    if entry.protocol.names_by_features:  # several clusters may be called alike
        return ()
    counts = {result.evaluation.n_clusters for result in entry.done if result.evaluation is not None}
    if counts == {len(table.classes)}:
        return ()
    clusters = " or ".join(map(str, sorted(counts)))
    text = f"One-to-one matching of {clusters} clusters to {len(table.classes)} classes leaves some of them unmatched."
    return (notes.mark(text),)


def _naming_marks(entry: ScoredRow, notes: NoteBook) -> tuple[str, ...]:
    """Marks of what clusters are called by, and where some have no patch, and so no mean feature to be called by."""
    names, view = entry.protocol.scoring.names, entry.protocol.name_view
    if not entry.protocol.names_by_features or names is None or view is None or view.names is None:
        return ()
    marks = [notes.mark(f"Features of {short_name(view.names.name)}, text {names.text_digest}.")]
    matchings = [result.scores.matching for result in entry.done if result.scores is not None]
    counts = [int(np.sum(found == NO_CLASS)) for found in matchings if found is not None]
    if any(counts):
        several = " or ".join(map(str, sorted(set(counts))))
        marks.append(notes.mark(f"{several} clusters without a patch have no name: their pixels are misses."))
    return tuple(marks)


def _absent_marks(entry: ScoredRow, notes: NoteBook) -> tuple[str, ...]:
    """A mark where a one-to-one matching counts classes that do not occur in the labels."""
    if entry.protocol.scoring.matching not in ("hungarian", "hungarian_iou"):
        return ()
    counted: dict[str, None] = {}
    for result in entry.done:
        if result.scores is not None:
            absent = (result.scores.iou == 0) & np.isnan(result.scores.class_accuracy)
            counted |= dict.fromkeys(np.array(result.scores.classes)[absent].tolist())
    if not counted:
        return ()
    names = " or ".join(counted)
    text = f"No pixel is labelled {names}: predicted by a left-over cluster, such a class counts with an IoU of 0."
    return (notes.mark(text),)


def value_text(value: object) -> str:
    """A grid's value as it is written in YAML, near enough: ``true``, ``null``, ``[a, 1]``, numbers and names."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(value_text, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {value_text(part)}" for key, part in value.items()) + "}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
