"""The most similar of 4000 samples for each of many patches: among all of them, and by representatives.

``python benchmarks/nystrom_extension.py`` takes ``nystrom``'s extensions in turn on one thread and prints CPU seconds
for a million patches of 384 channels, medians and ranges, for images of several sizes. A third form looks at 1024
samples alone, as ncut-pytorch does (its plain product and maximum: a bound from below for it).

    python benchmarks/nystrom_extension.py --store STORE --run RUN      (a stored run of nystrom, extension: nearest)

says instead how many patches of all cached images of the store get the same sample and the same cluster.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))

from bench_graph_loss import make_batch

from spectral_bench.bench.features.cache.arrays import FeatureCache
from spectral_bench.bench.features.cache.meta import META_FILE, CacheMeta
from spectral_bench.bench.run.fit import load_fit
from spectral_bench.common.seeds import SeedStreams
from spectral_bench.methods.graphs.blocks import row_blocks
from spectral_bench.methods.nystrom.extension import SampledGraph
from spectral_bench.methods.nystrom.method import Nystrom
from spectral_bench.methods.nystrom.params import CANDIDATES, REPRESENTATIVES
from spectral_bench.methods.nystrom.representatives import Representatives, most_similar
from spectral_bench.results.store import Store

SAMPLES, MILLION, TAKEN = 4000, 1_000_000, 40_000
SIZES = (660, 2304, 5280, TAKEN)  # patches of an image: CamVid, a window of 768 pixels, eight images, many


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def patches() -> tuple[Tensor, Tensor]:
    """4000 sampled unit vectors and 40 000 others, image after image."""
    whole = [make_batch(seed)[0].features[-1].flatten(0, 2) for seed in range(4)]
    rows = torch.nn.functional.normalize(torch.cat(whole), dim=1)
    chosen = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:SAMPLES]
    return rows[chosen].contiguous(), rows[:TAKEN].contiguous()


def cpu_seconds(work: Callable[[], object], repeats: int) -> float:
    begun = time.process_time()
    for _ in range(repeats):
        work()
    return time.process_time() - begun


def times(rounds: int) -> None:
    """The table."""
    sample, rows = patches()
    vectors = torch.randn(SAMPLES, 64, generator=torch.Generator().manual_seed(1))
    graph = SampledGraph(sample, vectors, torch.ones(64), torch.ones(SAMPLES), torch.ones(SAMPLES))
    found = Representatives.of(sample, REPRESENTATIVES, CANDIDATES, SeedStreams(0))
    few = sample[:1024]
    for size in SIZES:
        image = rows[:size]

        def plain(image: Tensor = image) -> Tensor:
            parts = [most_similar(image[part] @ few.T, 1) for part in row_blocks(len(image), len(few), image.device)]
            return vectors[torch.cat(parts)[:, 0]]

        forms: dict[str, Callable[[], object]] = {
            "nearest": partial(graph.nearest, image, 1),
            "representatives": partial(graph.nearest_found, image, 1, found),
            "1024 samples": plain,
        }
        repeats = max(1, TAKEN // 4 // size)
        taken: dict[str, list[float]] = {name: [] for name in forms}
        for turn in range(rounds + 1):
            for name, work in forms.items():
                spent = cpu_seconds(work, repeats) * MILLION / (repeats * size)
                if turn:  # the first warms up
                    taken[name].append(spent)
        words = [f"{name} {statistics.median(t):5.1f} [{min(t):.1f}, {max(t):.1f}]" for name, t in taken.items()]
        share = statistics.median(r / n for r, n in zip(taken["representatives"], taken["nearest"], strict=True))
        say(f"images of {size:6d} patches: {'; '.join(words)}; representatives / nearest {share:.2f}")


def agreement(store: Path, run: str) -> None:
    """How many patches of all cached images of a store are the same by both extensions."""
    exact = load_fit(Store.open(store), run)
    assert isinstance(exact, Nystrom), f"{run} is no run of nystrom"
    state = exact.state_dict()
    search = Representatives.of(state["features"], REPRESENTATIVES, CANDIDATES, SeedStreams(0))
    params = {**exact.params.model_dump(), "extension": "representatives", "representatives": None, "candidates": None}
    fast = Nystrom(type(exact.params)(**params))
    fast.load_state_dict({**state, "representatives": search.directions, "candidates": search.candidates})
    for folder in sorted((store / "features").iterdir()):
        if not folder.is_dir():
            continue
        cache = FeatureCache(folder, CacheMeta.model_validate_json((folder / META_FILE).read_bytes()), reused=True)
        seen = samples = clusters = 0
        for image in range(len(cache.meta.images)):
            batch = cache.batch(image)
            one, other = exact.eigenfunctions(batch), fast.eigenfunctions(batch)
            seen += one[:, 0].numel()
            samples += int((one == other).all(1).sum())
            clusters += int((exact.predict(batch).argmax(1) == fast.predict(batch).argmax(1)).sum())
        say(f"{folder.name}: {seen} patches; same sample {samples / seen:.2%}, same cluster {clusters / seen:.2%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--run")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.store:
        agreement(asked.store, asked.run)
    else:
        times(asked.rounds)
