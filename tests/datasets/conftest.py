"""Small trees on disk in the layout of the originals."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from survey_lab import Made, Make

from spectral_bench.datasets.description import read_description
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.datasets.registry import open_data
from spectral_bench.datasets.survey.proposal import propose
from spectral_bench.datasets.verify import verify


@pytest.fixture
def photo() -> Callable[..., Path]:
    """Writes an image of random blocks; returns its path."""

    def write(path: Path, height: int = 12, width: int = 16, *, mode: str = "RGB", seed: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(seed)
        coarse = rng.integers(0, 256, (3, 4, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((width, height), Image.Resampling.NEAREST).convert(mode).save(path)
        return path

    return write


@pytest.fixture
def label_png() -> Callable[[Path, NDArray[np.generic]], Path]:
    """Writes label ids as a grey-scale PNG of 8 bits, or of 16 bits for a 16-bit array; returns its path."""

    def write(path: Path, values: NDArray[np.generic]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(path)
        return path

    return write


@pytest.fixture
def camvid_root(tmp_path: Path, photo: Callable[..., Path], label_png: Callable[..., Path]) -> Path:
    """A data root with three training and two validation images of CamVid's layout."""
    for split, stems in (("train", ("b", "a", "c")), ("val", ("e", "d"))):
        for seed, stem in enumerate(stems):
            photo(tmp_path / "camvid" / split / f"{stem}.jpg", seed=seed)
            label_png(
                tmp_path / "camvid" / f"{split}annot" / f"{stem}.png",
                np.random.default_rng(seed).integers(0, 12, (12, 16)).astype(np.uint8),
            )
    return tmp_path


@pytest.fixture
def camvid_data() -> DataRoots:
    """The data root that holds the real CamVid; skips the test where there is none."""
    default = Path(__file__).parents[3] / "shared" / "data"
    roots = DataRoots(tuple(Path(root) for root in os.environ.get("BENCH_DATA", str(default)).split(os.pathsep)))
    if not any((root / "camvid").is_dir() for root in roots.roots):
        pytest.skip(f"needs the CamVid images below $BENCH_DATA or {default}")
    return roots


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Describes ``tmp_path/own`` and demands that the description finds nothing wrong, and all images."""

    def describe(n_images: int, numbers_to: Path | None = None) -> Made:
        path = tmp_path / "own.yaml"
        proposal = propose(tmp_path / "own", path, numbers_to=numbers_to)
        proposal.write()
        assert proposal.problems == []
        reports = verify(open_data(f"folder:{path}", DataRoots()), sample=None)
        assert [line for report in reports for line in report.problems] == []
        assert all(report.sound for report in reports)
        assert sum(report.found for report in reports) == n_images
        return Made(proposal, read_description(path).content)

    return describe
