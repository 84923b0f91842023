"""Runs that cost nothing and misbehave on demand: what an order's parameters say is what its worker does.

``stage`` names the moment, ``act`` what happens then, the first time that this run gets there: ``kill`` (SIGKILL),
``segfault``, ``exit`` (``os._exit(3)``), ``silent`` (``os._exit(0)``), ``raise``, ``memory``, ``full`` (the disk),
``hang`` (deaf to every wish to stop), ``patient`` (waits until asked to stop), ``diverge`` (not converged).
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from spectral_bench.bench.work import worker
from spectral_bench.bench.work.order import Order, fit_missing, missing_views
from spectral_bench.bench.work.progress import ProgressFile
from spectral_bench.common.errors import DataError, RunInterrupted
from spectral_bench.results.contingency import Contingency
from spectral_bench.results.record import EvaluationRecord, FitRecord
from spectral_bench.results.specification import BackboneSpec, FitSpec, TrainingData, View
from spectral_bench.results.store import Store

STAGES = ("begun", "features", "fit", "state", "recorded", "evaluate", "done")
VIEWS = (View(dataset="synthetic", split="val"), View(dataset="synthetic", split="val", subset=2))
TIME = "2026-01-02T03:04:05+00:00"
MakeOrder = Callable[..., Path]
ONCE = 600.0  # seconds: how long something waits that should have been ended long before


def spec_of(seed: int = 0, **behaviour: Any) -> FitSpec:
    data, backbone = TrainingData(dataset="synthetic"), BackboneSpec(name="random")
    return FitSpec(data=data, backbone=backbone, method="fake", params=behaviour, seed=seed)


def target(path: Path, *, known_failures: int | None = None) -> int:
    """What an executor runs in place of ``bench.work.worker.main``."""
    return worker.main(path, known_failures=known_failures, execute=execute, set_up=lambda order: None)


def execute(order: Order, *, store: Store, should_stop: Callable[[], bool]) -> SimpleNamespace:
    """A fake ``bench.run.execute``: resumes from its checkpoint, does nothing twice."""
    return _Run(order, store, should_stop).go()


class _Run:
    def __init__(self, order: Order, store: Store, should_stop: Callable[[], bool]) -> None:
        self.order, self.store, self.should_stop = order, store, should_stop
        self.params = order.spec.params
        self.folder = store.run_folder(order.spec.run_id)
        self.progress = ProgressFile(self.folder / "progress.json", every=0)
        self.status = "not_converged" if self.params.get("act") == "diverge" else "done"

    def go(self) -> SimpleNamespace:
        self.at("begun")
        self.at("features")
        if self.order.features_only:
            return SimpleNamespace(status="done")
        if fit_missing(self.order, self.store):
            self.fit()
        self.at("recorded")
        for view in missing_views(self.order, self.store):
            self.at("evaluate")
            self.evaluate(view)
        self.at("done")
        return SimpleNamespace(status=self.status)

    def fit(self) -> None:
        note(self.folder, "fits")
        checkpoint = self.folder / "checkpoint.pt"
        begin = int(checkpoint.read_text()) if checkpoint.exists() else 0
        for step in range(begin, 3):
            checkpoint.write_text(str(step))
            self.at("fit")
            time.sleep(float(self.params.get("pause", 0)))
            if self.should_stop():
                raise RunInterrupted
        (self.folder / "fit.safetensors").write_text("state")
        self.at("state")
        spec = self.order.spec
        self.store.write_fit(
            FitRecord(run_id=spec.run_id, spec=spec, status=self.status, started=TIME, finished=TIME, n_clusters=2)
        )
        checkpoint.unlink()

    def evaluate(self, view: View) -> None:
        note(self.folder, f"evaluations-{view.view_id}")
        record = EvaluationRecord(
            run_id=self.order.spec.run_id, view_id=view.view_id, view=view, status="done", started=TIME, finished=TIME
        )
        image, cluster, label = (np.array(values, dtype=np.int32) for values in ([0, 0], [0, 1], [1, 0]))
        count = np.array([self.order.spec.seed + 1, 5], dtype=np.int64)
        self.store.write_evaluation(record, Contingency(("one",), 2, 2, image, cluster, label, count))

    def at(self, stage: str) -> None:
        self.progress.update(stage, 0, 1)
        sys.stdout.write(f"now at {stage}\n")
        marker = self.folder / f"was-{stage}"
        again = marker.exists()
        self.folder.mkdir(parents=True, exist_ok=True)
        marker.touch()
        if self.params.get("stage") == stage and (not again or self.params.get("always")):
            ACTS[str(self.params.get("act"))](self)


def note(folder: Path, what: str) -> None:
    """Count that something was done."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / what).open("a") as file:
        file.write(f"{os.getpid()}\n")


def count(store: Store, seed: int, what: str, **behaviour: Any) -> int:
    """How often something was done."""
    path = store.run_folder(spec_of(seed, **behaviour).run_id) / what
    return len(path.read_text().splitlines()) if path.exists() else 0


def signal_at_fit(folder: Path, number: signal.Signals) -> None:
    """Send this process a signal as soon as the run of a folder is at its fit, where it heeds them."""

    def watch() -> None:
        while not (folder / "was-fit").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    threading.Thread(target=watch, daemon=True).start()


def _raise(run: _Run) -> None:
    raise ValueError("boom: the method is at fault")


def _data(run: _Run) -> None:
    raise DataError("images/17.png: not an image")


def _memory(run: _Run) -> None:
    raise MemoryError("no 3 TB here")


def _full(run: _Run) -> None:
    def fsync(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    os.fsync = fsync
    run.store.write_fit(
        FitRecord(run_id=run.order.spec.run_id, spec=run.order.spec, status="done", started=TIME, finished=TIME)
    )


def _hang(run: _Run) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
    time.sleep(ONCE)


def _patient(run: _Run) -> None:
    end = time.monotonic() + ONCE
    while time.monotonic() < end:
        if run.should_stop():
            raise RunInterrupted
        time.sleep(0.01)


def _helper(run: _Run) -> None:
    """Leave a helper behind and die."""
    helper = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({ONCE})"])
    (run.folder / "helper").write_text(str(helper.pid))
    os.kill(os.getpid(), signal.SIGKILL)


def _hog(run: _Run) -> None:
    """Take 400 MB and keep them."""
    taken = np.ones(50_000_000)
    time.sleep(ONCE)
    del taken


ACTS: dict[str, Callable[[_Run], object]] = {
    "kill": lambda run: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda run: os.kill(os.getpid(), signal.SIGSEGV),
    "exit": lambda run: os._exit(3),
    "silent": lambda run: os._exit(0),
    "raise": _raise,
    "data": _data,
    "memory": _memory,
    "full": _full,
    "hang": _hang,
    "patient": _patient,
    "helper": _helper,
    "hog": _hog,
    "diverge": lambda run: None,
}
