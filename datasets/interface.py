"""What a data set offers. Images and labels never travel together: training code opens images only."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ClassSet:
    """A way of counting classes over the raw label ids of a data set.

    Attributes:
        name: for example ``"27"`` or ``"19"``.
        classes: class names, in the order of the published tables.
        raw_ids: for each class the raw label ids that belong to it. Raw ids that belong to none are ignored.
        palette: one RGB colour a class, 0 to 255.
    """

    name: str
    classes: tuple[str, ...]
    raw_ids: tuple[tuple[int, ...], ...]
    palette: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class DataInfo:
    """The facts about a data set that planning needs; reading them touches no file.

    Attributes:
        name: the name used in grids.
        title: the name used in tables.
        splits: split -> official number of images (None where it is the user's).
        n_raw_labels: raw label ids run from 0 to ``n_raw_labels - 1``; any other value in a label is an error.
        class_sets: the ways of counting classes, by name; empty for a data set without labels.
        default_classes: the class set used unless a protocol names one.
        evaluation_size: (height, width) to which protocol ``whole`` resizes images; None: each keeps its own size.
        short_side: short side in pixels of the paper's resizing; None where the paper does not use the data set.
        window: side in pixels of the paper's square windows and training crops.
        stride: stride in pixels of the paper's sliding windows.
        folder: its folder below a data root.
        needs_root: False for data that is generated.
        licence: licence and where to get it, one line.
        raw_names: of all raw label ids, where they are known.
        unlabelled: splits without labels of a data set that has labels.
    """

    name: str
    title: str
    splits: dict[str, int | None]
    n_raw_labels: int
    class_sets: dict[str, ClassSet]
    default_classes: str
    evaluation_size: tuple[int, int] | None = None
    short_side: int | None = None
    window: int | None = None
    stride: int | None = None
    folder: str = ""
    needs_root: bool = True
    licence: str = ""
    raw_names: tuple[str, ...] = field(default=())
    unlabelled: tuple[str, ...] = field(default=())

    def without_labels(self, split: str) -> str:
        """What to say of one of the ``unlabelled`` splits where labels are needed."""
        labelled = [other for other in self.splits if other not in self.unlabelled]
        return f'split "{split}" of {self.name} has no labels; splits with labels: {", ".join(labelled) or "none"}'


class ImageLoader(Protocol):
    """The images of one split, and nothing else."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Image ids in their fixed order."""
        ...

    def image(self, image_id: str) -> NDArray[np.uint8]:
        """(H, W, 3) RGB. Raises ``DataError`` naming the file if it is missing or corrupt."""
        ...

    def digest(self) -> str:
        """A short hash of what the split holds (see ``common.digests``), or the generator's version."""
        ...


class LabelLoader(Protocol):
    """The labels of one split, for evaluation and for methods that declare that they use labels."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Image ids in their fixed order."""
        ...

    def label(self, image_id: str) -> NDArray[np.uint16]:
        """(H, W) raw label ids. Raises ``DataError`` naming the file if it is missing, corrupt or out of range."""
        ...


class DataSet(Protocol):
    """A data set, opened by name with ``datasets.registry.open_data``."""

    @property
    def info(self) -> DataInfo:
        """Splits, classes and sizes."""
        ...

    def images(self, split: str) -> ImageLoader:
        """Images of a split. Raises ``DataError`` if the root does not hold it."""
        ...

    def labels(self, split: str) -> LabelLoader:
        """Labels of a split. Raises ``DataError`` if the root does not hold them."""
        ...

    def problems(self, split: str, *, labels: bool = True) -> list[str]:
        """All that is wrong with a split on disk, one line each with its path; empty if all is well.

        Checks that files can be opened and are whole, that each image has a label of its size and each label an image,
        from names and headers. A split that holds fewer images than published is no problem: see ``count_warning``.

        Args:
            split: the split.
            labels: False looks at the images only, as a fit does.
        """
        ...


@dataclass(frozen=True)
class DataRoots:
    """Where data sets lie: ``root/<info.folder>`` for the first root that holds it.

    Attributes:
        roots: from ``--data-root``, ``$BENCH_DATA`` or the grid, in this order.
    """

    roots: tuple[Path, ...] = ()
