"""What labels were there, in a few digits."""

from __future__ import annotations

from datasets.interface import DataSet


def label_files(data: DataSet, split: str) -> str:
    """A digest of a split's labels; empty where the data set does not tell, or keeps the same labels in several forms.

    Raises:
        DataError: the split has no labels, or they are not there.
    """
    digest = getattr(data.labels(split), "digest", None)
    return "" if digest is None else str(digest())
