"""The columns that say what a row is: grid, configuration, data, backbone, protocol, class set, matching, images."""

from __future__ import annotations

import json

import numpy as np

from spectral_bench.reports.cells import label_marks, setting_cell, stale_marks
from spectral_bench.reports.collect import Entry
from spectral_bench.reports.table import Cell, Column, NoteBook
from spectral_bench.results.matching import is_one_to_one
from spectral_bench.results.specification import Matching, Protocol

MATCHING_WORDS: dict[Matching, str] = {
    "majority": "majority, many-to-one",
    "iou": "IoU, many-to-one",
    "hungarian": "Hungarian on counts, one-to-one",
    "hungarian_iou": "Hungarian on IoU, one-to-one",
    "hungarian_present": "Hungarian on counts, one-to-one, without absent classes",
    "hungarian_iou_present": "Hungarian on IoU, one-to-one, without absent classes",
}

SETTING_COLUMNS = (
    Column("grid", "grid", constant=True),
    Column("configuration", "configuration"),
    Column("method", "method", machine=True),
    Column("settings", "settings", machine=True),
    Column("uses_labels", "uses labels", machine=True),
    Column("own_code", "own code", machine=True),
    Column("dataset", "data set", constant=True),
    Column("train_dataset", "trained on", constant=True),
    Column("backbone", "backbone", constant=True),
    Column("protocol", "protocol", constant=True),
    Column("split", "split", constant=True),
    Column("classes", "classes", constant=True),
    Column("matching", "matching", constant=True),
    Column("images", "images", constant=True),
)


def setting_cells(entry: Entry, notes: NoteBook) -> dict[str, Cell]:
    """The cells of ``SETTING_COLUMNS``. What only a finished evaluation knows is None in a row without one."""
    matched = (*_surplus_marks(entry, notes), *_absent_marks(entry, notes))
    marks = (*label_marks(entry, notes), *stale_marks(entry, notes), *matched)
    texts = {
        "grid": entry.grid,
        "configuration": entry.row.title,
        "method": entry.row.method,
        "settings": json.dumps(entry.row.settings, sort_keys=True, ensure_ascii=False),
        "uses_labels": "yes" if entry.uses_labels else "no",
        "own_code": entry.own_code,
        "dataset": entry.row.dataset,
        "train_dataset": entry.row.train_dataset,
        "backbone": entry.row.backbone,
        "protocol": entry.protocol.name,
        "split": split_words(entry.protocol),
        "classes": _classes(entry),
        "matching": matching_words(entry.protocol),
        "images": " or ".join(map(str, entry.n_images)) or None,
    }
    return {key: setting_cell(entry, text, marks if key == "configuration" else ()) for key, text in texts.items()}


def matching_words(protocol: Protocol) -> str:
    """The matching in words, with the split that it is fitted on where that is another than the scored one."""
    words = MATCHING_WORDS[protocol.scoring.matching]
    return words if protocol.fit_view is None else f"{words}, fitted on {protocol.fit_view.split}"


def split_words(protocol: Protocol) -> str:
    """The split that is scored, and whether it is a subset."""
    view = protocol.view
    return view.split if view.subset is None else f"{view.split} (subset of {view.subset})"


def _classes(entry: Entry) -> str | None:
    table = entry.class_table
    return None if table is None else f"{len(table.classes)} ({entry.class_set})"


def _surplus_marks(entry: Entry, notes: NoteBook) -> tuple[str, ...]:
    """A mark where a one-to-one matching leaves clusters or classes over."""
    table = entry.class_table
    if table is None or not is_one_to_one(entry.protocol.scoring.matching):
        return ()
    counts = {result.evaluation.n_clusters for result in entry.done if result.evaluation is not None}
    if counts == {len(table.classes)}:
        return ()
    clusters = " or ".join(map(str, sorted(counts)))
    text = f"One-to-one matching of {clusters} clusters to {len(table.classes)} classes leaves some of them unmatched."
    return (notes.mark(text),)


def _absent_marks(entry: Entry, notes: NoteBook) -> tuple[str, ...]:
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
