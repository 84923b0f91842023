"""A fixed subset of images, the same for every method and seed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from spectral_bench.common.errors import DataError

SALT = "subset-1"


def subset(ids: Sequence[str], n: int | None) -> tuple[str, ...]:
    """``n`` of ``ids`` in their own order, drawn once and for all; None gives all of them.

    The n ids whose hashes are smallest are taken, so that a larger subset contains the smaller one, and neither the
    order of ``ids`` nor a version of a library plays a part.

    Raises:
        DataError: ``n`` is less than 1 or more than there are ids.
    """
    if n is None:
        return tuple(ids)
    if not 1 <= n <= len(ids):
        raise DataError(f"a subset of {n} images was asked for; expected 1 to {len(ids)}, the images of the split")
    chosen = set(in_drawing_order(ids)[:n])
    return tuple(image_id for image_id in ids if image_id in chosen)


def in_drawing_order(ids: Sequence[str]) -> list[str]:
    """``ids`` in the order in which subsets take them, a fixed order that looks random."""
    return sorted(ids, key=_rank)


def _rank(image_id: str) -> bytes:
    return hashlib.sha256(f"{SALT}:{image_id}".encode()).digest()
