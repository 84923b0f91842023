"""Small trees in the layout, the formats and the pixel types of the originals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.io
from numpy.typing import NDArray
from PIL import Image

from spectral_bench.datasets.cityscapes import CITIES

SIZE = (48, 64)


def photo(path: Path, seed: int = 0, mode: str = "RGB") -> Path:
    """An image of coloured blocks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    pixels = np.kron(blocks, np.ones((SIZE[0] // 6, SIZE[1] // 8, 1), np.uint8))
    Image.fromarray(pixels).convert(mode).save(path)
    return path


def labels(path: Path, values: NDArray[np.generic]) -> Path:
    """A label PNG, 8 bits grey-scale."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)
    return path


def random_ids(seed: int, highest: int, size: tuple[int, int] = SIZE) -> NDArray[np.int64]:
    blocks = np.random.default_rng(seed).integers(0, highest + 1, (size[0] // 8, size[1] // 8))
    return np.kron(blocks, np.ones((8, 8), np.int64))


def cityscapes(root: Path) -> Path:
    """All 21 cities with one image each; returns the data set's folder."""
    for split, cities in CITIES.items():
        for seed, city in enumerate(cities):
            stem = f"{city}_000000_000019"
            photo(root / "cityscapes/leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", seed)
            path = root / "cityscapes/gtFine" / split / city / f"{stem}_gtFine_labelIds.png"
            labels(path, random_ids(seed, 33))
    return root / "cityscapes"


def pascal_context(root: Path, n: int = 6) -> Path:
    """VOC2010 with ``n`` images a split, their original .mat labels and the lists; returns the VOC2010 folder."""
    voc = root / "VOCdevkit/VOC2010"
    for number, split in enumerate(("train", "val")):
        stems = [f"2008_{number:02}{index:04}" for index in range(n)]
        for seed, stem in enumerate(stems):
            photo(voc / "JPEGImages" / f"{stem}.jpg", seed)
            label_map(voc / "trainval" / f"{stem}.mat", random_ids(seed, 459))
        (voc / "ImageSets/Main").mkdir(parents=True, exist_ok=True)
        (voc / "ImageSets/Main" / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems))
    return voc


def label_map(path: Path, values: NDArray[np.generic], variable: str = "LabelMap") -> Path:
    """A MATLAB file as the owners of Pascal Context ship them: 16 bits, compressed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, {variable: values.astype(np.uint16)}, do_compression=True)
    return path


def ade20k(root: Path, n: int = 3) -> Path:
    """ADEChallengeData2016 with ``n`` images a split; returns the data set's folder."""
    base = root / "ADEChallengeData2016"
    for split, short in (("training", "train"), ("validation", "val")):
        for index in range(n):
            stem = f"ADE_{short}_{index + 1:08}"
            photo(base / "images" / split / f"{stem}.jpg", index)
            labels(base / "annotations" / split / f"{stem}.png", random_ids(index, 150))
    return base


def imagenet(root: Path, n: int = 4) -> Path:
    """``n`` training images in two synsets, one of them grey-scale; returns the data set's folder."""
    for index in range(n):
        synset = ("n01440764", "n02105855")[index % 2]
        photo(root / f"imagenet/train/{synset}/{synset}_{index}.JPEG", index, "L" if index == 1 else "RGB")
    return root / "imagenet"


def folder(root: Path) -> Path:
    """A user's own data: two validation images of two classes; returns the YAML file that describes them."""
    for seed, stem in enumerate("ab"):
        photo(root / "mine/images" / f"{stem}.jpg", seed)
        labels(root / "mine/masks" / f"{stem}.png", np.where(random_ids(seed, 1) > 0, 7, 3))
    path = root / "mine/mine.yaml"
    path.write_text(
        "title: Mine\nsplits: {val: {images: images, labels: masks}}\n"
        "classes: [{name: a, ids: [3]}, {name: b, ids: [7]}]\nignore: [255]\n"
    )
    return path


def coco_stuff(root: Path, n: int = 3) -> Path:
    """``n`` images a part, all of them in both curated lists; returns the data set's folder."""
    base = root / "cocostuff"
    for number, part in enumerate(("train2017", "val2017")):
        stems = [f"{number}{index:011}" for index in range(n)]
        for seed, stem in enumerate(stems):
            photo(base / "images" / part / f"{stem}.jpg", seed)
            ids = random_ids(seed, 182)
            labels(base / "annotations" / part / f"{stem}.png", np.where(ids == 182, 255, ids))
        (base / "curated" / part).mkdir(parents=True)
        for name in ("Coco164kFull_Stuff_Coarse.txt", "Coco164kFull_Stuff_Coarse_7.txt"):
            (base / "curated" / part / name).write_text("".join(f"{stem}\n" for stem in stems))
    return base


def pascal_voc(root: Path, n: int = 3) -> Path:
    """VOC2012 with ``n`` images a split; returns the VOC2012 folder."""
    voc = root / "VOCdevkit/VOC2012"
    (voc / "ImageSets/Segmentation").mkdir(parents=True)
    for number, split in enumerate(("train", "val")):
        stems = [f"2007_{number:02}{index:04}" for index in range(n)]
        for seed, stem in enumerate(stems):
            photo(voc / "JPEGImages" / f"{stem}.jpg", seed)
            ids = random_ids(seed, 21)
            labels(voc / "SegmentationClass" / f"{stem}.png", np.where(ids == 21, 255, ids))
        (voc / "ImageSets/Segmentation" / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems))
    return voc


def potsdam3(root: Path, n: int = 3) -> Path:
    """``n`` images a list, as potsdam_prepare.py writes them; returns the data set's folder."""
    base = root / "potsdam"
    (base / "imgs").mkdir(parents=True)
    (base / "gt").mkdir()
    for number, split in enumerate(("unlabelled_train", "labelled_train", "labelled_test")):
        names = [str(number * n + index) for index in range(n)]
        for name in names:
            pixels = np.random.default_rng(int(name)).integers(0, 256, (10, 10, 4), dtype=np.uint8)
            scipy.io.savemat(base / f"imgs/{name}.mat", {"img": np.kron(pixels, np.ones((20, 20, 1), np.uint8))})
            if number:
                ids = np.kron(np.random.default_rng(int(name)).integers(0, 6, (10, 10)), np.ones((20, 20)))
                scipy.io.savemat(base / f"gt/{name}.mat", {"gt": ids.astype(np.int32)})
        (base / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
    return base
