"""CPU seconds of each part of ``bench cluster`` on a folder of photographs.

python benchmarks/photographs.py FOLDER [METHOD]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path


def main(folder: Path, method: str) -> None:
    spent = time.process_time()

    def told(part: str) -> None:
        nonlocal spent
        now = time.process_time()
        sys.stdout.write(f"{part:40s} {now - spent:6.2f} s\n")
        spent = now

    import torch

    from spectral_bench.bench.features.backbones import complete_options, load_backbone
    from spectral_bench.bench.predict.choices import clustering_params
    from spectral_bench.bench.predict.cluster import cluster_files
    from spectral_bench.bench.predict.files import find_images
    from spectral_bench.methods.registry import load_method
    from spectral_bench.results.specification import BackboneSpec

    load_method(method)
    told("imports")
    cpu, name = torch.device("cpu"), "efficientnet_lite0"
    backbone = BackboneSpec(name=name, options=complete_options(name, {}))
    load_backbone(name, backbone.options, cpu)
    told("weights")
    files = find_images([folder])
    params = clustering_params(method, {}, len(files))

    def seen(done: int, total: int) -> None:
        if done == total:
            told(f"features of {total} photographs")

    found = cluster_files(files, method, params, backbone, device=cpu, progress=seen)
    told("fit and scores")
    with tempfile.TemporaryDirectory() as place:
        found.save(Path(place) / "masks")
    told("masks, overlays, contact sheet, legend")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "deep_spectral")
