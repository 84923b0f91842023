"""A thorough look at a data set: what is missing, what is too much, and whether files can be read."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from common.errors import DataError
from datasets.files import FileDataSet
from datasets.interface import DataSet, ImageLoader, LabelLoader
from datasets.subset import subset

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


def held_splits(data: DataSet) -> tuple[str, ...]:
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
                named = {line.partition(": ")[0] for line in problems}
                problems += [line for line in found if line.partition(": ")[0] not in named]
                done += 1
                if progress is not None:
                    progress(done, total)
            count = len(loaders[0].ids) if loaders else 0
            reports.append(SplitReport(split, count, data.info.splits[split], len(chosen[split]), tuple(problems)))
    return reports


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
        try:
            if labels is not None and image_id in labelled:
                labels.label(image_id)
        except DataError as error:
            found.append(str(error))
        return found

    return read
