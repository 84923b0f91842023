"""Crops at fixed places: the centre, and the windows of sliding-window inference."""

from __future__ import annotations

from spectral_bench.common.geometry import Crop


def centre_crop(height: int, width: int, size: int) -> Crop:
    """The central square of an image that was resized to (height, width).

    The offset is half of the room rounded to the nearest pixel, halves to even, as in torchvision's ``CenterCrop``, so
    that the same pixels are scored as in published numbers. An image smaller than the square is padded on both sides,
    by one pixel more at the bottom or right where the padding is odd.

    Args:
        height, width: of the image after resizing, in pixels.
        size: side of the square in pixels.
    """
    return Crop((height, width), _centre(height - size), _centre(width - size), size, size)


def window_crops(height: int, width: int, window: int, stride: int) -> tuple[Crop, ...]:
    """The windows that cover an image that was resized to (height, width), row by row, each place once.

    Anchors lie ``stride`` apart; the last one is moved back to end at the border. Where a side is shorter than the
    window there is one anchor, and the window is padded at the bottom or right.

    Args:
        height, width: of the image after resizing, in pixels.
        window: side of the square windows in pixels.
        stride: distance between windows in pixels; at most ``window``, or pixels would be left out.

    Raises:
        ValueError: ``stride`` is not between 1 and ``window``.
    """
    if not 1 <= stride <= window:
        raise ValueError(f"stride {stride}; expected 1 to {window}, the side of the window")
    return tuple(
        Crop((height, width), top, left, window, window)
        for top in _anchors(height, window, stride)
        for left in _anchors(width, window, stride)
    )


def _anchors(length: int, window: int, stride: int) -> list[int]:
    last = max(length - window, 0)
    return [*range(0, last, stride), last]


def _centre(room: int) -> int:
    return round(room / 2) if room >= 0 else -(-room // 2)
