"""The data of a trial of the label firewall: images of blocks, and labels that are kept, permuted or left out."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

IMAGES, GRID, PATCH = 8, (6, 7), 16
TRAINED, EVALUATED = "train", "val"

Labels = Literal["kept", "permuted", "removed"]


@dataclass(frozen=True)
class Fate:
    """What becomes of the labels on disk: those of the training split, and those of the evaluated one."""

    trained: Labels = "kept"
    evaluated: Labels = "kept"


def write_tree(root: Path, classes: int, fate: Fate = Fate()) -> Path:
    """Write images of blocks in the colours of their classes, and their labels; returns the data set's description.

    Images do not depend on the labels' fate: those that are there stay as they are, and labels that are there go.

    Args:
        root: the data root; the tree is its folder ``camvid``, laid out as that data set is.
        classes: C, at least 1; the labels are 0 to C - 1.
        fate: as labels belong to the images, those of other patches of the image, or left out.
    """
    folder = root / "camvid"
    colours = np.random.default_rng(0).integers(0, 196, (classes, 3))
    for seed, (split, labels) in enumerate(((TRAINED, fate.trained), (EVALUATED, fate.evaluated))):
        _write_split(folder, split, colours, labels, seed)
    content = {
        "title": "blocks",
        "splits": {split: {"images": split, "labels": f"{split}annot"} for split in (TRAINED, EVALUATED)},
        "classes": [{"name": f"class {index}", "ids": [index]} for index in range(classes)],
    }
    path = folder / "description.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def _write_split(folder: Path, split: str, colours: NDArray[Any], labels: Labels, seed: int) -> None:
    rng, shuffle = np.random.default_rng([1, seed]), np.random.default_rng([2, seed])
    kind = np.uint16 if len(colours) > 256 else np.uint8
    shutil.rmtree(folder / f"{split}annot", ignore_errors=True)
    for index in range(IMAGES):
        truth = np.kron(rng.integers(0, len(colours), GRID), np.ones((PATCH, PATCH), np.int64))
        noise = rng.integers(0, 60, (*truth.shape, 3))
        if not (path := folder / split / f"{split}{index}.png").exists():
            _write(path, (colours[truth] + noise).astype(np.uint8))
        if labels == "permuted":
            truth = np.kron(shuffle.permutation(truth[::PATCH, ::PATCH].ravel()).reshape(GRID), np.ones((PATCH, PATCH)))
        if labels != "removed":
            _write(folder / f"{split}annot" / f"{split}{index}.png", truth.astype(kind))


def _write(path: Path, array: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
