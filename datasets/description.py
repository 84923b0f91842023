"""The YAML file that describes a user's own images and labels: its keys, its short forms, and what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from spectral_bench.common.documents import problems as documents
from spectral_bench.common.documents.document import Document, KeyPath, Place, Places
from spectral_bench.common.documents.problems import InvalidDocument, Problems, validate
from spectral_bench.common.documents.reading import read_document
from spectral_bench.common.errors import ConfigError, DataError
from spectral_bench.datasets.patterns import pattern_problem

HIGHEST_LABEL = 65535
_BELONGS = {
    "transform": 'the key "transform" belongs into a grid; here are sizes: evaluation_size, short_side, window, stride',
    **{
        key: f'the key "{key}" belongs below a split, such as splits: {{val: {{{key}: ...}}}}'
        for key in ("images", "labels")
    },
    **{split: f'the key "{split}" belongs below "splits"' for split in ("train", "val", "test")},
}
Level = Annotated[int, Field(ge=0, le=255)]
RawId = Annotated[int, Field(ge=0, le=HIGHEST_LABEL)]
Colour = tuple[Level, Level, Level]
Side = Annotated[int, Field(ge=16)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SplitFiles(_Part):
    """Where the images and labels of a split lie, relative to the YAML file.

    Attributes:
        images: a folder, or a pattern such as ``photos/*_rgb.png`` (``datasets.patterns``).
        labels: likewise; None for a split without labels.
        ids: a text file with the ids of the split, one a line; None for all images.
    """

    images: Path
    labels: Path | None = None
    ids: Path | None = None


class ClassEntry(_Part):
    """One class: its name, the label values that belong to it, and its colour in overlays."""

    name: str
    ids: tuple[RawId, ...] = Field(min_length=1)
    colour: Colour | None = None


class Description(_Part):
    """The YAML file of a user's data set, short forms written out.

    Label values that are neither a class's nor listed under ``ignore`` are an error.
    """

    title: str
    splits: dict[str, SplitFiles] = Field(min_length=1)
    classes: tuple[ClassEntry, ...] = ()
    ignore: tuple[RawId, ...] = ()
    evaluation_size: tuple[Side, Side] | None = None
    short_side: int | None = Field(None, ge=16)
    window: int | None = Field(None, ge=16)
    stride: int | None = Field(None, ge=1)


@dataclass(frozen=True)
class Described:
    """A description and where in its file each value stands."""

    content: Description
    places: Places


class InvalidDescription(DataError, InvalidDocument):
    """The YAML file of a user's data set is not valid: one line a problem, with file, line and key."""


def read_description(path: Path) -> Described:
    """The checked content of a YAML file, read as grids are.

    Numbers are decimal, so that ``010`` is ten; ``yes``, ``no`` and ``off`` are texts; a key stands once.

    Raises:
        InvalidDescription: the file is missing or no YAML, has an unknown key or a wrong value, names a label value
            twice, or describes labels without classes; says all of it, with file, line and key.
    """
    if path.is_dir():
        line = f"{path}: is a folder; expected the YAML file that describes it, which bench data init {path} writes"
        raise InvalidDescription((line,))
    repeated: list[str] = []
    try:
        stated = read_document(path, repeated)
    except ConfigError as error:
        raise InvalidDescription((str(error),)) from error
    problems = Problems(stated.places)
    for line in repeated:
        problems.add_line(line)
    root = _written_out(stated, problems)
    description = validate(Description, root.value, problems.of(root.places), _BELONGS)
    _note_repeated(root, problems)
    _note_unfitting(root, problems.of(root.places), classes=bool(stated.get(("classes",))))
    if description is None or problems:
        raise InvalidDescription(problems.lines())
    return Described(description, root.places)


def _written_out(root: Document, problems: Problems) -> Document:
    """A document with its short forms replaced by what they stand for; what is no such form stays or is noted."""
    parts: dict[KeyPath, Document] = {}
    ignore, classes, splits = (root.items.get(key) for key in ("ignore", "classes", "splits"))
    if ignore is not None and not isinstance(ignore.value, list | dict):
        parts["ignore",] = _listed(ignore)
    if classes is not None and isinstance(classes.value, dict):
        parts["classes",] = _class_entries(classes, problems)
    elif classes is not None and any(isinstance(entry.value, str) for entry in classes.elements):
        problems.add_at(classes.place, _bare_names(classes))
        parts["classes",] = Document([], {(): classes.place})
    for name, split in splits.items.items() if splits is not None else ():
        if isinstance(split.value, str):
            example = f"{{images: {split.value}}}"
            problems.add_at(split.place, f"expected a mapping such as {example}, got {documents.describe(split.value)}")
            parts["splits", name] = Document({"images": split.value}, _all_at(split.place, ("images",)))
    size = root.items.get("evaluation_size")
    if size is not None and size.value is not None and not (isinstance(size.value, list) and len(size.value) == 2):
        expected = "expected [height, width] in pixels, such as [480, 640]"
        problems.add_at(size.place, f"{expected}, got {documents.describe(size.value)}")
        parts["evaluation_size",] = Document(None, {(): size.place})
    return root.with_parts(parts)


def _listed(one: Document) -> Document:
    """A list of one value, all of which stands where the value stands."""
    return Document([one.value], {(): one.place, (0,): one.place})


def _all_at(place: Place, path: KeyPath) -> dict[KeyPath, Place]:
    return {path[:length]: place for length in range(len(path) + 1)}


def _class_entries(classes: Document, problems: Problems) -> Document:
    """``{10: sky, 12: sky, 21: road}`` as a list of classes, in the order of their first values."""
    entries: dict[str, dict[str, Any]] = {}
    places: dict[KeyPath, Place] = {(): classes.place}
    for key, named in classes.items.items():
        number, name = _number(key), named.value
        if number is None or not isinstance(name, str):
            problems.add_at(named.place, _class_fault(key, number, name))
            continue
        entry = entries.setdefault(name, {"name": name, "ids": []})
        index, position = list(entries).index(name), len(entry["ids"])
        entry["ids"].append(number)
        for path in ((index,), (index, "name"), (index, "ids")):
            places.setdefault(path, named.place)
        places[index, "ids", position] = named.place
    return Document(list(entries.values()), places)


def _bare_names(classes: Document) -> str:
    """What is wrong with a list of names that says nothing of label values."""
    names = [entry.value for entry in classes.elements if isinstance(entry.value, str)]
    example = ", ".join(f"{value}: {name}" for value, name in enumerate(names[:2]))
    got = documents.describe(names[0])
    return f"expected label values and their names, such as {{{example}}}; got a list with {got} and no label value"


def _number(text: str) -> int | None:
    return int(text.replace("_", "")) if re.fullmatch(r"[0-9]+(?:_[0-9]+)*", text) else None


def _class_fault(key: str, number: int | None, name: Any) -> str:
    got = documents.describe(name)
    if number is None:
        turned = isinstance(name, int) and not isinstance(name, bool)
        expected = f"{name}: {key}" if turned else "10: sky"
        return f"expected a label value, then its name, such as {expected}; got {key}: {got}"
    if isinstance(name, dict | list):
        return f"expected the name of label value {key}, got {got}; with ids and colours, write classes as a list"
    quoted = f', as a text: {key}: "{name}"' if isinstance(name, int | float) and not isinstance(name, bool) else ""
    return f"expected the name of label value {key}{quoted}; got {got}"


def _note_repeated(root: Document, problems: Problems) -> None:
    """Note every label value that two classes, or a class and ``ignore``, claim."""
    first: dict[int, Place] = {}
    for stated in _label_values(root):
        value, place = stated.value, stated.place
        if not isinstance(value, int) or isinstance(value, bool):
            continue  # told by the validation
        if value in first:
            where = f"{first[value].path} on {first[value].where}"
            problems.add_at(
                place, f"label value {value} is given twice, first as {where}; each belongs to one class or to ignore"
            )
        first.setdefault(value, place)


def _label_values(root: Document) -> Iterator[Document]:
    for entry in root.items.get("classes", root).elements:
        yield from entry.items.get("ids", entry).elements
    if "ignore" in root.items:
        yield from root.items["ignore"].elements


def _note_unfitting(root: Document, problems: Problems, *, classes: bool) -> None:
    """Note values that are valid each by itself and mean nothing together; ``classes``: whether any are stated."""
    for name in root.items["splits"].items if "splits" in root.items else ():
        for key in ("images", "labels"):
            pattern = root.get(("splits", name, key))
            if isinstance(pattern, str) and (fault := pattern_problem(pattern)):
                problems.add(("splits", name, key), fault)
        if root.get(("splits", name, "labels")) is not None and not classes:
            problems.add(
                ("splits", name, "labels"),
                'labels need the key "classes", which says what their values mean, such as classes: {0: road, 1: sky}',
            )
    window, stride = root.get(("window",)), root.get(("stride",))
    if stride is not None and window is None:
        problems.add("stride", 'a stride is one of windows: the key "window" is missing')
    elif isinstance(stride, int) and isinstance(window, int) and stride > window:
        problems.add("stride", f"a stride of {stride} leaves gaps between windows of {window}")
