"""Pascal Context (Mottaghi et al., CVPR 2014): VOC2010 images, every pixel labelled; 59 frequent classes."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spectral_bench.common.digests import joined
from spectral_bench.common.errors import DataError
from spectral_bench.common.missing import no_such, shown
from spectral_bench.common.names import few
from spectral_bench.datasets.contents import contents_digest
from spectral_bench.datasets.files import FileDataSet, FileLabels
from spectral_bench.datasets.interface import DataInfo
from spectral_bench.datasets.listing import Listing, from_list, listed_ids, matched, read_text, stems
from spectral_bench.datasets.matlab import label_map_size, read_label_map
from spectral_bench.datasets.reading import label_header, read_label
from spectral_bench.datasets.tables import class_set, load_table

_ROWS = load_table("pascal_context")
N_ORIGINAL = 459
CONVERTED = "SegmentationClassContext"
OWNERS_59 = "59_context_labels"
ORIGINAL = "trainval"
_MAT = ".mat"
_SYNONYMS = {"diningtable": "table", "bedcloth": "bedclothes", "clothes": "cloth"}


class _Labels(FileLabels):
    """Labels in any of the three forms."""

    def digest(self) -> str:
        """A short hash of the files, which begins with their forms: the same labels have other files in each."""
        forms = {f"{path.parent.name}{path.suffix.lower()}" for path in self._labels.files.values()}
        return joined(
            self._labels.digest(), contents_digest(self._labels.files, self._labels.folder), "|".join(sorted(forms))
        )


class PascalContext(FileDataSet):
    """Images in ``JPEGImages/``; the label of each is the first that exists of

    1. ``SegmentationClassContext/<id>.png``: 0 is background, 1 to 59 the classes in alphabetical order,
    2. ``59_context_labels/<id>.png``: the owners' own, whose classes come in the order of their ``59_labels.txt``,
    3. ``trainval/<id>.mat``: the original 459 categories, told apart by name where ``labels.txt`` is there.

    The last two may also lie one or two folders above ``VOC2010``, or in ``pascal_context`` there.

    All three are read as the ids of the first. Class set ``59`` ignores background, ``60`` counts it. Splits are read
    from ``ImageSets/SegmentationContext/<split>.txt``, else from VOC2010's own ``ImageSets/Main/<split>.txt``.
    """

    info = DataInfo(
        name="pascal_context",
        title="Pascal Context",
        splits={"train": 4998, "val": 5105},
        n_raw_labels=len(_ROWS),
        class_sets={"59": class_set("59", _ROWS[1:]), "60": class_set("60", _ROWS)},
        default_classes="59",
        short_side=520,
        window=480,
        stride=320,
        folder="VOCdevkit/VOC2010",
        licence=(
            "Get VOCtrainval_03-May-2010.tar from http://host.robots.ox.ac.uk/pascal/VOC/voc2010/ and trainval.tar.gz "
            "from https://cs.stanford.edu/~roozbeh/pascal-context/ (research; images under Flickr's terms)"
        ),
        raw_names=tuple(row.name for row in _ROWS),
    )
    also = ("pascal_context/VOCdevkit/VOC2010", "pcontext/VOCdevkit/VOC2010", "pascal_context/VOC2010", "VOC2010")

    def image_files(self, split: str) -> Listing:
        """The images that the split's list names; a named file that is missing is a problem."""
        return from_list(self._list(split), self.folder / "JPEGImages", ".jpg")

    def label_files(self, split: str) -> Listing:
        """The labels of the images that the split's list names, whatever form each has."""
        listed, folder = self._list(split), self.folder / CONVERTED
        if not listed.is_file():
            return Listing(folder, {}, (no_such(listed),))
        present = self._labels()
        files = matched(sorted(set(listed_ids(listed, present))), present)
        if files:
            return Listing(folder, files, (), "*.png")
        wanted = f"; looked for *.png, {OWNERS_59}/*.png and {ORIGINAL}/*.mat, there: "
        there = wanted + few([shown(path.name) for path in present.values()]) if present else ""
        return Listing(folder, {}, (f"{folder}: holds no label of {listed}{there}",))

    def read_label(self, path: Path) -> NDArray[np.uint16]:
        """(H, W) ids 0 to 59 from any of the three forms."""
        if path.suffix.lower() == _MAT:
            return _look_up(self.original_ids, read_label_map(path), path)
        label = read_label(path, range(self.info.n_raw_labels))
        return _look_up(_OWNERS, label, path) if path.parent.name == OWNERS_59 else label

    def _open_labels(self, labels: Listing, images: Listing) -> FileLabels:
        return _Labels(self.info.name, labels, images, self.info.n_raw_labels, self.read_label)

    def label_size(self, path: Path) -> tuple[int, int]:
        """(height, width) from the header of a PNG or of a .mat file."""
        return label_map_size(path) if path.suffix.lower() == _MAT else label_header(path)

    def original_files(self) -> dict[str, Path]:
        """All original .mat files: id -> path."""
        found: dict[str, Path] = {}
        for place in reversed(self._places()):
            found.update(stems(place / ORIGINAL, (_MAT,)))
        return found

    @cached_property
    def original_ids(self) -> NDArray[np.uint16]:
        """(460,) ids 0 to 59 of the original categories, by the names in ``labels.txt`` where there is one.

        Raises:
            DataError: that file lacks one of the 59 names or has a line of another form.
        """
        listed = next((place / "labels.txt" for place in self._places() if (place / "labels.txt").is_file()), None)
        if listed is None:
            return _ORIGINAL
        by_name = _read_names(listed)
        missing = [row.name for row in _ROWS[1:] if row.name not in by_name]
        if missing:
            raise DataError(f"{listed}: lacks {len(missing)} of the 59 classes: {', '.join(missing[:5])}")
        return _table({by_name[row.name]: row.id for row in _ROWS[1:]}, N_ORIGINAL)

    def _list(self, split: str) -> Path:
        sets = self.folder / "ImageSets"
        standard = sets / "SegmentationContext" / f"{split}.txt"
        places = [standard, sets / "Main" / f"{split}.txt"]
        return next((path for path in places if path.is_file()), standard)

    def _labels(self) -> dict[str, Path]:
        found = self.original_files()
        for folder in (*(place / OWNERS_59 for place in reversed(self._places())), self.folder / CONVERTED):
            found.update(stems(folder, (".png",)))
        return found

    def _places(self) -> list[Path]:
        above = self.folder.parent
        return [self.folder, above, above.parent, above.parent / "pascal_context"]


def _table(ids: dict[int, int], highest: int) -> NDArray[np.uint16]:
    table = np.zeros(highest + 1, np.uint16)
    table[list(ids)] = list(ids.values())
    return table


def _look_up(table: NDArray[np.uint16], label: NDArray[np.uint16], path: Path) -> NDArray[np.uint16]:
    if label.size and int(label.max()) >= len(table):
        raise DataError(f"{path}: label value {int(label.max())}; expected 0 to {len(table) - 1}")
    return np.take(table, label)


def _read_names(path: Path) -> dict[str, int]:
    names = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        value, colon, name = line.partition(":")
        if line.strip() and not (colon and value.strip().isdigit() and int(value) <= N_ORIGINAL):
            raise DataError(f'{path}, line {number}: "{line}"; expected "ID: NAME" with an id of 0 to {N_ORIGINAL}')
        if line.strip():
            plain = name.replace(" ", "").lower()
            names[_SYNONYMS.get(plain, plain)] = int(value)
    return names


_ORIGINAL = _table({row.other["original"]: row.id for row in _ROWS}, N_ORIGINAL)
_OWNERS = _table({row.other["owners"]: row.id for row in _ROWS}, len(_ROWS) - 1)
