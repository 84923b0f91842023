"""Cityscapes: street scenes of 50 cities (Cordts et al., CVPR 2016), labels read as the owners ship them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from spectral_bench.datasets.files import FileDataSet
from spectral_bench.datasets.interface import DataInfo
from spectral_bench.datasets.listing import Listing, list_folder
from spectral_bench.datasets.tables import class_set, load_table

_ROWS = load_table("cityscapes")
_EVALUATED = tuple(sorted((row for row in _ROWS if "train_id" in row.other), key=lambda row: row.other["train_id"]))

CITIES = {
    "train": (
        *("aachen", "bochum", "bremen", "cologne", "darmstadt", "dusseldorf", "erfurt", "hamburg", "hanover"),
        *("jena", "krefeld", "monchengladbach", "strasbourg", "stuttgart", "tubingen", "ulm", "weimar", "zurich"),
    ),
    "val": ("frankfurt", "lindau", "munster"),
}
"""Split -> its cities, each a folder."""


class Cityscapes(FileDataSet):
    """Images in ``leftImg8bit/<split>/<city>/``, ids of 8 bits in ``gtFine/<split>/<city>/*_gtFine_labelIds.png``.

    Class set ``19`` holds the evaluated classes, ``27`` all that are not void (label ids 7 to 33), as in PiCIE
    (``data/cityscapes_eval_dataset.py``) and STEGO (``src/data.py``: id - 7, negative ones ignored). Licence plates
    (id -1) are in neither, and in no file: the owners' ``json2labelImg.py`` draws no polygon of a negative id, so these
    pixels bear the id of what is behind the plate, such as the car.
    """

    info = DataInfo(
        name="cityscapes",
        title="Cityscapes",
        splits={"train": 2975, "val": 500},
        n_raw_labels=len(_ROWS),
        class_sets={"19": class_set("19", _EVALUATED), "27": class_set("27", _ROWS[7:])},
        default_classes="19",
        short_side=1024,
        window=768,
        stride=512,
        folder="cityscapes",
        licence=(
            "Get leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip from https://www.cityscapes-dataset.com "
            "(registration; non-commercial use)"
        ),
        raw_names=tuple(row.name for row in _ROWS),
    )

    def image_files(self, split: str) -> Listing:
        """The images of all cities of a split; a city without a folder is a problem."""
        return self._cities(self.folder / "leftImg8bit" / split, split, "_leftImg8bit")

    def label_files(self, split: str) -> Listing:
        """The label ids of all cities of a split; a city without a folder is a problem."""
        return self._cities(self.folder / "gtFine" / split, split, "_gtFine_labelIds")

    def _cities(self, folder: Path, split: str, ending: str) -> Listing:
        listing = list_folder(folder, (".png",), ending=ending, depth=1)
        if not listing.files:
            return listing
        missing = (folder / city for city in CITIES[split] if not (folder / city).is_dir())
        lines = tuple(f"{path}: this city of split {split} is missing" for path in missing)
        return replace(listing, problems=listing.problems + lines)
