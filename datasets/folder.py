"""A user's own images and labels, described by a YAML file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from spectral_bench.common.documents.document import Document, Place
from spectral_bench.common.documents.problems import InvalidDocument, Problems, validate
from spectral_bench.common.documents.reading import read_document
from spectral_bench.common.errors import ConfigError, DataError
from spectral_bench.datasets.files import FileDataSet
from spectral_bench.datasets.interface import ClassSet, DataInfo, DataRoots
from spectral_bench.datasets.listing import Listing, list_folder
from spectral_bench.datasets.reading import IMAGE_SUFFIXES, read_label

Level = Annotated[int, Field(ge=0, le=255)]
RawId = Annotated[int, Field(ge=0, le=65535)]
Colour = tuple[Level, Level, Level]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SplitFolders(_Part):
    """Where the images and labels of a split lie, relative to the YAML file. Labels may be absent."""

    images: Path
    labels: Path | None = None


class ClassEntry(_Part):
    """One class: its name, the label values that belong to it, and its colour in overlays."""

    name: str
    ids: tuple[RawId, ...] = Field(min_length=1)
    colour: Colour | None = None


class Description(_Part):
    """The YAML file of a user's data set.

    Label values that are neither a class's nor listed under ``ignore`` are an error.
    """

    title: str
    splits: dict[str, SplitFolders] = Field(min_length=1)
    classes: tuple[ClassEntry, ...] = ()
    ignore: tuple[RawId, ...] = ()
    evaluation_size: tuple[Annotated[int, Field(ge=16)], Annotated[int, Field(ge=16)]] | None = None
    short_side: int | None = Field(None, ge=16)
    window: int | None = Field(None, ge=16)
    stride: int | None = Field(None, ge=1)


class FolderDataSet(FileDataSet):
    """Images and label PNGs in folders, paired by stem. Used by the name ``folder:PATH/TO/DESCRIPTION.yaml``."""

    info = DataInfo(
        name="folder",
        title="your own",
        splits={},
        n_raw_labels=0,
        class_sets={},
        default_classes="",
        needs_root=False,
        licence="describe your images in a YAML file and name it: folder:PATH/TO/DESCRIPTION.yaml",
    )

    def __init__(self, roots: DataRoots, description: Path | None = None) -> None:
        if description is None:
            raise DataError(f"folder: {self.info.licence}")
        self.folder = description.parent
        self.description = read_description(description)
        self.info = describe(description)
        self._values = frozenset([*_class_ids(self.description), *self.description.ignore])
        self._valid = np.array(sorted(self._values), np.uint16)

    def image_files(self, split: str) -> Listing:
        """The images of a split's folder."""
        return list_folder(self.folder / self.description.splits[split].images, IMAGE_SUFFIXES)

    def label_files(self, split: str) -> Listing:
        """The label PNGs of a split's folder."""
        labels = self.description.splits[split].labels
        if labels is None:
            return Listing(self.folder, {}, (f"{self.folder}: split {split} is described without labels",))
        return list_folder(self.folder / labels, (".png",))

    def has_labels(self, split: str) -> bool:
        """Whether the split is described with labels."""
        return self.description.splits[split].labels is not None

    def read_label(self, path: Path) -> NDArray[np.uint16]:
        """(H, W) label values, each a class's or an ignored one."""
        label = read_label(path, self._values)
        foreign = np.setdiff1d(label, self._valid)
        if foreign.size:
            raise DataError(f"{path}: label value {foreign[0]}; expected one of {', '.join(map(str, self._valid))}")
        return label


def describe(path: Path) -> DataInfo:
    """The facts about a user's data set, from its YAML file alone. Raises ``DataError`` if that is not valid."""
    description = read_description(path)
    ids = [*_class_ids(description), *description.ignore]
    name = str(len(description.classes))
    return DataInfo(
        name=f"folder:{path}",
        title=description.title,
        splits=dict.fromkeys(description.splits),
        n_raw_labels=max(ids, default=-1) + 1,
        class_sets={name: _class_set(name, description.classes)} if description.classes else {},
        default_classes=name if description.classes else "",
        evaluation_size=description.evaluation_size,
        short_side=description.short_side,
        window=description.window,
        stride=description.stride,
        needs_root=False,
        licence=f"described in {path}",
    )


class InvalidDescription(DataError, InvalidDocument):
    """The YAML file of a user's data set is not valid: one line a problem, with file, line and key."""


def read_description(path: Path) -> Description:
    """The checked content of a YAML file, read as grids are.

    Numbers are decimal, so that ``010`` is ten; ``yes``, ``no`` and ``off`` are texts; a key stands once.

    Raises:
        InvalidDescription: the file is missing or no YAML, has an unknown key or a wrong value, or names a label value
            twice; says all of it, with file, line and key.
    """
    try:
        root = read_document(path)
    except ConfigError as error:
        raise InvalidDescription((str(error),)) from error
    problems = Problems(root.places)
    description = validate(Description, root.value, problems)
    _note_repeated(root, problems)
    if description is None or problems:
        raise InvalidDescription(problems.lines())
    return description


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


def _class_ids(description: Description) -> list[int]:
    return [value for entry in description.classes for value in entry.ids]


def _class_set(name: str, classes: tuple[ClassEntry, ...]) -> ClassSet:
    return ClassSet(
        name=name,
        classes=tuple(entry.name for entry in classes),
        raw_ids=tuple(entry.ids for entry in classes),
        palette=tuple(entry.colour or voc_colour(index) for index, entry in enumerate(classes, start=1)),
    )


def voc_colour(index: int) -> tuple[int, int, int]:
    """Colour ``index`` (0 to 255) of the VOC colour map: its bits are dealt to red, green and blue, highest last."""
    red, green, blue = (
        sum((index >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8)) for channel in range(3)
    )
    return red, green, blue
