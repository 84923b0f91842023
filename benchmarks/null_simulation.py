"""Does the statistics of the tables keep its promises where the truth is known?

Draws scores of rows that do not differ and counts how often a table would claim that they do:

    python benchmarks/null_simulation.py [--repeats 10000] [--seed 0]

* false positives of the paired t test at the 5 % level, for two exchangeable rows that share some of their noise,
* coverage of the 95 % Student-t interval of a mean over seeds,
* tables of m exchangeable rows in which at least one row is not among the best, for the correction that the tables use
  (Holm over all pairs) and for the one that only looks at pairs with the best row.

Prints a Markdown table; the same seed gives the same table.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from spectral_bench.common.seeds import SeedStreams
from spectral_bench.results.comparison import LEVEL, rank
from spectral_bench.results.statistics import holm, paired_difference, summarise

SEEDS = (5, 10)
ROWS = (2, 5, 10)
MEAN, SHARED_STD, OWN_STD = 40.0, 0.6, 0.8  # points of mIoU: about what runs on real images show

Array = NDArray[np.float64]


def draw(generator: np.random.Generator, rows: int, seeds: int) -> Array:
    """Scores (rows, seeds) of rows that do not differ; the rows share a part of the noise of each seed."""
    shared = generator.normal(0, SHARED_STD, size=(1, seeds))
    return MEAN + shared + generator.normal(0, OWN_STD, size=(rows, seeds))


def false_positive(scores: Array) -> bool:
    found = paired_difference(*(dict(enumerate(map(float, row))) for row in scores[:2]))
    return found is not None and found.p is not None and found.p <= LEVEL


def covers(scores: Array) -> bool:
    summary = summarise([float(value) for value in scores[0]])
    return summary.low is not None and summary.high is not None and summary.low <= MEAN <= summary.high


def leaves_a_row_out(scores: Array) -> bool:
    rows = {index: dict(enumerate(map(float, row))) for index, row in enumerate(scores)}
    return len(rank({"mIoU": rows}).best["mIoU"]) < len(rows)


def leaves_a_row_out_naively(scores: Array) -> bool:
    rows = {index: dict(enumerate(map(float, row))) for index, row in enumerate(scores)}
    best = int(scores.mean(axis=1).argmax())
    found = {index: paired_difference(rows[best], row) for index, row in rows.items() if index != best}
    p_values = {index: pair.p for index, pair in found.items() if pair is not None and pair.p is not None}
    return any(p <= LEVEL for p in holm(p_values).values())


def rate(check: Callable[[Array], bool], rows: int, seeds: int, repeats: int, seed: int) -> float:
    """The share of repeats, in per cent, in which ``check`` holds."""
    generator = SeedStreams(seed).numpy("null-simulation", rows, seeds)
    return 100 * sum(check(draw(generator, rows, seeds)) for _ in range(repeats)) / repeats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repeats", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    header = " | ".join(f"{n} seeds" for n in SEEDS)
    lines = [f"| {arguments.repeats} repeats, in per cent | {header} |", "|---|---:|---:|"]
    checks: list[tuple[str, Callable[[Array], bool], int]] = [
        ("paired t test: false positives at the 5 % level", false_positive, 2),
        ("95 % interval over seeds: coverage", covers, 1),
        *((f"bold: a row of {m} left out, corrected over all pairs (as printed)", leaves_a_row_out, m) for m in ROWS),
        *((f"the same for {m}, corrected over pairs with the best", leaves_a_row_out_naively, m) for m in ROWS[1:]),
    ]
    for name, check, rows in checks:
        rates = [rate(check, rows, seeds, arguments.repeats, arguments.seed) for seeds in SEEDS]
        lines.append(f"| {name} | {' | '.join(f'{value:.2f}' for value in rates)} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
