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

    @property
    def inside(self) -> bool:
        """Whether the box lies inside of the resized image, so that nothing is padded."""
        rows, columns = self.resized
        down, across = self.top + self.height <= rows, self.left + self.width <= columns
        return min(self.top, self.left) >= 0 and down and across

    @classmethod
    def whole(cls, height: int, width: int) -> Crop:
        """The whole of an image of this size after resizing."""
        return cls((height, width), 0, 0, height, width)
