"""Resizing, crops, windows and photometric distortion of images and labels, with numpy and PIL only.

All randomness is drawn from the generator that is passed in, and what was drawn is a value (a ``Crop``, a
``Photometric``) that can be applied again. No function here that draws something can see a label.
"""

from spectral_bench.common.geometry import Crop
from spectral_bench.datasets.transforms.crops import apply_crop, crop_label, draw_crop
from spectral_bench.datasets.transforms.photometric import Photometric, distort, draw_photometric
from spectral_bench.datasets.transforms.resize import resize_image, resize_label, resized_size, short_side_size
from spectral_bench.datasets.transforms.windows import centre_crop, window_crops

__all__ = [
    "Crop",
    "Photometric",
    "apply_crop",
    "centre_crop",
    "crop_label",
    "distort",
    "draw_crop",
    "draw_photometric",
    "resize_image",
    "resize_label",
    "resized_size",
    "short_side_size",
    "window_crops",
]
