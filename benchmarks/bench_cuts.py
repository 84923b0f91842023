"""CPU time of an image of ``deep_spectral`` by each ``cut``: 900 patches, one thread, median and range over images.

    python benchmarks/bench_cuts.py                          (images of the synthetic data set)
    python benchmarks/bench_cuts.py --dataset camvid --data-root DIR

An image goes from its features to its scores (affinity, segments, descriptors, nearest centres). Rows take turns image
by image, so that what else the machine does falls on all of them. Beside the time: segments and normalised cut. Last
come pixel graphs by themselves, of 1, 2 x 2 and 4 x 4 colour samples a patch, which are found once an image.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spectral_bench.bench.features.views import fresh_features
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.datasets.registry import open_data
from spectral_bench.methods.deep_spectral.method import DeepSpectral
from spectral_bench.methods.deep_spectral.params import DeepSpectralParams
from spectral_bench.methods.graphs.batch import image_graph
from spectral_bench.methods.graphs.options import GraphOptions, PixelVariant
from spectral_bench.methods.graphs.pixel_memory import MEMORY
from spectral_bench.methods.inputs import only_features
from spectral_bench.methods.interface import PatchBatch
from spectral_bench.methods.params import PLAIN, Colours
from spectral_bench.results.specification import BackboneSpec, Resize, View

SIDE = 480  # pixels: 30 x 30 patches of the default backbone
ROWS: dict[str, dict[str, Any]] = {
    "recursive": {"cut": "recursive"},
    "kway": {"cut": "kway"},
    "eigenvectors, the cuts' graph": {"affinity_power": 10, "similarity": "rescaled", "colour_weight": 0},
    "eigenvectors, default graph": {},
}


GRIDS = (1, 2, 4)


def batches(dataset: str, roots: tuple[Path, ...], count: int, colours: Colours = PLAIN) -> list[PatchBatch]:
    """The first images of the validation split, through the default backbone."""
    data = open_data(dataset, DataRoots(roots))
    images = data.images("val")
    view = View(dataset=dataset, split="val", resize=Resize(mode="exact", size=(SIDE, SIDE)))
    backbone = BackboneSpec(name="efficientnet_lite0")
    options: dict[str, Any] = {"folder": Path(), "device": torch.device("cpu"), "workers": 0, "colours": colours}
    found = fresh_features(view, backbone, images=images, ids=tuple(images.ids)[:count], **options)
    return [only_features(item.patches) for item in found]


def method(params: dict[str, Any], width: int) -> DeepSpectral:
    """A method whose 64 centres are drawn: an image takes as long by any."""
    found, nothing = DeepSpectral(DeepSpectralParams(**params)), torch.empty(0)
    centres = torch.randn(64, width, generator=torch.Generator().manual_seed(0))
    found.load_state_dict({"centres": centres, "mean": nothing, "scale": nothing, "seed": torch.tensor(0)})
    return found


def pixel_graphs(dataset: str, roots: tuple[Path, ...], count: int) -> None:
    """Print the time of each pixel graph of an image, and how many others a patch is joined to."""
    for grid in GRIDS:
        options, spent, degrees = GraphOptions(pixels=PixelVariant(grid=grid)), [], []
        for image in batches(dataset, roots, count, Colours(samples=grid)):
            MEMORY.clear()
            before = time.process_time()
            graph = image_graph(image, options)
            spent.append(1e3 * (time.process_time() - before))
            degrees.append(graph.values().numel() / len(graph))
        sys.stdout.write(
            f"pixel graph, pixel_grid {grid:10d} {np.median(spent):6.1f} ms ({min(spent):.1f} to {max(spent):.1f}), "
            f"{np.mean(degrees):.1f} others a patch\n"
        )


def main() -> None:
    """Print a row for each cut."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="synthetic")
    parser.add_argument("--data-root", type=Path, action="append", default=[])
    parser.add_argument("--images", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    seen = batches(options.dataset, tuple(options.data_root), options.images)
    methods = {name: method(params, seen[0].features[-1].shape[-1]) for name, params in ROWS.items()}
    spent: dict[str, list[float]] = {name: [] for name in ROWS}
    for one in methods.values():
        one.predict(seen[0])  # libraries are loaded, pools looked for
    for image in seen:
        for name, one in methods.items():
            before = time.process_time()
            one.predict(image)
            spent[name].append(1e3 * (time.process_time() - before))
    sys.stdout.write(f"{len(seen)} images of {options.dataset}, {seen[0].grid[0] * seen[0].grid[1]} patches each\n")
    for name, one in methods.items():
        cuts = [(len(found.descriptors), found.value) for found in one._segment(seen, certified=True)]
        segments, value = np.mean(cuts, axis=0)
        times = np.array(spent[name])
        sys.stdout.write(
            f"{name:30s} {np.median(times):6.1f} ms ({times.min():.1f} to {times.max():.1f}), "
            f"{segments:.1f} segments, normalised cut {value:.2f}\n"
        )
    pixel_graphs(options.dataset, tuple(options.data_root), options.images)


if __name__ == "__main__":
    main()
