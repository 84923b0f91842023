"""Does the interval over images of mIoU hold the value that these fits have on all images?

Draws images of a population whose mIoU is known, as counts of pixels by cluster and class, and makes the interval that
reports give (``report --resamples``: the bootstrap over images, the matching fitted anew in each resample):

    python benchmarks/image_interval_simulation.py [--repeats 500] [--seed 0]

A class is split over clusters, and each image does it in its own way; classes are of unlike size and many are missing
in an image. The truth is mIoU, with the matching fitted, on 20000 images. Prints a Markdown table: how often the
interval holds it, how often it lies wholly above and below, and how far the estimate is off on average. The same seed
gives the same table.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectral_bench.common.seeds import SeedStreams
from spectral_bench.results.contingency import Contingency
from spectral_bench.results.metrics import score
from spectral_bench.results.record import ClassTable
from spectral_bench.results.statistics import bootstrap_miou

CLASSES, PIXELS = 11, 10_000
POPULATION, IMAGES = 20_000, (20, 40, 60)
SETTINGS = ((11, "hungarian_iou"), (64, "iou"), (64, "majority"))  # clusters and matching
RESAMPLES = 300
TABLE = ClassTable(classes=[f"class {index}" for index in range(CLASSES)], raw_ids=[[n] for n in range(CLASSES)])


@dataclass(frozen=True)
class World:
    """How often classes are and how clusters share them: (C,) and (C, K)."""

    sizes: NDArray[np.float64]
    shares: NDArray[np.float64]

    @classmethod
    def draw(cls, generator: np.random.Generator, clusters: int) -> World:
        """Classes whose frequencies span two orders of magnitude, each mostly in a few clusters of its own."""
        sizes = np.logspace(0, -2, CLASSES)
        shares = generator.dirichlet(np.full(clusters, 0.05), size=CLASSES)
        common = generator.dirichlet(np.full(clusters, 1.0))
        return cls(sizes / sizes.sum(), 0.7 * shares + 0.3 * common)

    def images(self, generator: np.random.Generator, count: int) -> NDArray[np.int64]:
        """(count, K, C) pixels."""
        classes = generator.dirichlet(20 * self.sizes + 0.2, size=count)
        alphas = np.maximum(20 * self.shares, 1e-3)
        drawn = generator.gamma(alphas, size=(count, *alphas.shape))
        clusters = drawn / np.maximum(drawn.sum(-1, keepdims=True), 1e-300)
        return np.rint(PIXELS * classes[..., None] * clusters).astype(np.int64).swapaxes(1, 2)


def contingency(counts: NDArray[np.int64]) -> Contingency:
    """Counts (N, K, C) as they are stored."""
    image, cluster, label = (places.astype(np.int32) for places in np.nonzero(counts))
    ids = tuple(map(str, range(len(counts))))
    clusters, classes = counts.shape[1:]
    return Contingency(ids, clusters, classes, image, cluster, label, counts[image, cluster, label])


def trial(world: World, generator: np.random.Generator, images: int, matching: str) -> tuple[float, float, float]:
    """Estimate and interval of a draw of images, in per cent."""
    counts = contingency(world.images(generator, images))
    found = bootstrap_miou([counts], TABLE, matching, resamples=RESAMPLES)
    return 100 * score(counts, TABLE, matching).miou, 100 * found.low, 100 * found.high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repeats", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    sys.stdout.write(
        f"| {arguments.repeats} repeats | images | holds it (%) | above (%) | below (%) | bias (points) |\n"
    )
    sys.stdout.write("|---|---:|---:|---:|---:|---:|\n")
    for clusters, matching in SETTINGS:
        generator = SeedStreams(arguments.seed).numpy("image-interval", clusters)
        world = World.draw(generator, clusters)
        population = world.images(generator, POPULATION).sum(0, keepdims=True)
        truth = 100 * score(contingency(population), TABLE, matching).miou
        for images in IMAGES:
            found = np.array([trial(world, generator, images, matching) for _ in range(arguments.repeats)])
            above, below = 100 * np.mean(found[:, 1] > truth), 100 * np.mean(found[:, 2] < truth)
            bias = np.mean(found[:, 0]) - truth
            name = f"{clusters} clusters, {matching}, truth {truth:.1f}"
            cells = f"{100 - above - below:.1f} | {above:.1f} | {below:.1f} | {bias:+.2f}"
            sys.stdout.write(f"| {name} | {images} | {cells} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
