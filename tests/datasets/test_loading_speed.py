from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.reading import read_image
from datasets.synthetic.paint import paint_image
from datasets.transforms import apply_crop, distort, draw_crop, draw_photometric, short_side_size


@pytest.mark.slow
def test_two_cores_deliver_twenty_augmented_crops_a_second(tmp_path: Path) -> None:
    """CPU time is measured, so that a busy machine does not matter: 20 crops a second on 2 cores are 100 ms each."""
    path = tmp_path / "photo.jpg"
    Image.fromarray(paint_image(0, 0)).resize((500, 375)).save(path, quality=92)
    rng, crops = np.random.default_rng(0), 60
    started = time.process_time()
    for _ in range(crops):
        image = read_image(path)
        crop = draw_crop(rng, *short_side_size(*image.shape[:2], 520), scale=(0.5, 2.0), crop=480, flip=True)
        assert distort(apply_crop(image, crop), draw_photometric(rng)).shape == (480, 480, 3)
    assert (time.process_time() - started) / crops < 0.1


@pytest.mark.slow
def test_a_synthetic_image_takes_at_most_fifteen_milliseconds() -> None:
    paint_image(0, 0)
    started = time.process_time()
    for index in range(32):
        paint_image(0, index)
    assert (time.process_time() - started) / 32 < 0.015 * 2  # twice the figure of an idle core
