from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from spectral_bench.bench.predict.images import Wanted, predict
from spectral_bench.bench.predict.pictures import palette
from spectral_bench.bench.run import execute
from spectral_bench.common.errors import ConfigError, DataError, StoreError
from spectral_bench.datasets.reading import read_image
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
    assert [file.name for file in written] == ["mine.png", "mine_overlay.jpg", "legend.csv"]
    mask = Image.open(written[0])
    assert (mask.mode, mask.size) == ("P", (110, 75))
    assert np.array(mask).max() < 4
    assert Image.open(written[1]).size == (110, 75)


def test_the_masks_of_evaluated_images_are_those_that_were_counted(store, finished, data_root, tmp_path):
    images = sorted((data_root / "camvid" / "val").iterdir())
    written = predict(store, finished, images, tmp_path / "out", wanted=Wanted(overlays=False))
    run = store.load_run(finished)
    view = next(iter(run.evaluations))
    stored = store.contingency(finished, view)
    assert len(written) == len(images) + 1
    for index, path in enumerate(written[:-1]):
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


UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_masks_lie_on_images_as_people_see_them(store, finished, tmp_path, suffix):
    """A file with an orientation tag gives what its upright twin without one gives."""
    rng = np.random.default_rng(1)
    blocks = rng.integers(0, 255, (5, 7, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    stored = Image.fromarray(blocks)
    for tag, turn in UPRIGHT.items():
        exif = Image.Exif()
        exif[0x0112] = tag
        stored.save(tmp_path / f"{tag}_stored{suffix}", exif=exif, lossless=True, quality=100, subsampling=0)
        seen = read_image(tmp_path / f"{tag}_stored{suffix}", upright=True)
        Image.fromarray(seen).save(tmp_path / f"{tag}_turned.png")
        np.testing.assert_allclose(seen.astype(int), np.array(stored.transpose(turn)).astype(int), atol=12)
    pairs = [tmp_path / name for tag in UPRIGHT for name in (f"{tag}_stored{suffix}", f"{tag}_turned.png")]
    masks = predict(store, finished, pairs, tmp_path / "out", wanted=Wanted(overlays=False))
    for stored_mask, turned_mask, tag in zip(masks[:-1:2], masks[1:-1:2], UPRIGHT, strict=True):
        assert np.array_equal(np.array(Image.open(stored_mask)), np.array(Image.open(turned_mask))), tag
        assert Image.open(stored_mask).size == ((80, 112) if tag > 4 else (112, 80))
    overlay = predict(store, finished, [tmp_path / f"6_stored{suffix}"], tmp_path / "out")[1]
    assert Image.open(overlay).size == (80, 112)
    assert Image.open(overlay).getexif().get(0x0112) is None


@pytest.mark.parametrize("mode", ["CMYK", "I;16", "F"])
def test_colours_that_a_data_set_refuses_are_refused_by_name(store, finished, tmp_path, mode):
    path = tmp_path / "odd.tif"
    Image.new(mode, (40, 30)).save(path)
    with pytest.raises(DataError, match=rf"odd\.tif: pixels of mode {mode}"):
        predict(store, finished, [path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1"])
def test_colours_that_a_data_set_takes_are_taken(store, finished, tmp_path, mode):
    grey = Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 40), dtype=np.uint8))
    grey.convert(mode).save(tmp_path / "grey.png")
    assert Image.open(predict(store, finished, [tmp_path / "grey.png"], tmp_path / "out")[0]).size == (40, 30)


def test_the_images_are_never_written_over(store, finished, tmp_path):
    path = tmp_path / "photos" / "mine.png"
    path.parent.mkdir()
    Image.new("RGB", (40, 30)).save(path)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="masks would lie among the images"):
        predict(store, finished, [path], tmp_path / "photos")
    twin = tmp_path / "photos" / "b" / "mine.jpg"
    twin.parent.mkdir()
    Image.new("RGB", (40, 30)).save(twin)
    with pytest.raises(DataError, match="has the same stem as"):
        predict(store, finished, [path, twin], tmp_path / "out")
    assert path.read_bytes() == before
    assert not (tmp_path / "out").exists()


def test_a_missing_image_is_told_as_before(store, finished, tmp_path):
    with pytest.raises(DataError, match=r"gone\.png: no such file"):
        predict(store, finished, [tmp_path / "gone.png"], tmp_path / "out")


def test_a_name_that_is_no_text_works(store, finished, tmp_path):
    """Linux holds names of any bytes; Python reads those that are no UTF-8 as lone surrogates."""
    path = tmp_path / os.fsdecode(b"caf\xe9.png")
    Image.new("RGB", (40, 30)).save(path)
    assert [mask.name for mask in predict(store, finished, [path], tmp_path / "out")] == [
        os.fsdecode(b"caf\xe9.png"),
        os.fsdecode(b"caf\xe9_overlay.jpg"),
        "legend.csv",
    ]


def test_an_unfinished_run_predicts_nothing(store, tmp_path):
    with pytest.raises(StoreError, match="kmeans-s0-000000000000"):
        predict(store, "kmeans-s0-000000000000", [], tmp_path)


def test_palettes_tell_clusters_apart():
    colours = palette(64)
    assert len({tuple(colour) for colour in colours.tolist()}) == 64
