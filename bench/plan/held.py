"""The data of today, as far as the data roots hold it: what finished runs saw can be held against it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Literal, Protocol

from spectral_bench.bench.plan.snapshot import Recorded
from spectral_bench.common.digests import apart, tells_contents
from spectral_bench.common.registry import short_name
from spectral_bench.datasets.digests import label_files
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.datasets.registry import open_data
from spectral_bench.results.record import files_seen


class Data(Protocol):
    """Digests of the files that are there today; None where they are not at hand, which says nothing of any run."""

    def images(self, dataset: str, split: str) -> str | None:
        """Of the images of a split."""
        ...

    def labels(self, dataset: str, split: str) -> str | None:
        """Of the labels of a split."""
        ...


class HeldData:
    """The data sets in some roots, each split looked at once. Files are read where they are not as they were last time.

    Args:
        roots: where data sets lie.
    """

    def __init__(self, roots: DataRoots) -> None:
        self._roots = roots
        self.images = cache(self._images)
        self.labels = cache(self._labels)

    def _images(self, dataset: str, split: str) -> str | None:
        return _digest(lambda: open_data(dataset, self._roots).images(split).digest())

    def _labels(self, dataset: str, split: str) -> str | None:
        return _digest(lambda: label_files(open_data(dataset, self._roots).labels(split)))


DataState = Literal["as it was", "same names and sizes", "changed", "not at hand"]


def same_files(recorded: str, today: str) -> bool:
    """Whether two digests are of the same files."""
    return not apart(recorded, today)


def data_states(record: Recorded, data: Data, dataset: str | None = None) -> dict[str, DataState]:
    """What a fit or an evaluation saw, such as ``camvid val labels``, and what has become of it.

    Empty for a record without digests: it says nothing of its data.

    Args:
        record: of a fit or an evaluation.
        data: today's.
        dataset: where its data set lies today; None: where it lay.
    """
    dataset = dataset or record.dataset
    read = {"images": data.images, "labels": data.labels}
    states: dict[str, DataState] = {}
    for what, digest in files_seen(record).items():
        today = read[what](dataset, record.split)
        states[f"{short_name(dataset)} {record.split} {what}"] = _state(digest, today)
    return states


def _state(recorded: str, today: str | None) -> DataState:
    if today is None:
        return "not at hand"
    if not same_files(recorded, today):
        return "changed"
    return "same names and sizes" if tells_contents(today) and not tells_contents(recorded) else "as it was"


def changed_data(records: Iterable[tuple[Recorded, str]], data: Data) -> list[str]:
    """What records, each with its data set of today, saw in other files than there are now: ``camvid val labels``.

    Records without digests say nothing of their data, and of data that is not at hand nobody knows: neither counts.
    """
    states = (data_states(record, data, dataset).items() for record, dataset in records)
    return sorted({what for found in states for what, state in found if state == "changed"})


def _digest(read: Callable[[], str]) -> str | None:
    try:
        return read()
    except Exception:  # a data set of others may raise anything, and whoever works with the data hears of it then
        return None
