"""ADE20K in the form of the 2016 scene parsing challenge (Zhou et al., CVPR 2017): 150 classes."""

from __future__ import annotations

from spectral_bench.datasets.files import FileDataSet
from spectral_bench.datasets.interface import DataInfo
from spectral_bench.datasets.listing import Listing, list_folder
from spectral_bench.datasets.tables import class_set, load_table

_ROWS = load_table("ade20k")
_FOLDERS = {"train": "training", "val": "validation"}


class ADE20K(FileDataSet):
    """Images in ``images/<folder>/``, labels of 8 bits in ``annotations/<folder>/`` (``training``, ``validation``).

    Label 0 is ignored, 1 to 150 are the classes.
    """

    info = DataInfo(
        name="ade20k",
        title="ADE20K",
        splits={"train": 20210, "val": 2000},
        n_raw_labels=len(_ROWS),
        class_sets={"150": class_set("150", _ROWS[1:])},
        default_classes="150",
        short_side=512,
        window=512,
        stride=512,
        folder="ADEChallengeData2016",
        licence=(
            "Get ADEChallengeData2016.zip from http://sceneparsing.csail.mit.edu "
            "(images for non-commercial research, annotations BSD 3-clause)"
        ),
        raw_names=tuple(row.name for row in _ROWS),
    )
    also = ("ade20k/ADEChallengeData2016", "ade20k")

    def image_files(self, split: str) -> Listing:
        """The images of ``training`` or ``validation``."""
        return list_folder(self.folder / "images" / _FOLDERS[split], (".jpg",))

    def label_files(self, split: str) -> Listing:
        """The annotations of ``training`` or ``validation``."""
        return list_folder(self.folder / "annotations" / _FOLDERS[split], (".png",))
