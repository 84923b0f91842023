"""Folders to be described, and their descriptions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from spectral_bench.datasets.description import Description
from spectral_bench.datasets.survey.proposal import Proposal

SIZE = (20, 24)
COLOURS = ((0, 0, 0), (128, 0, 0), (0, 128, 0))


def photo(path: Path, size: tuple[int, int] = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(str(path))).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def numbers(path: Path, values: tuple[int, ...] = (0, 1, 2), size: tuple[int, int] = SIZE, kind: str = "grey") -> None:
    """A label whose pixels are ``values`` in turn: grey, with a palette, or as colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.resize(np.array(values, np.uint16 if max(values) > 255 else np.uint8), size)
    if kind == "colours":
        pixels = np.array(COLOURS, np.uint8)[pixels]
    image = Image.fromarray(pixels)
    if kind == "palette":
        image.putpalette([part for colour in COLOURS for part in colour])
    image.save(path)


@dataclass
class Made:
    """A description that was made and written, and the data set that it describes."""

    proposal: Proposal
    content: Description

    @property
    def splits(self) -> dict[str, tuple[str, str | None, str | None]]:
        """Images, labels and ids of each split, as texts."""
        found = self.content.splits
        return {
            name: (str(one.images), str(one.labels) if one.labels else None, str(one.ids) if one.ids else None)
            for name, one in found.items()
        }


Make = Callable[..., Made]
