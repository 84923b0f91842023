"""Does ``bench plan --probe`` predict what runs take? A dozen small runs of every kind, probed and then carried out.

    python benchmarks/predictions.py FOLDER [--load]

Prints a Markdown table: predicted and measured seconds and peak memory of each run, and how many of the measured times
lie in the predicted range. Then a second one: the same runs of another seed, predicted from the runs of the first.

The machine should be idle, as its load is a part of what is timed: ``--load`` prints its average beside each table.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from spectral_bench.bench.cli.commands import run_command_line
from spectral_bench.bench.grid.load import load_grid
from spectral_bench.bench.plan.build import make_plan
from spectral_bench.bench.plan.measured import measurements
from spectral_bench.bench.plan.states import Plan
from spectral_bench.bench.plan.today import CurrentData
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.results.store import Store

GRID = """\
name: predictions
defaults: {dataset: synthetic, subset: 48, eval_subset: 16, seeds: [0]}
runs:
  - {method: kmeans, params: {k: 8}}
  - {method: kmeans, params: {k: 64, input: all_standardised_l2, scores: distance}}
  - {method: kmeans, params: {k: 16}, features: {mode: online}}
  - {method: neuralef, params: {k: 16, batch_size: 2, steps: 60, depth: 1, heads: 4}}
  - {method: neuralef, params: {k: 64, batch_size: 4, steps: 24, depth: 1, heads: 4}}
  - {method: neuralef, params: {k: 16, batch_size: 2, epochs: 2, depth: 0, alpha: 0.0}}
  - {method: neuralef_kmeans, params: {k: 16, batch_size: 2, steps: 60, depth: 1, heads: 4}}
  - {method: spin, params: {k: 12, batch_size: 2, steps: 60, functions: 8}}
  - {method: nystrom, params: {k: 12, samples: 512}}
  - {method: deep_spectral, params: {k: 12}}
  - {method: linear_probe, params: {batch_size: 8, epochs: 10}}
  - {method: kmeans, params: {k: 8}, backbone: vit_tiny_patch16_224, backbone_options: {weights: random}}
"""


@dataclass(frozen=True)
class Compared:
    """One run: what was predicted of it, and what it took."""

    title: str
    predicted: float
    low: float
    high: float
    measured: float
    memory: int
    measured_memory: int

    @property
    def held(self) -> bool:
        """Whether the time lies in the range."""
        return self.low <= self.measured <= self.high


def plan_of(path: Path, store: Path, seeds: str) -> Plan:
    """The grid against the store."""
    known = Store.open(store) if store.exists() else None
    return make_plan(load_grid(path, [f"seeds={seeds}"]), known, store, data=CurrentData(DataRoots()))


def compare(path: Path, store: Path, seeds: str) -> list[Compared]:
    """Predict, carry out, and compare."""
    plan = plan_of(path, store, seeds)
    wanted = ["run", "--grid", str(path), "--out", str(store), "--set", f"seeds={seeds}"]
    if code := run_command_line(wanted):
        raise SystemExit(code)
    found = []
    for run in plan.unfinished:
        done = Store.open(store).load_run(run.run_id)
        if done is None or run.prediction is None:
            continue
        took = list(measurements([done]))
        seconds = sum(
            sum({**one.growing}.values()) + sum(one.by_image.values()) + sum(one.once.values()) for one in took
        )
        predicted = run.prediction
        memory = max(one.host for one in took)
        held = (predicted.seconds, predicted.low, predicted.high)
        found.append(Compared(run.title, *held, seconds, predicted.host or 0, memory))
    return found


def table(found: Sequence[Compared]) -> Iterable[str]:
    """The comparison as Markdown."""
    yield "| run | predicted (s) | range (s) | measured (s) | measured / predicted | memory predicted / measured (MB) |"
    yield "| --- | --: | --: | --: | --: | --: |"
    for one in found:
        cells = (
            one.title,
            f"{one.predicted:.1f}",
            f"{one.low:.1f} to {one.high:.1f}",
            f"{one.measured:.1f}" + ("" if one.held else " (outside)"),
            f"{one.measured / one.predicted:.2f}",
            f"{one.memory / 1e6:.0f} / {one.measured_memory / 1e6:.0f}",
        )
        yield "| " + " | ".join(cells) + " |"
    yield ""
    total, sums = (
        sum(one.held for one in found),
        [sum(getattr(one, n) for one in found) for n in ("predicted", "measured")],
    )
    yield f"{total} of {len(found)} in their range; in all {sums[0]:.0f} s predicted, {sums[1]:.0f} s measured"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="for the grid and its store")
    parser.add_argument("--load", action="store_true", help="print the load of the machine")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    path, store = given.folder / "predictions.yaml", given.folder / "store"
    path.write_text(GRID)
    if code := run_command_line(["plan", "--grid", str(path), "--out", str(store), "--probe"]):
        raise SystemExit(code)
    told = []
    for what, seeds in (("probes", "[0]"), ("runs of another seed", "[1]")):
        lines = "\n".join(table(compare(path, store, seeds)))
        load = f", load {os.getloadavg()[1]:.1f}" if given.load else ""
        told.append(f"Predicted from {what}{load}:\n\n{lines}\n")
    print("\n".join(told))  # noqa: T201


if __name__ == "__main__":
    main()
