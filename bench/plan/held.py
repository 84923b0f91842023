"""The data of today, as far as the data roots hold it: what finished runs saw can be held against it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Protocol

from bench.plan.snapshot import Recorded
from common.errors import UserError
from datasets import DataRoots, label_files, open_data


class Data(Protocol):
    """Digests of the files that are there today; None where they are not at hand, which says nothing of any run."""

    def images(self, dataset: str, split: str) -> str | None:
        """Of the images of a split."""
        ...

    def labels(self, dataset: str, split: str) -> str | None:
        """Of the labels of a split."""
        ...


class HeldData:
    """The data sets in some roots, each split looked at once: ids and file sizes, no contents.

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
        return _digest(lambda: label_files(open_data(dataset, self._roots), split))


def changed_data(records: Iterable[Recorded], data: Data) -> list[str]:
    """What records of fits and evaluations saw in other files than there are now, such as ``camvid val labels``.

    Records without digests say nothing of their data, so nothing has changed for them.
    """
    found = []
    for record in records:
        found.append(_changed(record, "images", record.data_digest, data.images))
        found.append(_changed(record, "labels", record.label_files, data.labels))
    return sorted({what for what in found if what})


def _changed(record: Recorded, what: str, then: str, now: Callable[[str, str], str | None]) -> str:
    today = now(record.dataset, record.split) if then else None
    return f"{record.dataset} {record.split} {what}" if today is not None and today != then else ""


def _digest(read: Callable[[], str]) -> str | None:
    try:
        return read()
    except (UserError, OSError):
        return None
