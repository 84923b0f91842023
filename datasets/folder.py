"""A user's own images and labels, described by a YAML file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spectral_bench.common.documents.document import place_of
from spectral_bench.common.errors import DataError
from spectral_bench.datasets.description import ClassEntry, Description, read_description
from spectral_bench.datasets.files import FileDataSet
from spectral_bench.datasets.interface import ClassSet, DataInfo, DataRoots
from spectral_bench.datasets.listing import Listing
from spectral_bench.datasets.patterns import LABEL_SUFFIXES, list_files, only_listed
from spectral_bench.datasets.reading import IMAGE_SUFFIXES, read_label


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
        described = read_description(description)
        self.description, self._places = described.content, described.places
        self.info = describe(description)
        self._values = frozenset([*_class_ids(self.description), *self.description.ignore])
        self._valid = np.array(sorted(self._values), np.uint16)

    def image_files(self, split: str) -> Listing:
        """The images of a split, those of its list of ids where it has one."""
        described = self.description.splits[split]
        found = list_files(self._path(described.images), IMAGE_SUFFIXES)
        if described.ids is None or not found.files:
            return self._told(found, split, "images")
        return self._told(only_listed(found, self._path(described.ids)), split, "ids")

    def label_files(self, split: str) -> Listing:
        """The labels of a split; of a list of ids, those of its images."""
        described = self.description.splits[split]
        if described.labels is None:
            return self._told(Listing(self.folder, {}, (f"split {split} is described without labels",)), split, "")
        found = list_files(self._path(described.labels), LABEL_SUFFIXES, alone=(".png",))
        if described.ids is None or not found.files:
            return self._told(found, split, "labels")
        images = self.image_files(split)
        named = found.named_like(images).files
        files = {file_id: path for file_id, path in named.items() if file_id in images.files}
        none = () if files else (f"{found.folder}: holds no label of the images that {described.ids} names",)
        return self._told(replace(found, files=files, problems=(*found.problems, *none)), split, "labels")

    def _path(self, stated: Path) -> Path:
        return self.folder / stated.expanduser()

    def _told(self, listing: Listing, split: str, key: str) -> Listing:
        """A listing; of one without a file, the problems say which line of the description asked for it."""
        if listing.files:
            return listing
        place = place_of(("splits", split, key) if key else ("splits", split), self._places)
        return replace(listing, problems=tuple(f"{place.where}: {place.path}: {line}" for line in listing.problems))

    def has_labels(self, split: str) -> bool:
        """Whether the split is described with labels."""
        return self.description.splits[split].labels is not None

    def read_label(self, path: Path) -> NDArray[np.uint16]:
        """(H, W) label values, each a class's or an ignored one."""
        label = read_label(path, self._values)
        foreign = np.setdiff1d(label, self._valid)
        if foreign.size:
            valid = ", ".join(map(str, self._valid))
            raise DataError(
                f"{path}: label value {foreign[0]}; expected one of {valid}, the classes and ignored values of"
                f" {self.info.name.removeprefix('folder:')}"
            )
        return label


def describe(path: Path) -> DataInfo:
    """The facts about a user's data set, from its YAML file alone. Raises ``DataError`` if that is not valid."""
    description = read_description(path).content
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
        unlabelled=tuple(
            split for split, files in description.splits.items() if files.labels is None and description.classes
        ),
    )


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
