"""Whether a split can be trusted, asked before a run starts."""

from __future__ import annotations

from spectral_bench.datasets.interface import DataSet
from spectral_bench.datasets.listing import require_none


def require_no_problems(data: DataSet, split: str, *, labels: bool = True) -> None:
    """Raise unless nothing is wrong with the images of a split and, if ``labels``, with its labels.

    Raises:
        DataError: the first problem, with its path, and the number of further ones.
    """
    require_none(data.problems(split, labels=labels))


def count_warning(data: DataSet, split: str) -> str | None:
    """A line if a split holds more or fewer images than its owners published, else None.

    A part of a split can be used, but its numbers do not compare with those of the whole.
    """
    official, found = data.info.splits[split], len(data.images(split).ids)
    if official is None or official == found:
        return None
    return f"{data.info.name}, split {split}: {found} images found, {official} published"
