from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from spectral_bench.bench.predict import palette, predict
from spectral_bench.bench.run import execute
from spectral_bench.common.errors import DataError, StoreError
from spectral_bench.results.specification import Resize, View


@pytest.fixture
def finished(store, make_order):
    order = make_order(views=(View(dataset="camvid", split="val", resize=Resize(mode="exact", size=(64, 96))),))
    execute(order, store=store, should_stop=lambda: False)
    return order.spec.run_id


def test_masks_have_the_size_of_their_images_and_hold_cluster_indices(store, finished, tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "mine.png"
    Image.fromarray(rng.integers(0, 255, (75, 110, 3), dtype=np.uint8)).save(path)
    written = predict(store, finished, [path], tmp_path / "out")
    assert [file.name for file in written] == ["mine.png", "mine_overlay.jpg"]
    mask = Image.open(written[0])
    assert (mask.mode, mask.size) == ("P", (110, 75))
    assert np.array(mask).max() < 4
    assert Image.open(written[1]).size == (110, 75)


def test_the_masks_of_evaluated_images_are_those_that_were_counted(store, finished, data_root, tmp_path):
    images = sorted((data_root / "camvid" / "val").iterdir())
    written = predict(store, finished, images, tmp_path / "out", overlays=False)
    run = store.load_run(finished)
    view = next(iter(run.evaluations))
    stored = store.contingency(finished, view)
    for index, path in enumerate(written):
        counts = np.bincount(np.array(Image.open(path)).ravel(), minlength=4)
        assert counts.tolist() == stored.matrix([index]).sum(1).tolist()


@pytest.mark.parametrize("content", [b"no image", b"cut"], ids=["no image", "cut short"])
def test_a_corrupt_image_is_named_before_anything_is_written(store, finished, data_root, tmp_path, content):
    whole = sorted((data_root / "camvid" / "val").iterdir())[0]
    path = tmp_path / f"broken{whole.suffix}"
    path.write_bytes(whole.read_bytes()[:-40] if content == b"cut" else content)
    with pytest.raises(DataError, match="broken"):
        predict(store, finished, [whole, path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unfinished_run_predicts_nothing(store, tmp_path):
    with pytest.raises(StoreError, match="kmeans-s0-000000000000"):
        predict(store, "kmeans-s0-000000000000", [], tmp_path)


def test_palettes_tell_clusters_apart():
    colours = palette(64)
    assert len({tuple(colour) for colour in colours.tolist()}) == 64
