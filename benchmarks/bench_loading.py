"""Training crops: decoded, resized at random, cropped, mirrored and distorted, as NeuralEF's online features read them.

Run with ``python -m pytest benchmarks/bench_loading.py``; a round delivers 60 crops, so that 3 s are 20 crops a second.
``cpu_ms`` is the processor time of a crop, which other programs on the machine hardly change. The images are JPEG files
of the sizes of Pascal Context (500 x 375) and ADE20K (683 x 512), and PNG files of Cityscapes' size.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture

from spectral_bench.bench.features.pipeline import Extraction
from spectral_bench.bench.features.recipes import epoch_recipe
from spectral_bench.datasets.reading import read_image
from spectral_bench.datasets.synthetic.paint import paint_image
from spectral_bench.results.specification import Resize, Transform

CROPS = 60
SETS = {
    "pascal_context": ((500, 375), "jpg", 520, 480),
    "ade20k": ((683, 512), "jpg", 512, 512),
    "cityscapes": ((2048, 1024), "png", 1024, 768),
}


class Files:
    """The same few files again and again."""

    def __init__(self, folder: Path, size: tuple[int, int], suffix: str) -> None:
        self._paths = []
        for index in range(6):
            picture = Image.fromarray(paint_image(0, index)).resize(size)
            noise = np.random.default_rng(index).normal(
                0, 6, (size[1], size[0], 3)
            )  # as hard to decode as a photograph
            pixels = (np.asarray(picture) + noise).clip(0, 255).astype(np.uint8)
            self._paths.append(folder / f"{index}.{suffix}")
            Image.fromarray(pixels).save(self._paths[-1], quality=92)
        self.ids = tuple(map(str, range(CROPS)))

    def image(self, image_id: str) -> NDArray[np.uint8]:
        return read_image(self._paths[int(image_id) % len(self._paths)])

    def digest(self) -> str:
        return ""


class NoBackbone:
    """Stands in for a backbone: only the colour of padding is asked of it."""

    fill = (127, 127, 127)

    def to(self, device: torch.device | str) -> NoBackbone:
        return self


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", SETS)
def test_crops(benchmark: BenchmarkFixture, tmp_path: Path, name: str, workers: int) -> None:
    size, suffix, short_side, crop = SETS[name]
    benchmark.group = f"{CROPS} crops of {crop} x {crop}: {name}"
    resize = Resize(mode="short_side", short_side=short_side)
    transform = Transform(resize=resize, scale=(0.5, 2.0), crop=crop, flip=True, photometric=True)
    files = Files(tmp_path, size, suffix)
    work = Extraction(files, files.ids, NoBackbone, workers=workers)  # type: ignore[arg-type]

    def deliver() -> int:
        return sum(
            look.shots[0].shape == (crop, crop, 3) for look in work.decoded(epoch_recipe(transform, 0, 0), range(CROPS))
        )

    assert deliver() == CROPS
    benchmark.pedantic(deliver, rounds=3)
    before = time.process_time()
    deliver()
    benchmark.extra_info["cpu_ms"] = round((time.process_time() - before) / CROPS * 1000, 1)
    assert benchmark.stats is not None
    benchmark.extra_info["crops_a_second"] = round(CROPS / benchmark.stats.stats.min, 1)
