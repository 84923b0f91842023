"""A thorough look at a data set: what is missing, what is too much, and whether files can be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from spectral_bench.common.errors import DataError
from spectral_bench.datasets.files import FileDataSet
from spectral_bench.datasets.interface import DataSet, ImageLoader, LabelLoader
from spectral_bench.datasets.subset import subset

Progress = Callable[[int, int], None]
_Loaders = tuple[ImageLoader, LabelLoader | None]


@dataclass(frozen=True)
class SplitReport:
    """What was found out about one split.

    Attributes:
        split: its name.
        found: images on disk.
        official: images as published, or None where that is the user's affair.
        read: images (and labels) that were read in full.
        problems: one line each, with the path.
    """

    split: str
    found: int
    official: int | None
    read: int
    problems: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether the number of images is the official one."""
        return self.official is None or self.found == self.official

    @property
    def sound(self) -> bool:
        """Whether the split holds images and nothing is wrong with what it holds."""
        return self.found > 0 and not self.problems


def splits_on_disk(data: DataSet) -> tuple[str, ...]:
    """The splits of which there is at least one image."""
    return tuple(split for split in data.info.splits if not isinstance(data, FileDataSet) or data.holds(split))


def verify(
    data: DataSet, *, sample: int | None = 100, jobs: int = 4, progress: Progress | None = None
) -> list[SplitReport]:
    """Check every split that the data root holds, and read a fixed sample of its images and labels in full.

    Args:
        data: the data set.
        sample: images a split to read; None reads all, 0 none.
        jobs: threads that read.
        progress: called with (images read, images to read) over all splits.

    Returns:
        One report a split of the data set; where a split is absent, ``found`` is 0 and the problems say what was looked
        for.
    """
    opened = {split: _open(data, split) for split in data.info.splits}
    chosen = {split: _sample(loaders[0].ids if loaders else (), sample) for split, loaders in opened.items()}
    total, done, reports = sum(len(ids) for ids in chosen.values()), 0, []
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        for split, loaders in opened.items():
            problems = data.problems(split)
            for found in pool.map(_reader(*loaders), chosen[split]) if loaders else ():
                problems += unnamed(problems, found)
                done += 1
                if progress is not None:
                    progress(done, total)
            count = len(loaders[0].ids) if loaders else 0
            reports.append(SplitReport(split, count, data.info.splits[split], len(chosen[split]), tuple(problems)))
    return reports


def unnamed(problems: Iterable[str], found: Iterable[str]) -> list[str]:
    """Those lines of ``found`` whose file no line of ``problems`` names."""
    named = {line.partition(": ")[0] for line in problems}
    return [line for line in found if line.partition(": ")[0] not in named]


def unreadable_labels(
    data: DataSet, split: str, n: int | None = None, *, jobs: int = 4, progress: Progress | None = None
) -> list[str]:
    """What reading labels in full finds and headers do not tell, one line each: a value that belongs to no class table.

    Args:
        data: the data set; labels that are generated are not looked at.
        split: a split that the data root holds.
        n: labels of a subset of this many images only; None: all.
        jobs: threads that read.
        progress: called with (labels read, labels to read).
    """
    if not isinstance(data, FileDataSet) or not data.holds(split):
        return []
    images, labels = data.loaders(split)
    ids = subset(images.ids, None if n is None else min(n, len(images.ids)))
    labelled = frozenset(labels.ids if labels is not None else ())
    known = [image_id for image_id in ids if image_id in labelled]
    found: list[str] = []
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        for done, problem in enumerate(pool.map(partial(_label_problem, labels), known), start=1):
            found += problem
            if progress is not None:
                progress(done, len(known))
    return found


def _open(data: DataSet, split: str) -> _Loaders | None:
    if isinstance(data, FileDataSet):
        return data.loaders(split) if data.holds(split) else None
    return data.images(split), data.labels(split) if data.info.class_sets else None


def _sample(ids: tuple[str, ...], sample: int | None) -> tuple[str, ...]:
    if sample is None or sample >= len(ids):
        return ids
    return subset(ids, sample) if sample > 0 else ()


def _reader(images: ImageLoader, labels: LabelLoader | None) -> Callable[[str], list[str]]:
    """A function from an image id to what is wrong with its files. A missing label is told by ``problems`` already."""
    labelled = frozenset(labels.ids if labels is not None else ())

    def read(image_id: str) -> list[str]:
        found = []
        try:
            images.image(image_id)
        except DataError as error:
            found.append(str(error))
        return found + (_label_problem(labels, image_id) if image_id in labelled else [])

    return read


def _label_problem(labels: LabelLoader | None, image_id: str) -> list[str]:
    try:
        if labels is not None:
            labels.label(image_id)
    except DataError as error:
        return [str(error)]
    return []
