"""Does ``bench plan --probe`` predict what runs take? Forty small runs of many kinds, probed and then carried out.

    python benchmarks/predictions.py FOLDER [--times 5] [--cpu] [--load]
    python benchmarks/predictions.py FOLDER --dataset camvid --data-root DIR --images 120 --times 2

Prints a Markdown table: predicted and measured seconds and peak memory of each run, and how many of the measured times
lie in the predicted range, within 30 %, and of memory within 20 %. Then, unless ``--once`` is given, a second one: the
same runs of another seed, predicted from the runs of the first.

Runs of half a second differ among themselves: ``--times N`` makes training steps N times as many, and ``--images``
fits and evaluations longer, of a data set that has as many.

The machine should be idle, as its load is a part of what is timed: ``--load`` prints its average beside each table. On
a busy one, ``--cpu`` measures probes and runs in CPU seconds, which others hardly change; what no stage is charged with
is on the wall clock, and is left out on both sides.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from spectral_bench.bench.cli.commands import run_command_line
from spectral_bench.bench.grid.load import load_grid
from spectral_bench.bench.plan.build import make_plan
from spectral_bench.bench.plan.measured import REST, measurements
from spectral_bench.bench.plan.prediction import Prediction
from spectral_bench.bench.plan.states import Plan
from spectral_bench.bench.plan.today import CurrentData
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.results.store import Store

TIME, MEMORY = 0.30, 0.20  # how far off a prediction may be

GRID = """\
name: predictions
DEFAULTS
runs:
  - {method: kmeans, matrix: {k: [8, 64], input: [last, last_l2]}}
  - {method: kmeans, params: {k: 64, input: all_standardised_l2, scores: distance}}
  - {method: kmeans, params: {k: 16, restarts: 4}}
  - {method: kmeans, params: {k: 16}, features: {mode: online}}
  - {method: kmeans, params: {k: 8}, backbone: vit_tiny_patch16_224, backbone_options: {weights: random}}
  - {method: neuralef, params: {k: 16, batch_size: 2, steps: 60, heads: 4}, matrix: {depth: [0, 1, 2]}}
  - {method: neuralef, params: {k: 16, batch_size: 2, depth: 1, heads: 4}, matrix: {steps: [24, 120]}}
  - {method: neuralef, params: {k: 64, batch_size: 4, steps: 24, depth: 1, heads: 4}}
  - {method: neuralef, params: {k: 16, batch_size: 8, steps: 16, depth: 1, heads: 4}}
  - {method: neuralef, params: {k: 16, batch_size: 2, epochs: 2, depth: 0, alpha: 0.0}}
  - {method: neuralef_kmeans, params: {batch_size: 2, steps: 60, depth: 1, heads: 4}, matrix: {k: [16, 32]}}
  - {method: spin, params: {k: 12, batch_size: 2, functions: 8}, matrix: {steps: [30, 60]}}
  - {method: spin, params: {k: 12, batch_size: 4, functions: 16, steps: 30}}
  - {method: neuralsvd, params: {k: 12, batch_size: 2, functions: 8}, matrix: {steps: [30, 60]}}
  - {method: spectralnet, params: {k: 12, batch_size: 2, functions: 8}, matrix: {steps: [30, 90]}}
  - {method: self_training, params: {k: 16, batch_size: 4, steps: 40, depth: 1, heads: 4}}
  - {method: nystrom, params: {k: 12}, matrix: {samples: [512, 1024, 2048]}}
  - {method: nystrom, params: {k: 32, samples: 512, solver: eigh}}
  - {method: nystrom, params: {k: 12, samples: 512, input: all_standardised_l2}}
  - {method: nystrom, params: {k: 12, samples: 1024, sampling: farthest, neighbours: 64}}
  - {method: deep_spectral, matrix: {k: [12, 48]}}
  - {method: deep_spectral, params: {k: 12, segments: 12, descriptor: last_l2}}
  - {method: linear_probe, params: {batch_size: 8}, matrix: {epochs: [4, 10]}}
  - {method: linear_probe, params: {batch_size: 16, epochs: 10}}
"""

_COUNTS = re.compile(r"steps: (?:\d+|\[[\d, ]+\])")
_ON_CPU = "import time\n\ntime.perf_counter = time.process_time\n"


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


def grid_text(times: int = 1, dataset: str = "synthetic", images: int = 48) -> str:
    """The grid with ``times`` as many training steps, on so many images of a data set, and a third for evaluation."""
    data = f"defaults: {{dataset: {dataset}, subset: {images}, eval_subset: {images // 3}, seeds: [0]}}"
    longer = _COUNTS.sub(lambda found: re.sub(r"\d+", lambda one: str(times * int(one[0])), found[0]), GRID)
    return longer.replace("DEFAULTS", data)


def plan_of(path: Path, store: Path, seeds: str, roots: Sequence[Path]) -> Plan:
    """The grid against the store."""
    known = Store.open(store) if store.exists() else None
    return make_plan(load_grid(path, [f"seeds={seeds}"]), known, store, data=CurrentData(DataRoots(tuple(roots))))


def compare(path: Path, store: Path, seeds: str, roots: Sequence[Path], *, cpu: bool) -> list[Compared]:
    """Predict, carry out, and compare; ``cpu``: without what is on the wall clock where all else is CPU seconds."""
    plan = plan_of(path, store, seeds, roots)
    # Side by side, processes would hold what several runs need.
    wanted = ["run", "--grid", str(path), "--out", str(store), "--set", f"seeds={seeds}", "--cohort", "off"]
    wanted += options_of(roots)
    if code := run_command_line(wanted):
        raise SystemExit(code)
    found = []
    for run in plan.unfinished:
        done = Store.open(store).load_run(run.run_id)
        if done is None or run.prediction is None:
            continue
        took = list(measurements([done]))
        stages = [pair for one in took for part in (one.growing, one.by_image, one.once) for pair in part.items()]
        seconds = sum(each for name, each in stages if not (cpu and name == REST))
        predicted = run.prediction
        memory = max(one.host for one in took)
        held = _times(predicted, cpu)
        found.append(Compared(run.title, *held, seconds, predicted.host or 0, memory))
    return found


def options_of(roots: Sequence[Path]) -> list[str]:
    """Where data sets lie, for a command."""
    return [word for root in roots for word in ("--data-root", str(root))]


def _times(found: Prediction, cpu: bool) -> tuple[float, float, float]:
    """Predicted seconds, and their range."""
    share = 1 - found.stages.get(REST, 0.0) / found.seconds if cpu else 1.0
    return found.seconds * share, found.low * share, found.high * share


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
    held = sum(one.held for one in found)
    near = sum(abs(one.measured / one.predicted - 1) <= TIME for one in found)
    fits = sum(abs(one.measured_memory / one.memory - 1) <= MEMORY for one in found)
    sums = [sum(getattr(one, name) for one in found) for name in ("predicted", "measured")]
    yield (
        f"{held} of {len(found)} in their range, {near} within {TIME:.0%}; memory of {fits} within {MEMORY:.0%}; "
        f"in all {sums[0]:.0f} s predicted, {sums[1]:.0f} s measured"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="for the grid and its store")
    parser.add_argument("--times", type=int, default=1, metavar="N", help="N times as many training steps")
    parser.add_argument("--dataset", default="synthetic", help="one that has the images; default: synthetic")
    parser.add_argument("--data-root", type=Path, action="append", default=[], metavar="DIR", help="where it lies")
    parser.add_argument("--images", type=int, default=48, metavar="N", help="to fit on; a third of it for evaluation")
    parser.add_argument("--cpu", action="store_true", help="measure in CPU seconds")
    parser.add_argument("--load", action="store_true", help="print the load of the machine")
    parser.add_argument("--once", action="store_true", help="leave out the runs of another seed")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    path, store = given.folder / "predictions.yaml", given.folder / "store"
    path.write_text(grid_text(given.times, given.dataset, given.images))
    if given.cpu:  # all that is timed is timed in processes that begin after this, in which Python imports it by itself
        (given.folder / "sitecustomize.py").write_text(_ON_CPU)
        os.environ["PYTHONPATH"] = os.pathsep.join([str(given.folder.absolute()), os.environ.get("PYTHONPATH", "")])
    roots = options_of(given.data_root)
    if code := run_command_line(["plan", "--grid", str(path), "--out", str(store), "--probe", *roots]):
        raise SystemExit(code)
    told = []
    for what, seeds in (("probes", "[0]"), ("runs of another seed", "[1]"))[: 1 if given.once else 2]:
        lines = "\n".join(table(compare(path, store, seeds, given.data_root, cpu=given.cpu)))
        load = f", load {os.getloadavg()[1]:.1f}" if given.load else ""
        told.append(f"Predicted from {what}{load}:\n\n{lines}\n")
    print("\n".join(told))  # noqa: T201


if __name__ == "__main__":
    main()
