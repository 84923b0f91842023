"""Files of features as other programs write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from spectral_bench.bench.features.files import find
from spectral_bench.results.specification import (
    BackboneSpec,
    Features,
)

VIT = BackboneSpec(name="test_vit", options={"weights": "random", "seed": 1}, weights="random-1")
CHANNELS = (64, 64, 64)
SIZES = {"a": (48, 64), "b": (70, 33), "c": (41, 90)}
LEVELS = ("low", "mid", "high")


def no_backbone():
    raise AssertionError("the backbone is not needed")


def write(folder: Path, image_id: str, levels, form: str) -> None:
    """The features of one image: (h, w, C) tensors."""
    folder.mkdir(parents=True, exist_ok=True)
    if form.startswith("npy"):
        for name, level in zip(LEVELS, levels, strict=True):
            (folder / name).mkdir(exist_ok=True)
            array = level.numpy().astype(">f2" if form == "npy big-endian" else "f2")
            np.save(folder / name / f"{image_id}.npy", np.asfortranarray(array) if form == "npy fortran" else array)
    elif form == "pt":
        torch.save([level.half() for level in levels], folder / f"{image_id}.pt")
    elif form == "old pt":
        named = {name: level.half() for name, level in zip(LEVELS, levels, strict=True)}
        torch.save(named, folder / f"{image_id}.pt", _use_new_zipfile_serialization=False)
    else:
        turned = (level.half().permute(2, 0, 1).contiguous() for level in levels)
        save_file(dict(zip(LEVELS, turned, strict=True)), folder / f"{image_id}.safetensors")


FORMS = {
    "npy": {"levels": LEVELS},
    "npy fortran": {"levels": LEVELS},
    "npy big-endian": {"levels": LEVELS},
    "pt": {},
    "old pt": {"levels": LEVELS},
    "safetensors": {"levels": LEVELS, "order": "chw"},
}


def stored(features: Features, **size) -> BackboneSpec:
    files = find(features, "fake", "train")
    return BackboneSpec(name="files:mine", options={"channels": list(CHANNELS), **size}, weights=files.digest())


def tensors(batch):
    return (*batch.features, batch.pixels)


def same(one, other) -> bool:
    pairs = zip(tensors(one), tensors(other), strict=True)
    return one.image_ids == other.image_ids and one.crops == other.crops and all(torch.equal(a, b) for a, b in pairs)
