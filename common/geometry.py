"""Which part of an image a patch grid shows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Crop:
    """The part of an image that a patch grid shows. Units: pixels.

    The image is resized to ``resized`` (height, width), the box (``top``, ``left``, ``height``, ``width``) is cut out
    of it (what lies outside of the image is padding), and the box is mirrored left to right if ``flip``.
    """

    resized: tuple[int, int]
    top: int
    left: int
    height: int
    width: int
    flip: bool = False

    @classmethod
    def whole(cls, height: int, width: int) -> Crop:
        """The whole of an image of this size after resizing."""
        return cls((height, width), 0, 0, height, width)
