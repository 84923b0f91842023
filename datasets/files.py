"""What all data sets made of image and label files share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spectral_bench.common.digests import joined
from spectral_bench.common.errors import DataError
from spectral_bench.common.names import unknown
from spectral_bench.datasets.checks import pairing_problems, size_problem, size_problems, sizes
from spectral_bench.datasets.contents import contents_digest, times_digest
from spectral_bench.datasets.interface import DataInfo, DataRoots
from spectral_bench.datasets.listing import Listing
from spectral_bench.datasets.reading import image_header, label_header, read_image, read_label, require_range
from spectral_bench.datasets.roots import find_folder


class FileImages:
    """The image files of one split.

    Args:
        name: the data set, for messages.
        listing: the image files.
        read: reads (H, W, 3) RGB from a file.
        by_contents: whether the digest is one of contents; False: of times of change.
    """

    def __init__(
        self,
        name: str,
        listing: Listing,
        read: Callable[[Path], NDArray[np.uint8]] = read_image,
        *,
        by_contents: bool = True,
    ) -> None:
        self._by_contents = by_contents
        self._name = name
        self._listing = listing
        self._read = read
        self.ids = tuple(listing.files)

    def image(self, image_id: str) -> NDArray[np.uint8]:
        """(H, W, 3) RGB. Raises ``DataError`` naming the file if it is missing or corrupt."""
        return self._read(self.path(image_id))

    def path(self, image_id: str) -> Path:
        """The file of an image. Raises ``DataError`` for an unknown id."""
        if image_id not in self._listing.files:
            raise DataError(f"{self._name}: no image {image_id} in {self._listing.folder}")
        return self._listing.files[image_id]

    def digest(self) -> str:
        """A short hash of ids, file sizes and contents. Raises ``DataError`` if a file cannot be read."""
        files, sizes = self._listing.files, self._listing.digest()
        return joined(sizes, contents_digest(files, self._listing.folder) if self._by_contents else times_digest(files))


class FileLabels:
    """The label files of one split.

    Args:
        name: the data set, for messages.
        labels: the label files.
        images: the image files, to check that sizes agree.
        n_raw_labels: raw ids run from 0 to ``n_raw_labels - 1``.
        read: reads (H, W) raw label ids from a file.
        image_size: (height, width) of an image file, without decoding it.
    """

    def __init__(
        self,
        name: str,
        labels: Listing,
        images: Listing,
        n_raw_labels: int,
        read: Callable[[Path], NDArray[np.uint16]] = read_label,
        image_size: Callable[[Path], tuple[int, int]] = image_header,
    ) -> None:
        self._name = name
        self._labels = labels
        self._images = images
        self._n_raw_labels = n_raw_labels
        self._read = read
        self._image_size = image_size
        self.ids = tuple(labels.files)

    def label(self, image_id: str) -> NDArray[np.uint16]:
        """(H, W) raw label ids.

        Raises:
            DataError: there is no such label, or it is corrupt, holds a value out of range, or differs from its image
                in size.
        """
        path = self.path(image_id)
        label = require_range(self._read(path), self._n_raw_labels, path)
        if image_id in self._images.files:
            image = self._images.files[image_id]
            if problem := size_problem(path, (label.shape[0], label.shape[1]), image, self._image_size(image)):
                raise DataError(problem)
        return label

    def path(self, image_id: str) -> Path:
        """The file of a label. Raises ``DataError`` if there is none."""
        if image_id not in self._labels.files:
            image, spare = self._images.files.get(image_id, image_id), self._labels.files.keys() - self._images.files
            there = self._labels.instead_of(image_id, spare)
            raise DataError(f"{self._name}: {image} has no label in {self._labels.folder}{there}")
        return self._labels.files[image_id]

    def digest(self) -> str:
        """A short hash of ids, file sizes and contents. Raises ``DataError`` if a file cannot be read."""
        return joined(self._labels.digest(), contents_digest(self._labels.files, self._labels.folder))


class FileDataSet(ABC):
    """Base of data sets whose images and labels are files below a root.

    A subclass sets ``info`` and says in ``image_files`` and ``label_files`` which files a split holds; it may override
    ``read_image``, ``image_size``, ``read_label`` and ``label_size`` where its files are no plain images.

    Attributes:
        info: splits, classes and sizes.
        also: other folders below a data root where the data is often kept, besides ``info.folder``.
        check_headers: whether ``problems`` and digests open every file; False where there are too many.
    """

    info: DataInfo
    also: tuple[str, ...] = ()
    check_headers: bool = True

    def __init__(self, roots: DataRoots) -> None:
        self.folder = find_folder(self.info, roots, self.also)

    @abstractmethod
    def image_files(self, split: str) -> Listing:
        """The images of a split that exists."""

    @abstractmethod
    def label_files(self, split: str) -> Listing:
        """The labels of a split that exists."""

    def read_image(self, path: Path) -> NDArray[np.uint8]:
        """(H, W, 3) RGB of a file."""
        return read_image(path)

    def image_size(self, path: Path) -> tuple[int, int]:
        """(height, width) of an image file, without decoding it."""
        return image_header(path)

    def read_label(self, path: Path) -> NDArray[np.uint16]:
        """(H, W) raw label ids of a file, not yet checked against the range of the data set."""
        return read_label(path, range(self.info.n_raw_labels))

    def label_size(self, path: Path) -> tuple[int, int]:
        """(height, width) of a label file, without decoding it."""
        return label_header(path)

    def images(self, split: str) -> FileImages:
        """Images of a split; its labels are not looked at."""
        return self._open_images(self._found(self.image_files, split))

    def labels(self, split: str) -> FileLabels:
        """Labels of a split."""
        labels, images = self._found(self.label_files, split), self.image_files(split)
        return self._open_labels(labels.named_like(images), images)

    def loaders(self, split: str) -> tuple[FileImages, FileLabels | None]:
        """Images and labels (if the data set has any) of a split whatever is wrong with its lists."""
        images = self.image_files(split)
        if not self.has_labels(split):
            return self._open_images(images), None
        return self._open_images(images), self._open_labels(self.label_files(split).named_like(images), images)

    def problems(self, split: str, *, labels: bool = True) -> list[str]:
        """All that is wrong with a split (or with its images only), one line each with its path, from headers alone."""
        self._require_split(split)
        images = self.image_files(split)
        image_sizes, unreadable = sizes(images, self.image_size) if self.check_headers else ({}, [])
        found = [*images.problems, *unreadable]
        if labels and self.has_labels(split):
            listed = self.label_files(split).named_like(images)
            label_sizes, unreadable = sizes(listed, self.label_size)
            found += [line for line in listed.problems if line not in found]  # both want the same list of ids
            found += [*pairing_problems(images, listed), *unreadable]
            found += size_problems(images, image_sizes, listed, label_sizes)
        return found

    def has_labels(self, split: str) -> bool:
        """Whether a split is meant to have labels."""
        return bool(self.info.class_sets) and split not in self.info.unlabelled

    def holds(self, split: str) -> bool:
        """Whether there is any image of a split on disk."""
        self._require_split(split)
        return bool(self.image_files(split).files)

    def _open_images(self, images: Listing) -> FileImages:
        return FileImages(self.info.name, images, self.read_image, by_contents=self.check_headers)

    def _open_labels(self, labels: Listing, images: Listing) -> FileLabels:
        n_labels = self.info.n_raw_labels
        return FileLabels(self.info.name, labels, images, n_labels, self.read_label, self.image_size)

    def _found(self, files: Callable[[str], Listing], split: str) -> Listing:
        self._require_split(split)
        listing = files(split)
        if not listing.files:
            problem = next(iter(listing.problems), f"{listing.folder}: holds no file")
            raise DataError(f"{self.info.name}, split {split}: {problem}. {self.info.licence}")
        return listing.require_no_problems()

    def _require_split(self, split: str) -> None:
        if split not in self.info.splits:
            raise DataError(unknown(f"split of {self.info.name}", split, self.info.splits))
