"""Files of features that are not as they should be: one clear line each, from headers; and what identities hold."""

from __future__ import annotations

import io
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from spectral_bench.bench.features import open_training_source
from spectral_bench.bench.features.backbones import load_backbone
from spectral_bench.bench.features.files import find
from spectral_bench.bench.features.from_files import check
from spectral_bench.common.errors import ConfigError, DataError, RunInterrupted
from spectral_bench.results.specification import (
    BackboneSpec,
    Features,
    FitSpec,
    Resize,
    TrainingData,
    View,
    identity_form,
)


def good(folder: Path, n: int = 4) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for index in range(n):
        np.save(folder / f"image{index}.npy", np.full((3, 4, 2), index, "f4"))


def npy(array, **settings) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **settings)
    return stream.getvalue()


def pt(value, **settings) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, **settings)
    return stream.getvalue()


def npz(array) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, a=array)
    return stream.getvalue()


FINE = np.zeros((3, 4, 2), "f4")
TENSOR = torch.zeros(3, 4, 2)
BAD = {
    "rank 2": ("npy", npy(FINE[0]), r"shape \(4, 2\); expected \(h, w, C\)"),
    "rank 4": ("npy", npy(FINE[None]), r"shape \(1, 3, 4, 2\); expected \(h, w, C\)"),
    "empty": ("npy", npy(FINE[:0]), "cannot be read as npy|at least one of each"),
    "integers": ("npy", npy(FINE.astype("i8")), "numbers of int64; expected float16, bfloat16, float32, float64"),
    "complex": ("npy", npy(FINE.astype("c8")), "numbers of complex64; expected float16"),
    "truth": ("npy", npy(FINE.astype(bool)), "numbers of bool; expected float16"),
    "fields": ("npy", npy(np.zeros((3, 4, 2), [("a", "f4")])), "expected float16"),
    "objects": ("npy", npy(FINE.astype(object), allow_pickle=True), "Python objects, which are not loaded"),
    "half": ("npy", npy(FINE)[:-20], "cannot be read as npy: it is damaged, cut off"),
    "half a header": ("npy", npy(FINE)[:30], "cannot be read as npy: it is damaged, cut off"),
    "nothing": ("npy", b"", "cannot be read as npy: it is damaged, cut off"),
    "garbage": ("npy", b"no array" * 99, "cannot be read as npy"),
    "pickle": ("npy", pickle.dumps([1]), "cannot be read as npy"),
    "archive": ("npy", npz(FINE), r"is an archive of arrays \(npz\); expected one array"),
    "other channels": ("npy", npy(np.zeros((3, 4, 5), "f4")), "5 channels, expected 2 channels as in the other files"),
    "other grid": ("npy", npy(np.zeros((3, 5, 2), "f4")), "image0.npy has 3 x 4 patches; training batches need one"),
    "more levels": ("pt", pt([TENSOR, TENSOR]), "2, 2 channels at 2 levels, expected 2 channels as in the other"),
    "uneven levels": ("pt", pt([TENSOR, TENSOR[:2]]), "level 1: 2 x 4 patches, and the first level has 3 x 4"),
    "half pt": ("pt", pt(TENSOR)[:-100], "cannot be read as pt: it is damaged, cut off"),
    "half old pt": ("pt", pt(TENSOR, _use_new_zipfile_serialization=False)[:-40], "cannot be read as pt"),
    "code": ("pt", pickle.dumps({"a": print}), r"Python objects, which are not loaded \(Weights only load failed\)"),
    "no tensors": ("pt", pt([]), "holds no array"),
    "no names": ("pt", pt({}), "holds no array"),
    "no tensor": ("pt", pt({"a": 5}), "holds a int that is no dense tensor; expected one, a list of them"),
    "sparse": ("pt", pt(TENSOR.to_sparse()), "is no dense tensor"),
    "names": ("pt", pt({"x": TENSOR, "y": TENSOR}), r"holds 2 arrays, x, y; name those .* by levels: \[\.\.\.\]"),
    "integers, safetensors": ("safetensors", save({"x": TENSOR.int()}), "numbers of I32; expected float16"),
    "half safetensors": ("safetensors", save({"x": TENSOR})[:-5], "cannot be read as safetensors: it is damaged"),
    "half a header, safetensors": ("safetensors", save({"x": TENSOR})[:12], "cannot be read as safetensors"),
    "no array": ("safetensors", save({}), "holds no array"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_with_a_file_is_told_by_its_header(case, make_images, tmp_path):
    suffix, content, message = BAD[case]
    images = make_images(4)
    good(tmp_path / "f")
    (tmp_path / "f" / "image2.npy").unlink()
    (tmp_path / "f" / f"image2.{suffix}").write_bytes(content)
    files = find(Features(mode="files", root=str(tmp_path / "f")), "fake", "train")
    with pytest.raises(DataError, match=message) as raised:
        check(files, TrainingData(dataset="fake"), images, images.ids, (2,))
    assert f"image2.{suffix}" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not images.reads  # headers were enough


def test_any_float_will_do(make_images, tmp_path):
    good(tmp_path / "f")
    (tmp_path / "f" / "image0.npy").write_bytes(npy(FINE.astype(">f8")))
    for index, tensor in ((1, TENSOR.bfloat16()), (2, TENSOR.requires_grad_())):
        (tmp_path / "f" / f"image{index}.npy").unlink()
        torch.save(tensor, tmp_path / "f" / f"image{index}.pt")
    files = find(Features(mode="files", root=str(tmp_path / "f")), "fake", "train")
    check(files, TrainingData(dataset="fake"), make_images(4), ("image0", "image1", "image2", "image3"), (2,))
    for image_id in files.files:
        (level,) = files.levels(image_id)
        assert (level.dtype, tuple(level.shape), level.requires_grad) == (torch.float32, (3, 4, 2), False)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_numbers_that_are_not_finite_are_told_when_they_are_read(value, tmp_path):
    good(tmp_path / "f")
    array = np.zeros((3, 4, 2))
    array[1, 2, 0] = value
    np.save(tmp_path / "f" / "image1.npy", array)
    files = find(Features(mode="files", root=str(tmp_path / "f")), "fake", "train")
    with pytest.raises(DataError, match=r"image1\.npy: holds NaN, or numbers that are not finite in float32"):
        files.levels("image1")


def test_images_without_features_are_counted(make_images, tmp_path):
    good(tmp_path / "f", 3)
    (tmp_path / "f" / "image1.npy").rename(tmp_path / "f" / "imag1.npy")
    files = find(Features(mode="files", root=str(tmp_path / "f")), "fake", "train")
    images = make_images(5)
    message = r"no features of image1, image3, image4: 3 of the 5 images of fake train have none; .*mean \"imag1\"\?"
    with pytest.raises(DataError, match=message):
        check(files, TrainingData(dataset="fake"), images, images.ids, (2,))


def test_two_files_of_an_image(tmp_path):
    good(tmp_path / "f")
    torch.save(TENSOR, tmp_path / "f" / "image1.pt")
    with pytest.raises(DataError, match=r"image1\.pt: has the same stem as .*image1\.npy|image1\.npy: has the same"):
        find(Features(mode="files", root=str(tmp_path / "f")), "fake", "train")


def test_folders_that_hold_no_features(tmp_path):
    features = Features(mode="files", root=str(tmp_path / "{dataset}" / "{split}"))
    with pytest.raises(DataError, match="no such folder"):
        find(features, "fake", "train")
    (tmp_path / "leaves" / "val").mkdir(parents=True)
    with pytest.raises(DataError, match=r"leaves/val: holds no features; expected a file an image, ID\.npy, ID\.pt"):
        find(features, "folder:/somewhere/leaves.yaml", "val")


def test_levels_in_folders_are_of_the_same_images(tmp_path):
    good(tmp_path / "f")
    for level in ("low", "high"):
        shutil.copytree(tmp_path / "f", tmp_path / "g" / level)
    (tmp_path / "g" / "high" / "image2.npy").unlink()
    with pytest.raises(DataError, match=r"g/high: not the images of .*g/low: image2 in one of them alone"):
        find(Features(mode="files", root=str(tmp_path / "g"), levels=("low", "high")), "fake", "train")


def test_a_stride_tells_which_grid_an_image_has(make_images, tmp_path):
    images = make_images(4, (33, 50))
    good(tmp_path / "f")
    view = View(dataset="fake", split="val")
    files = find(Features(mode="files", root=str(tmp_path / "f"), stride=16), "fake", "val")
    check(files, view, images, images.ids, (2,))
    with pytest.raises(DataError, match=r"image0\.npy: 3 x 4 patches; expected 2 x 2 patches of 16 pixels \(stride\)"):
        check(files, view.model_copy(update={"resize": Resize(mode="exact", size=(32, 32))}), images, images.ids, (2,))
    turned = find(Features(mode="files", root=str(tmp_path / "f"), stride=16, order="chw"), "fake", "val")
    np.save(tmp_path / "f" / "image0.npy", np.zeros((3, 4, 3), "f4"))
    with pytest.raises(DataError, match=r"is order: hwc meant\?"):
        check(turned, view, images, images.ids, (3,))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_that_may_not_be_read(tmp_path):
    good(tmp_path / "f")
    (tmp_path / "f" / "image1.npy").chmod(0)
    files = find(Features(mode="files", root=str(tmp_path / "f")), "fake", "train")
    with pytest.raises(DataError, match=r"image1\.npy"):
        files.shape("image1")


def test_other_files_than_those_of_the_plan_are_refused(make_images, how, tmp_path):
    images = make_images(4)
    good(tmp_path / "f")
    features = Features(mode="files", root=str(tmp_path / "f"))
    backbone = BackboneSpec(name="files:mine", options={"channels": [2], "grid": [3, 4]}, weights="0123456789abcdef")
    spec = FitSpec(data=TrainingData(dataset="fake"), features=features, backbone=backbone, method="kmeans")
    with pytest.raises(DataError, match=r"with features of digest 0123456789abcdef, and [0-9a-f]{16} lie there"):
        open_training_source(spec, images=images, ids=images.ids, **how)
    right = find(features, "fake", "train").digest()
    spec = spec.model_copy(update={"backbone": backbone.model_copy(update={"weights": right})})
    with pytest.raises(RunInterrupted):
        open_training_source(spec, images=images, ids=images.ids, **{**how, "should_stop": lambda: True})
    source = open_training_source(spec, images=images, ids=images.ids, **how)
    np.save(tmp_path / "f" / "image3.npy", np.zeros((2, 4, 2), "f4"))
    with pytest.raises(DataError, match="the features of image3 changed while they were used"):
        list(source.images())


def test_nothing_makes_features_of_other_images():
    with pytest.raises(ConfigError, match="mine: its features were computed elsewhere and lie in files"):
        load_backbone("files:mine", {"channels": [2], "grid": [3, 4]}, "cpu")


# Identity: content, not places.


def test_identity_is_content_and_order_and_no_path(tmp_path):
    good(tmp_path / "f")
    shutil.copytree(tmp_path / "f", tmp_path / "g")

    def fit(folder, **settings):
        features = Features(mode="files", root=str(tmp_path / folder), **settings)
        backbone = BackboneSpec(
            name="files:mine",
            options={"channels": [2], "grid": [3, 4]},
            weights=find(features, "fake", "train").digest(),
        )
        return FitSpec(data=TrainingData(dataset="fake"), features=features, backbone=backbone, method="kmeans")

    first = fit("f")
    assert fit("g").run_id == first.run_id
    assert str(tmp_path) not in str(identity_form(first.model_dump(mode="json")))
    assert fit("f", order="hwc").run_id == first.run_id  # the default
    assert fit("f", order="chw").run_id != first.run_id
    np.save(tmp_path / "g" / "image0.npy", np.full((3, 4, 2), 7, "f4"))
    assert fit("g").run_id != first.run_id


def test_identities_of_other_runs_are_what_they_were():
    assert Features().model_dump(mode="json") == {"mode": "cache", "views": 1, "dtype": "float16"}
    assert "features" not in View(dataset="fake", split="val").model_dump(mode="json")
    told = View(dataset="fake", split="val", features="0123")
    assert told.view_id != View(dataset="fake", split="val").view_id == told.look_id


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "files"}, "mode files needs root"),
        ({"root": "f"}, "root is for mode files alone"),
        ({"mode": "online", "order": "chw"}, "order is for mode files alone"),
        ({"mode": "files", "root": "f", "levels": ("a", "a")}, "levels: expected each name once"),
    ],
)
def test_settings_that_contradict_each_other(settings, message):
    with pytest.raises(ValueError, match=message):
        Features(**settings)


@pytest.mark.parametrize(("order", "shape"), [("hwc", (40, 4, 5)), ("chw", (4, 5, 40))])
def test_axes_in_the_other_order_are_told_without_a_stride(order, shape, make_images, tmp_path):
    """Nobody makes patches that are many times as long as broad, where the other order has square ones."""
    for index in range(2):
        np.save(tmp_path / f"image{index}.npy", np.zeros(shape, "f4"))
    files = find(Features(mode="files", root=str(tmp_path), order=order), "leaves", "val")
    other, channels = ("chw", shape[2:]) if order == "hwc" else ("hwc", shape[:1])
    ids = ("image0",)
    with pytest.raises(DataError, match=rf"image0\.npy: .* for an image of 64 x 80; is order: {other} meant\?"):
        files.check(ids, ids, channels, lambda _: (64, 80), one_grid=True, name="")


def test_ids_with_folders_have_their_files_in_such(tmp_path):
    (tmp_path / "bonn").mkdir()
    np.save(tmp_path / "bonn" / "001.npy", np.zeros((2, 3, 4), "f4"))
    files = find(Features(mode="files", root=str(tmp_path)), "leaves", "val")
    assert files.shape("bonn/001").grid == (2, 3)


def test_a_file_that_is_meant_for_another_image_is_not_suggested(tmp_path):
    np.save(tmp_path / "image1.npy", np.zeros((2, 3, 4), "f4"))
    np.save(tmp_path / "image3.npy", np.zeros((2, 3, 4), "f4"))
    files = find(Features(mode="files", root=str(tmp_path)), "leaves", "val")
    known = "image1", "image2", "image3"
    with pytest.raises(DataError) as error:
        files.check(known[:2], known, (4,), lambda _: (2, 3), one_grid=False, name="")
    assert "no features of image2" in str(error.value)
    assert "did you mean" not in str(error.value)


def test_patches_may_be_long_where_images_are(tmp_path):
    np.save(tmp_path / "image0.npy", np.zeros((40, 4, 5), "f4"))
    files = find(Features(mode="files", root=str(tmp_path)), "leaves", "val")
    files.check(("image0",), ("image0",), (5,), lambda _: (640, 64), one_grid=True, name="")
