"""Kills at random moments, then a quiet launch: the store is that of an undisturbed day."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import fake_work
import pytest
from fake_work import MakeOrder

from spectral_bench.bench.executors import Job, LocalExecutor
from spectral_bench.bench.work.order import read_order
from spectral_bench.results.store import Store

ROOT = Path(__file__).parents[3]
RUNS, KILLS = 12, 10

LAUNCHER = """
import sys
from pathlib import Path
import fake_work
from spectral_bench.bench.executors import Job, LocalExecutor
from spectral_bench.results.store import Store

jobs = [Job(Path(path).stem, Path(path)) for path in sys.argv[2:]]
preload = ["spectral_bench.bench.work.worker"]
executor = LocalExecutor(Store.open(sys.argv[1]), jobs=3, grace=1.0, target=fake_work.target, preload=preload)
executor.run(jobs, lambda event: None)
"""


def _launch(store: Store, paths: list[Path]) -> subprocess.Popen[bytes]:
    path = os.pathsep.join([str(Path(fake_work.__file__).parent), str(ROOT / "src")])
    environment = os.environ | {"PYTHONPATH": path}
    command = [sys.executable, "-c", LAUNCHER, str(store.path), *map(str, paths)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)


def _workers(store: Store) -> list[int]:
    return [int(owner["pid"]) for run_id in store.runs() if (owner := store.owner(run_id))]


def _content(store: Store) -> dict[str, object]:
    """What the store says, apart from environments and failures that were overcome."""
    said: dict[str, object] = {}
    for run in store.load_all(verify=True):
        said[run.run_id] = (run.fit, sorted(run.evaluations))
        for view_id, record in run.evaluations.items():
            said[f"{run.run_id}/{view_id}"] = (record, store.contingency(run.run_id, view_id))
    return said


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.nightly) for seed in range(1, 5))])
def test_kills_at_random_moments(store: Store, make_order: MakeOrder, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    paths = [make_order(number, pause=0.1) for number in range(RUNS)]
    launchers = [_launch(store, paths)]
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.1, 1.0))
        victims = [*_workers(store), launchers[-1].pid]
        try:
            os.kill(chance.choice(victims), chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
        except ProcessLookupError:
            continue
        if launchers[-1].poll() is not None or chance.random() < 0.3:  # some days there are two
            launchers.append(_launch(store, paths))
    for launcher in launchers:
        launcher.wait(timeout=600)

    jobs = [Job(path.stem, path) for path in paths]
    exits = LocalExecutor(store, jobs=2, target=fake_work.target, preload=["spectral_bench.bench.work.worker"]).run(
        jobs, lambda event: None
    )
    assert set(exits.values()) == {"done"}
    quiet = Store.open(tmp_path / "quiet", create=True)
    for path in paths:
        fake_work.execute(read_order(path), store=quiet, should_stop=lambda: False)
    assert _content(store) == _content(quiet)
    assert _workers(store) == []
