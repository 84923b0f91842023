"""Small images, a small network, and everything that opening features asks for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spectral_bench.bench.features.backbones import load_backbone
from spectral_bench.bench.features.pipeline import Extraction
from spectral_bench.common.errors import DataError

OPTIONS = {"weights": "random", "seed": 1}


class FakeImages:
    """Random images by id; ``sizes`` gives each its (height, width)."""

    def __init__(self, sizes: dict[str, tuple[int, int]]) -> None:
        self.sizes = sizes
        self.broken: set[str] = set()
        self.reads: list[str] = []
        self.version = "1"

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.sizes)

    def image(self, image_id: str) -> np.ndarray:
        self.reads.append(image_id)
        if image_id in self.broken:
            raise DataError(f"{image_id}.png: cannot be read as an image")
        seed = int(hashlib.sha256(image_id.encode()).hexdigest()[:8], 16)
        return np.random.default_rng(seed).integers(0, 256, (*self.sizes[image_id], 3), dtype=np.uint8)

    def digest(self) -> str:
        return f"fake-{self.version}"


@pytest.fixture
def make_images() -> Callable[..., FakeImages]:
    return lambda n=5, size=(48, 64): FakeImages({f"image{i}": size for i in range(n)})


@pytest.fixture
def make_sized_images() -> Callable[..., FakeImages]:
    return FakeImages


@pytest.fixture(scope="session")
def tiny():
    """timm's smallest transformer, with random weights: stride 16, 64 channels a level."""
    return load_backbone("test_vit", OPTIONS, "cpu")


@pytest.fixture
def how(tmp_path: Path, tiny):
    """The arguments of ``open_training_source`` and ``open_view_features`` that say how to work."""
    return {
        "backbone": lambda: tiny,
        "folder": tmp_path / "features",
        "device": "cpu",
        "workers": 0,
        "inference_batch": 3,
        "cache_limit": 10**9,
        "progress": lambda done, total: None,
        "should_stop": lambda: False,
    }


@pytest.fixture
def make_work(tiny) -> Callable[..., Extraction]:
    return lambda images, **options: Extraction(images, images.ids, lambda: tiny, **options)
