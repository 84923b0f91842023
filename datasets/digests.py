"""What labels were there, in a few digits."""

from __future__ import annotations

from spectral_bench.datasets.interface import LabelLoader


def label_files(labels: LabelLoader) -> str:
    """A digest of the labels of a split (``common.digests``); empty where they tell none."""
    digest = getattr(labels, "digest", None)
    return "" if digest is None else str(digest())
