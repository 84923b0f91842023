"""Does the statistics of the tables keep its promises where the truth is known?

Draws scores of rows that do not differ, or of which one is better, and counts what a table would wrongly say:

    python benchmarks/null_simulation.py [--repeats 10000] [--seed 0]

* false positives of the paired t test at the 5 % level, for two exchangeable rows that share some of their noise,
* coverage of the 95 % Student-t interval of a mean over seeds,
* tables of m exchangeable rows in which at least one row is not among the best, for the correction that the tables use
  (Holm over all pairs) and for the one that only looks at pairs with the best row,
* tables of m rows in which the one that is truly better by 0.6 points is not among the best,
* both of these for the rule of earlier releases too: the best row by its mean over all of its own seeds, and no look at
  the sign of a difference.

Seeds are 5 or 10 in all rows, or unequal: 5 in one row, which is the better one where there is one, 10 in the others.

Prints a Markdown table; the same seed gives the same table.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from itertools import combinations

import numpy as np

from spectral_bench.common.seeds import SeedStreams
from spectral_bench.results.comparison import LEVEL, rank
from spectral_bench.results.statistics import holm, paired_difference, summarise

SEEDS = {"5 seeds": (5, 5), "10 seeds": (10, 10), "5 and 10 seeds": (5, 10)}  # of the first row and of the others
ROWS = (2, 5, 10)
FEW = (2, 5)
MEAN, BETTER = 40.0, 0.6  # points of mIoU
NOISE = (0.6, 0.8)  # standard deviation that rows share by seed, and of each row alone: about what real images show
SHARED = (1.2, 0.4)  # rows that differ by little in what they do: most of the noise is shared

Scores = dict[int, dict[int, float]]  # row -> seed -> score


def draw(generator: np.random.Generator, rows: int, seeds: tuple[int, int], better: float) -> Scores:
    """Scores of rows that share a part of the noise of each seed; the first is better by so much.

    If one is better, the rows share most of their noise: that is where the seeds of a row decide its mean.
    """
    most, (shared, own) = max(seeds), SHARED if better else NOISE
    scores = MEAN + generator.normal(0, shared, size=(1, most)) + generator.normal(0, own, size=(rows, most))
    scores[0] += better
    return {row: dict(enumerate(map(float, scores[row, : seeds[row > 0]]))) for row in range(rows)}


def false_positive(scores: Scores) -> bool:
    found = paired_difference(scores[0], scores[1])
    return found is not None and found.p is not None and found.p <= LEVEL


def covers(scores: Scores) -> bool:
    summary = summarise(list(scores[0].values()))
    return summary.low is not None and summary.high is not None and summary.low <= MEAN <= summary.high


def leaves_a_row_out(scores: Scores) -> bool:
    return len(rank({"mIoU": scores}).best["mIoU"]) < len(scores)


def leaves_the_first_out(scores: Scores) -> bool:
    return 0 not in rank({"mIoU": scores}).best["mIoU"]


def leaves_a_row_out_naively(scores: Scores) -> bool:
    best = _own_best(scores)
    found = {index: paired_difference(scores[best], row) for index, row in scores.items() if index != best}
    p_values = {index: pair.p for index, pair in found.items() if pair is not None and pair.p is not None}
    return any(p <= LEVEL for p in holm(p_values).values())


def best_by_the_old_rule(scores: Scores) -> set[int]:
    """The best row by its mean over its own seeds, and all whose difference to it is not significant."""
    found = {pair: paired_difference(scores[pair[0]], scores[pair[1]]) for pair in combinations(scores, 2)}
    p = holm({key: pair.p for key, pair in found.items() if pair is not None and pair.p is not None})
    best = _own_best(scores)
    return {row for row in scores if row == best or p[min(row, best), max(row, best)] > LEVEL}


def leaves_a_row_out_by_the_old_rule(scores: Scores) -> bool:
    return len(best_by_the_old_rule(scores)) < len(scores)


def leaves_the_first_out_by_the_old_rule(scores: Scores) -> bool:
    return 0 not in best_by_the_old_rule(scores)


def _own_best(scores: Scores) -> int:
    return max(scores, key=lambda row: summarise(list(scores[row].values())).mean)


def rate(
    check: Callable[[Scores], bool], rows: int, seeds: tuple[int, int], repeats: int, seed: int, better: float
) -> float:
    """The share of repeats, in per cent, in which ``check`` holds."""
    generator = SeedStreams(seed).numpy("null-simulation", rows, *seeds)
    return 100 * sum(check(draw(generator, rows, seeds, better)) for _ in range(repeats)) / repeats


CHECKS: list[tuple[str, Callable[[Scores], bool], int, float]] = [
    ("paired t test: false positives at the 5 % level", false_positive, 2, 0.0),
    ("95 % interval over seeds: coverage", covers, 1, 0.0),
    *((f"bold: one of {m} equal rows left out (as printed)", leaves_a_row_out, m, 0.0) for m in ROWS),
    *((f"bold: the better row of {m} left out (as printed)", leaves_the_first_out, m, BETTER) for m in FEW),
    *(
        (f"one of {m} equal rows, corrected over pairs with the best", leaves_a_row_out_naively, m, 0.0)
        for m in ROWS[1:]
    ),
    *((f"one of {m} equal rows, by own seeds, no sign", leaves_a_row_out_by_the_old_rule, m, 0.0) for m in FEW),
    *((f"the better row of {m}, by own seeds, no sign", leaves_the_first_out_by_the_old_rule, m, BETTER) for m in FEW),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repeats", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    sys.stdout.write(f"| {arguments.repeats} repeats, in per cent | {' | '.join(SEEDS)} |\n")
    sys.stdout.write(f"|---|{'---:|' * len(SEEDS)}\n")
    for name, check, rows, better in CHECKS:
        rates = [rate(check, rows, seeds, arguments.repeats, arguments.seed, better) for seeds in SEEDS.values()]
        sys.stdout.write(f"| {name} | {' | '.join(f'{value:.2f}' for value in rates)} |\n")


if __name__ == "__main__":
    main()
