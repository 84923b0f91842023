"""Is the graph of ``published: true`` that of the released code? Angles between the spaces of 14 eigenvectors.

    python benchmarks/exactness_deep_spectral.py --data-root DIR --every 10      (DIR holds camvid/)

The reference is computed anew in float64: neighbours by the k-d tree that the released code asks, where pymatting is
installed, and else by scipy's, which breaks ties in its own way; the affinity as a dense sum; a dense decomposition.
Columns: published: true in float32 and in float64, the default graph on antialiased colours, the default.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import subspace_angles
from scipy.spatial import KDTree

from spectral_bench.bench.features.views import fresh_features
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.datasets.registry import open_data
from spectral_bench.methods.deep_spectral.decompose import Decomposer
from spectral_bench.methods.deep_spectral.params import DeepSpectralParams
from spectral_bench.methods.inputs import Standardiser
from spectral_bench.methods.interface import PatchBatch
from spectral_bench.methods.params import Colours
from spectral_bench.results.specification import BackboneSpec, Resize, View

VECTORS = 14
Neighbours = Callable[[NDArray[np.float32], int], NDArray[np.int64]]


def of_scipy(points: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """(n, k) nearest points of each, itself among them."""
    return np.asarray(KDTree(points).query(points, k)[1])


def released_neighbours() -> tuple[str, Neighbours]:
    """Whose tree is asked, and the tree."""
    try:
        from pymatting.util.kdtree import knn
    except ImportError:
        return "scipy", of_scipy
    return "pymatting", lambda points, k: knn(points, points, k)[1]


def released_space(image: PatchBatch, neighbours: Neighbours) -> NDArray[np.float64]:
    """(n, 14) the smallest eigenvectors of the released graph but the constant one."""
    assert image.antialiased is not None
    colours = image.antialiased[0].numpy()
    height, width = colours.shape[:2]
    features = image.features[-1][0].double().flatten(0, 1).numpy()
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    affinity = np.maximum(unit @ unit.T, 0)
    x, y = np.tile(np.linspace(0, 1, width), height), np.repeat(np.linspace(0, 1, height), width)
    for k, weight in ((20, 2.0), (10, 0.1)):
        points = np.column_stack([colours.reshape(-1, 3), weight * x, weight * y]).astype(np.float32)
        reached = neighbours(points, k).ravel()
        left = np.repeat(np.arange(len(points)), k)
        np.add.at(affinity, (left, reached), 10)
        np.add.at(affinity, (reached, left), 10)
    root = np.sqrt(affinity.sum(1))
    vectors = np.linalg.eigh(affinity / np.outer(root, root))[1]
    return vectors[:, -1 - VECTORS : -1] / root[:, None]


def angle(image: PatchBatch, reference: NDArray[np.float64], **params: Any) -> float:
    """The largest principal angle in degrees between a method's eigenvectors and the reference's."""
    decomposer = Decomposer(DeepSpectralParams(eigenvectors=VECTORS, **params), Standardiser.nothing())
    (found,) = decomposer.eigenpairs([image])
    assert found is not None
    return float(np.degrees(subspace_angles(found.vectors.double().numpy(), reference).max()))


def angles(image: PatchBatch, neighbours: Neighbours) -> tuple[float, ...]:
    """The four columns of one image."""
    reference = released_space(image, neighbours)
    assert image.antialiased is not None
    smooth = replace(image, pixels=image.antialiased)
    return (
        angle(image, reference, published=True),
        angle(image, reference, published=True, dtype="float64"),
        angle(smooth, reference),
        angle(image, reference),
    )


def images_of(dataset: str, roots: tuple[Path, ...], every: int) -> Iterator[PatchBatch]:
    """Every so many images of the validation split at the data set's evaluation size."""
    data = open_data(dataset, DataRoots(roots))
    size = data.info.evaluation_size
    resize = Resize() if size is None else Resize(mode="exact", size=size)
    images = data.images("val")
    features = fresh_features(
        View(dataset=dataset, split="val", resize=resize),
        BackboneSpec(name="efficientnet_lite0"),
        images=images,
        ids=tuple(images.ids)[::every],
        folder=Path(),
        device=torch.device("cpu"),
        workers=0,
        colours=Colours(antialiased=True),
    )
    for item in features:
        yield item.patches


def say(*words: object) -> None:
    """One line on the terminal, at once."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Print the angles of each image, then their medians and maxima."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="camvid")
    parser.add_argument("--data-root", type=Path, action="append", default=[])
    parser.add_argument("--every", type=int, default=10, help="look at every so many images")
    options = parser.parse_args()
    tree, neighbours = released_neighbours()
    say(f"degrees from the released graph, neighbours by {tree}: float32, float64, antialiased default, default")
    rows = []
    for image in images_of(options.dataset, tuple(options.data_root), options.every):
        rows.append(angles(image, neighbours))
        say(image.image_ids[0], *(f"{value:9.4f}" for value in rows[-1]))
    say("median", *(f"{value:9.4f}" for value in np.median(rows, axis=0)))
    say("largest", *(f"{value:9.4f}" for value in np.max(rows, axis=0)))


if __name__ == "__main__":
    main()
