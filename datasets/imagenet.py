"""ImageNet (ILSVRC 2012): images to train on, without any label."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spectral_bench.common.errors import DataError
from spectral_bench.datasets.files import FileDataSet, FileLabels
from spectral_bench.datasets.interface import DataInfo
from spectral_bench.datasets.listing import Listing, list_folder
from spectral_bench.datasets.reading import IMAGE_MODES, read_image

_SUFFIXES = (".jpeg", ".jpg")


class ImageNet(FileDataSet):
    """Images in ``train/<synset>/`` and ``val/`` (flat as shipped, or in one folder a synset).

    The folders of the synsets are not used. About twenty of the official images are stored as CMYK and one JPEG is a
    PNG in truth: they are part of the data and are converted. Headers of 1.3 million files are not checked beforehand.
    """

    info = DataInfo(
        name="imagenet",
        title="ImageNet",
        splits={"train": 1_281_167, "val": 50_000},
        n_raw_labels=0,
        class_sets={},
        default_classes="",
        short_side=256,
        window=224,
        folder="imagenet",
        licence="Get ILSVRC2012 from https://www.image-net.org (registration; non-commercial research)",
    )
    also = ("ILSVRC/Data/CLS-LOC", "imagenet/ILSVRC/Data/CLS-LOC", "ILSVRC2012")
    check_headers = False

    def image_files(self, split: str) -> Listing:
        """The images of a split, whether they lie in folders of synsets or not."""
        flat = list_folder(self.folder / split, _SUFFIXES)
        if flat.files:
            return flat
        sorted_in = list_folder(self.folder / split, _SUFFIXES, depth=1)
        return sorted_in if sorted_in.files else replace(flat, problems=flat.problems + sorted_in.problems)

    def label_files(self, split: str) -> Listing:
        """There are none."""
        return Listing(self.folder, {}, (f"imagenet, split {split}: is used without labels",))

    def labels(self, split: str) -> FileLabels:
        """Always raises ``DataError``: ImageNet has no segmentation labels."""
        raise DataError("imagenet has no labels: train on it, and evaluate on another data set")

    def read_image(self, path: Path) -> NDArray[np.uint8]:
        """(H, W, 3) RGB; CMYK is converted."""
        return read_image(path, modes=(*IMAGE_MODES, "CMYK"))
