"""COCO-Stuff, 164k (Caesar et al., CVPR 2018): things and stuff on the images of COCO 2017."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spectral_bench.datasets.files import FileDataSet
from spectral_bench.datasets.interface import DataInfo
from spectral_bench.datasets.listing import Listing, from_list, labels_from_list, list_folder
from spectral_bench.datasets.reading import read_label, require_range
from spectral_bench.datasets.tables import class_set, load_table, merged_set, names_to_void

_ROWS = load_table("coco_stuff")
VOID = 255
_VALID = frozenset((*range(len(_ROWS)), VOID))

LISTS = {"curated": "Coco164kFull_Stuff_Coarse.txt", "curated_7": "Coco164kFull_Stuff_Coarse_7.txt"}
"""Ending of a split -> its list of ids in ``curated/<train2017 or val2017>/``."""

_CONVERTED = "_labelTrainIds"
"""Ends the stems of what mmsegmentation's converter writes beside the owners' labels, with other numbers."""


class CocoStuff(FileDataSet):
    """Images in ``images/<part>/``, labels of 8 bits in ``stuffthingmaps/<part>/`` or ``annotations/<part>/``.

    ``<part>`` is ``train2017`` or ``val2017``; either folder of images may also lie directly below the data set.
    Values 0 to 181 are the owners' ids less 1, 255 is unlabelled. Class set ``171`` holds all of which there are masks,
    ``27`` their coarse classes.

    ``train`` and ``val`` are all images. The other splits are lists of the field, made by IIC's
    ``coco164k_prepare.py`` **from labels**: ``*_curated_7``, on which unsupervised methods are trained and scored, is
    images of 360 x 360 pixels or more, at least 75 % of whose pixels bear one of the 15 coarse classes of stuff.
    """

    # 97 702, 4172 and 49 629 are the lengths of the lists in janghyuncho/PiCIE @ fc4e7c1; 2175 is what papers say.
    info = DataInfo(
        name="coco_stuff",
        title="COCO-Stuff",
        splits={
            "train": 118_287,
            "val": 5000,
            "train_curated": 97_702,
            "val_curated": 4172,
            "train_curated_7": 49_629,
            "val_curated_7": 2175,
        },
        n_raw_labels=VOID + 1,
        class_sets={
            "27": merged_set("27", load_table("coco_stuff_27"), _ROWS, "coarse"),
            "171": class_set("171", tuple(row for row in _ROWS if "absent" not in row.other)),
        },
        default_classes="27",
        folder="cocostuff",
        licence=(
            "Get train2017.zip and val2017.zip from https://cocodataset.org (images under Flickr's terms), "
            "stuffthingmaps_trainval2017.zip from https://github.com/nightrome/cocostuff (CC BY 4.0), and the lists of "
            "curated/ from https://github.com/xu-ji/IIC (datasets/README.txt) or https://github.com/janghyuncho/PiCIE"
        ),
        raw_names=names_to_void(_ROWS, VOID),
    )
    also = ("coco_stuff", "coco_stuff164k", "coco")

    def image_files(self, split: str) -> Listing:
        """The images of a part, those of a list where the split has one. No label is looked at."""
        folder = self._first("images", "", part=_part(split))
        listed = self._listed(split)
        return list_folder(folder, (".jpg",)) if listed is None else from_list(listed, folder, ".jpg")

    def label_files(self, split: str) -> Listing:
        """The labels of a part, those of a list where the split has one."""
        folder = self._first("stuffthingmaps", "annotations", "stuffthingmaps_trainval2017", part=_part(split))
        listed = self._listed(split)
        if listed is not None:
            return labels_from_list(listed, folder, ".png")
        found = list_folder(folder, (".png",))
        return replace(found, files={i: path for i, path in found.files.items() if not i.endswith(_CONVERTED)})

    def read_label(self, path: Path) -> NDArray[np.uint16]:
        """(H, W) ids 0 to 181, and 255."""
        return require_range(read_label(path, _VALID), len(_ROWS), path, void=VOID)

    def _first(self, *folders: str, part: str) -> Path:
        """The first of ``folders`` that holds ``part``; where none does, the first."""
        places = [self.folder / folder / part for folder in folders]
        return next((place for place in places if place.is_dir()), places[0])

    def _listed(self, split: str) -> Path | None:
        _, _, ending = split.partition("_")
        return self.folder / "curated" / _part(split) / LISTS[ending] if ending else None


def _part(split: str) -> str:
    """The folder of the images of a split."""
    return f"{split.partition('_')[0]}2017"
