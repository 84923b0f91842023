"""Potsdam-3: the aerial images of the ISPRS Potsdam benchmark as IIC cut them (Ji et al., ICCV 2019)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spectral_bench.datasets.files import FileDataSet
from spectral_bench.datasets.interface import DataInfo
from spectral_bench.datasets.listing import Listing, from_list, labels_from_list
from spectral_bench.datasets.matlab import image_array_size, label_map_size, read_image_array, read_label_map
from spectral_bench.datasets.tables import RawClass, class_set, load_table, merged_set

_ROWS = load_table("potsdam")
LABEL = "gt"
_MAT = ".mat"
_MERGED = (
    RawClass(0, "roads and cars", (255, 255, 255), {}),
    RawClass(1, "buildings and clutter", (0, 0, 255), {}),
    RawClass(2, "vegetation and trees", (0, 255, 0), {}),
)

LISTS = {
    "train": "labelled_train.txt",
    "unlabelled_train": "unlabelled_train.txt",
    "val": "labelled_test.txt",
}
"""Split -> its list of ids."""


class Potsdam3(FileDataSet):
    """Images in ``imgs/<id>.mat`` (variable ``img``), labels in ``gt/<id>.mat`` (variable ``gt``), lists beside them.

    As IIC's ``potsdam_prepare.py`` writes them: each of the 38 tiles of 6000 x 6000 pixels halved and cut into 15 x 15
    images of 200 x 200 pixels with four channels, of which the first three, red, green and blue, are read; labels 0
    to 5. 24 tiles have labels: 855 of their cuts are ``val`` (``labelled_test.txt``), the others ``train``
    (``labelled_train.txt``); ``unlabelled_train`` has none. Class set ``3`` merges the classes in pairs.
    """

    info = DataInfo(
        name="potsdam3",
        title="Potsdam-3",
        splits={"train": 4545, "unlabelled_train": 3150, "val": 855},
        n_raw_labels=len(_ROWS),
        class_sets={"3": merged_set("3", _MERGED, _ROWS, "coarse"), "6": class_set("6", _ROWS)},
        default_classes="3",
        evaluation_size=(200, 200),
        folder="potsdam",
        licence=(
            "Get IIC's Potsdam.tar.gz as https://github.com/xu-ji/IIC (datasets/README.txt) says, or cut the tiles of "
            "https://www.isprs.org/education/benchmarks/UrbanSemLab/ with its potsdam_prepare.py (research)"
        ),
        raw_names=tuple(row.name for row in _ROWS),
        unlabelled=("unlabelled_train",),
    )
    also = ("potsdam3", "Potsdam")

    def image_files(self, split: str) -> Listing:
        """The images that the split's list names; a named file that is missing is a problem."""
        return from_list(self.folder / LISTS[split], self.folder / "imgs", _MAT)

    def label_files(self, split: str) -> Listing:
        """The labels of the images that the split's list names."""
        listed, folder = self.folder / LISTS[split], self.folder / "gt"
        if not self.has_labels(split):
            return Listing(folder, {}, (self.info.without_labels(split),))
        return labels_from_list(listed, folder, _MAT)

    def read_image(self, path: Path) -> NDArray[np.uint8]:
        """(H, W, 3) RGB: infra-red is left out."""
        return read_image_array(path)

    def image_size(self, path: Path) -> tuple[int, int]:
        """(height, width) of an image file, without decoding it."""
        return image_array_size(path)

    def read_label(self, path: Path) -> NDArray[np.uint16]:
        """(H, W) ids 0 to 5."""
        return read_label_map(path, LABEL)

    def label_size(self, path: Path) -> tuple[int, int]:
        """(height, width) of a label file, without decoding it."""
        return label_map_size(path, LABEL)
