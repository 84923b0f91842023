"""Kill things at random moments while a grid runs on Slurm, then compare the store with that of an undisturbed day.

    python benchmarks/chaos_slurm.py --kills 30 --folder /tmp/chaos --restart path/to/slurm-up

Tasks, node daemons, the controller and launchers are killed (SIGKILL); jobs get the signal of a preemption.
``--restart`` brings dead daemons back, as an administrator would; it needs a cluster on this very machine. Ends with
exit code 0 if nothing was lost or done twice.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
GRID = """\
name: chaos
defaults:
  dataset: synthetic
  subset: 8
  eval_subset: 4
  features: {mode: cache}
  backbone_options: {weights: random}
  params: {k: 4}
executor: {runs_per_job: 3, cpus: 1, mem: 3500M, time: 30m, signal_delay: 10}
runs:
  - {method: kmeans, seeds: [0, 1, 2, 3]}
  - {method: neuralef, seeds: [0, 1, 2, 3], params: {epochs: EPOCHS, batch_size: 4}}
  - {method: neuralef_kmeans, seeds: [0, 1, 2, 3], params: {epochs: EPOCHS, batch_size: 4}}
"""
RUNS = 12
TARGETS = ("task", "task", "signal", "slurmd", "controller", "launcher")
PATIENCE_S = 900.0


def grid_text(epochs: int) -> str:
    """A grid of 12 runs."""
    return GRID.replace("EPOCHS", str(epochs))


class Chaos:
    """A grid, a cluster of this machine, and someone who kills."""

    def __init__(self, folder: Path, restart: str, seed: int, slurm_conf: str, epochs: int) -> None:
        self.folder, self._restart, self._conf = folder, restart, slurm_conf
        self._chance = random.Random(seed)
        self._launchers: list[subprocess.Popen[bytes]] = []
        self.killed: Counter[str] = Counter()
        folder.mkdir(parents=True, exist_ok=True)
        self.grid = folder / "chaos.yaml"
        self.grid.write_text(grid_text(epochs))

    def bench(self, *words: str) -> list[str]:
        """A command of the harness on the store under fire."""
        return [sys.executable, "-m", "bench", *words, "--out", str(self.folder / "chaos")]

    def launch(self) -> None:
        """Start one more launcher of the same grid."""
        with (self.folder / "launchers.log").open("ab") as log:
            command = [*self.bench("run", "--grid", str(self.grid)), "--executor", "slurm", "--checkpoint-every", "0"]
            self._launchers.append(subprocess.Popen([*command, "--wait"], stdout=log, stderr=log, cwd=ROOT))

    def strike(self) -> None:
        """Kill one process of a random kind."""
        kind = self._chance.choice(TARGETS)
        if kind == "signal":
            self._signal()
            return
        found = [process for process in psutil.process_iter(["pid", "cmdline"]) if self._is(kind, process)]
        if not found:
            return
        victim = self._chance.choice(sorted(found, key=lambda process: process.pid))
        try:
            os.kill(victim.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self._note(kind, victim.pid)

    def _signal(self) -> None:
        """Ask a random job to save and make way."""
        listed = subprocess.run(
            ["squeue", "-h", "-r", "-t", "R", "-o", "%i"], capture_output=True, text=True, check=False
        )
        if jobs := listed.stdout.split():
            job = self._chance.choice(sorted(jobs))
            subprocess.run(["scancel", "--signal=USR2", job], check=False, capture_output=True)
            self._note("signal", job)

    def _note(self, kind: str, what: object) -> None:
        self.killed[kind] += 1
        print(f"{time.strftime('%H:%M:%S')} struck {kind} {what}", flush=True)  # noqa: T201

    def repair(self) -> None:
        """Bring the cluster's daemons back, and a launcher if none is left."""
        subprocess.run(["bash", self._restart], check=True, capture_output=True)
        if all(launcher.poll() is not None for launcher in self._launchers):
            self.launch()

    def settle(self) -> None:
        """Wait for the dust to settle, then launch once more until everything is done."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            self.repair()
            self._launchers[-1].wait(timeout=PATIENCE_S)
            if self._launchers[-1].returncode == 0:
                break
        for launcher in self._launchers:
            launcher.wait(timeout=PATIENCE_S)

    def _is(self, kind: str, process: psutil.Process) -> bool:
        """Whether a process is of this kind, of this cluster and of this store."""
        try:
            words = " ".join(process.info["cmdline"] or ())
            if kind == "launcher":
                return process.pid in {one.pid for one in self._launchers if one.poll() is None}
            if kind == "task":
                return str(self.folder / "chaos") in words and "slurm.job" in words
            name = {"slurmd": "slurmd", "controller": "slurmctld"}[kind]
            return process.name() == name and process.environ().get("SLURM_CONF") == self._conf
        except (psutil.Error, KeyError):
            return False


def content(folder: Path) -> dict[str, Any]:
    """What a store says, but for times, hosts and failures that were overcome."""
    from spectral_bench.results.store import Store

    store = Store.open(folder)
    said: dict[str, Any] = {}
    for run in store.load_all(verify=True):
        state = store.run_folder(run.run_id) / "fit.safetensors"
        said[run.run_id] = (run.fit.status, run.fit.spec, run.fit.health, state.read_bytes())
        for view_id, record in run.evaluations.items():
            counted = store.contingency(run.run_id, view_id)
            said[f"{run.run_id}/{view_id}"] = (record.status, record.health, counted.sha256())
    return said


def undisturbed(chaos: Chaos) -> Path:
    """The same grid on this machine, undisturbed, with the threads that the jobs have."""
    quiet = chaos.folder / "quiet"
    command = [sys.executable, "-m", "bench", "run", "--grid", str(chaos.grid), "--out", str(quiet), "--threads", "1"]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    return quiet


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pause", type=float, default=6.0, help="seconds between two kills, on average")
    parser.add_argument("--epochs", type=int, default=6, help="of each of the eight fits that checkpoint")
    parser.add_argument("--folder", type=Path, required=True, help="an empty folder for both stores")
    parser.add_argument("--restart", required=True, help="a script that starts whatever daemon of the cluster is down")
    given = parser.parse_args()
    conf = str(Path(os.environ.get("SLURM_CONF", "/etc/slurm/slurm.conf")).resolve())  # as the daemons have it
    chaos = Chaos(given.folder.absolute(), given.restart, given.seed, conf, given.epochs)
    chaos.launch()
    while sum(chaos.killed.values()) < given.kills:
        time.sleep(random.Random(given.seed + sum(chaos.killed.values())).uniform(0.2, 2 * given.pause))
        chaos.strike()
        chaos.repair()
    chaos.settle()
    found, expected = content(chaos.folder / "chaos"), content(undisturbed(chaos))
    missing = sorted(expected.keys() - found.keys())
    other = sorted(name for name in expected.keys() & found.keys() if expected[name] != found[name])
    extra = sorted(found.keys() - expected.keys())
    print(f"{dict(chaos.killed)}; missing: {missing}; different: {other}; too many: {extra}")  # noqa: T201
    return 1 if missing or other or extra or len(expected) != 2 * RUNS else 0


if __name__ == "__main__":
    sys.exit(main())
