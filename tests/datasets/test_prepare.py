from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from spectral_bench.common.errors import DataError
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.datasets.pascal_context import PascalContext
from spectral_bench.datasets.prepare import prepare
from spectral_bench.datasets.registry import open_data

STEMS = [f"2008_00000{i}" for i in range(6)]


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    voc = tmp_path / "VOCdevkit" / "VOC2010"
    (voc / "trainval").mkdir(parents=True)
    for seed, stem in enumerate(STEMS):
        ids = np.random.default_rng(seed).integers(0, 460, (15, 20)).astype(np.uint16)
        scipy.io.savemat(voc / "trainval" / f"{stem}.mat", {"LabelMap": ids})
    return voc


def _open(voc: Path) -> PascalContext:
    return PascalContext(DataRoots((voc.parent.parent,)))


def test_every_label_map_is_converted_with_progress(voc: Path) -> None:
    data, calls = _open(voc), []
    assert prepare(data, progress=lambda done, total: calls.append((done, total))) == 6
    assert calls == [(i, 6) for i in range(1, 7)]
    for stem in STEMS:
        image = Image.open(voc / "SegmentationClassContext" / f"{stem}.png")
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), data.read_label(voc / "trainval" / f"{stem}.mat"))


def test_it_goes_on_where_it_stopped(voc: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(_open(voc), jobs=1, progress=stop)
    before = {path.name: path.stat().st_mtime_ns for path in (voc / "SegmentationClassContext").iterdir()}
    assert 1 <= len(before) < 6
    assert all(name.endswith(".png") and not name.startswith(".") for name in before)
    assert prepare(_open(voc)) == 6 - len(before)
    for name, stamp in before.items():
        assert (voc / "SegmentationClassContext" / name).stat().st_mtime_ns == stamp
    assert prepare(_open(voc)) == 0


def test_a_damaged_file_is_named_and_leaves_nothing_half_written(voc: Path) -> None:
    bad = voc / "trainval" / f"{STEMS[2]}.mat"
    bad.write_bytes(bad.read_bytes()[:150])
    with pytest.raises(DataError, match=str(bad)):
        prepare(_open(voc), jobs=2)
    written = {path.name for path in (voc / "SegmentationClassContext").iterdir()}
    assert written <= {f"{stem}.png" for stem in STEMS} - {f"{STEMS[2]}.png"}


def test_nothing_to_convert_says_where_to_get_it(voc: Path) -> None:
    for path in (voc / "trainval").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"trainval: holds no \.mat file to convert\. Get VOCtrainval"):
        prepare(_open(voc))


def test_other_data_sets_need_no_preparation() -> None:
    with pytest.raises(DataError, match="synthetic is read as its owners ship it; only pascal_context is prepared"):
        prepare(open_data("synthetic", DataRoots()))
