"""Graph and loss, forward and backward, of batches of several sizes: the package's time as a part of the dense form's.

``python benchmarks/graph_sizes.py --threads 1`` takes the forms in turn in one process and prints, a size a line, the
median ratio and its range: of a step whose images come up for the first time, and of one whose pixel graphs are known,
as in every epoch but the first. Times are of the CPU for one thread, else of the wall clock.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))

from bench_graph_loss import dense_step, make_batch, sparse_step

from spectral_bench.methods.graphs.pixel_memory import MEMORY

SIZES = (  # images, grid, neighbours, functions
    (3, (16, 16), 64, 64),
    (6, (16, 16), 256, 64),
    (4, (22, 30), 256, 64),
    (8, (22, 30), 256, 64),
    (8, (22, 30), 256, 256),
    (16, (30, 30), 256, 256),
)


def seconds(work: Callable[[], object], threads: int) -> float:
    """What one call takes."""
    clock = time.process_time if threads == 1 else time.perf_counter
    begun = clock()
    work()
    return clock() - begun


def measure(images: int, grid: tuple[int, int], neighbours: int, outputs: int, rounds: int, threads: int) -> str:
    """One line of the table."""
    batch, psi = make_batch(images=images, grid=grid, outputs=outputs)

    def dense() -> object:
        return dense_step(batch, psi, neighbours)

    def known() -> object:
        return sparse_step(batch, psi, neighbours)

    def new() -> object:
        MEMORY.clear()
        return sparse_step(batch, psi, neighbours)

    forms = (dense, new, known)
    for form in forms:
        form()
    taken = [[seconds(form, threads) for form in forms] for _ in range(rounds)]
    words = [f"N = {len(psi):6d}, {neighbours:3d} neighbours, K = {outputs:3d}"]
    for name, place in (("images new", 1), ("known", 2)):
        ratios = [times[place] / times[0] for times in taken]
        words.append(f"{name} {statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]")
    return "; ".join([*words, f"dense form {1000 * statistics.median(times[0] for times in taken):.0f} ms"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    for size in SIZES:
        print(measure(*size, asked.rounds, asked.threads), flush=True)  # noqa: T201
