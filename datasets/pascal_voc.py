"""Pascal VOC 2012, segmentation (Everingham et al., IJCV 2010): 20 objects and background."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spectral_bench.common.missing import no_such
from spectral_bench.datasets.files import FileDataSet
from spectral_bench.datasets.interface import DataInfo
from spectral_bench.datasets.listing import Listing, from_ids, labels_of, read_text
from spectral_bench.datasets.reading import read_label, require_range
from spectral_bench.datasets.tables import class_set, load_table, names_to_void

_ROWS = load_table("pascal_voc")
VOID = 255
_VALID = frozenset((*range(len(_ROWS)), VOID))

AUGMENTED = ("Segmentation/train_aug.txt", "Segmentation/trainaug.txt", "SegmentationAug/train_aug.txt")
"""Where the list of ``train_aug`` is looked for, below ``ImageSets/``."""


class PascalVOC(FileDataSet):
    """Images in ``JPEGImages/``, palette PNGs in ``SegmentationClass/``, lists in ``ImageSets/Segmentation/``.

    Values 0 to 20 are the classes, 255 (borders, difficult objects) is ignored. Split ``train_aug`` takes its labels
    from ``SegmentationClassAug/`` (those of SBD, Hariharan et al., ICCV 2011, converted to PNGs). Its list holds ids,
    or pairs of paths as DeepLab's does.
    """

    info = DataInfo(
        name="pascal_voc",
        title="Pascal VOC 2012",
        splits={"train": 1464, "val": 1449, "train_aug": 10_582},
        n_raw_labels=VOID + 1,
        class_sets={"21": class_set("21", _ROWS)},
        default_classes="21",
        folder="VOCdevkit/VOC2012",
        licence=(
            "Get VOCtrainval_11-May-2012.tar from http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ (research; images "
            "under Flickr's terms); train_aug needs SegmentationClassAug.zip and train_aug.txt, DeepLab's PNGs of SBD, "
            "http://home.bharathh.info/pubs/codes/SBD/download.html"
        ),
        raw_names=names_to_void(_ROWS, VOID),
    )
    also = ("pascal_voc/VOCdevkit/VOC2012", "pascal_voc/VOC2012", "VOC2012")

    def image_files(self, split: str) -> Listing:
        """The images that the split's list names; a named file that is missing is a problem."""
        listed, folder = self._list(split), self.folder / "JPEGImages"
        if not listed.is_file():
            return Listing(folder, {}, (no_such(listed),))
        return from_ids(_ids(listed), listed, folder, ".jpg")

    def label_files(self, split: str) -> Listing:
        """The labels of the images that the split's list names."""
        listed = self._list(split)
        folder = self.folder / ("SegmentationClassAug" if split == "train_aug" else "SegmentationClass")
        return labels_of(_ids(listed) if listed.is_file() else [], listed, folder, ".png")

    def read_label(self, path: Path) -> NDArray[np.uint16]:
        """(H, W) ids 0 to 20, and 255."""
        return require_range(read_label(path, _VALID), len(_ROWS), path, void=VOID)

    def _list(self, split: str) -> Path:
        sets = self.folder / "ImageSets"
        places = [sets / name for name in (AUGMENTED if split == "train_aug" else (f"Segmentation/{split}.txt",))]
        return next((place for place in places if place.is_file()), places[0])


def _ids(listed: Path) -> list[str]:
    """The ids of a list, one a line: an id, or the path of an image and that of its label."""
    return [Path(line.split()[0]).stem for line in read_text(listed).splitlines() if line.strip()]
