"""cancel and retry of runs of this machine."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cli_lab import Bench, FakeExecutor
from plan_lab import SMALL, Lab, failure, fit_record

from spectral_bench.bench.work.order import STOP_FILE
from spectral_bench.results.record import COHORT
from spectral_bench.results.store import Store

HOLD = """
import signal, sys, threading
from spectral_bench.results.store import Store
done = threading.Event()
signal.signal(signal.SIGTERM, lambda number, frame: done.set())
with Store.open(sys.argv[1]).claim(sys.argv[2]):
    print("mine", flush=True)
    done.wait(1200)
"""


class TestThisMachine:
    def test_a_run_at_work_is_asked_to_stop(self, bench: Bench, lab: Lab) -> None:
        run = lab.plan().runs[0]
        command = [sys.executable, "-c", HOLD, str(lab.store.path), run.run_id]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]) as process:
            assert process.stdout is not None
            guard = threading.Timer(600, process.kill)
            guard.start()
            assert process.stdout.readline() == b"mine\n"
            result = bench("cancel", run.run_id, "--out", lab.out)
            assert process.wait() == 0
            guard.cancel()
        assert (result.code, result.out) == (0, f"{run.run_id}: asked to stop\n")

    def test_a_run_that_shares_its_process_is_stopped_without_the_others(self, bench: Bench, lab: Lab) -> None:
        run = lab.plan().runs[0]
        with lab.store.claim(run.run_id, **{COHORT: "others too"}):  # a signal would come to this very process
            result = bench("cancel", run.run_id, "--out", lab.out)
        assert (result.code, result.out) == (0, f"{run.run_id}: asked to stop\n")
        assert (lab.store.run_folder(run.run_id) / STOP_FILE).exists()

    def test_a_run_that_nobody_has_in_hand(self, bench: Bench, lab: Lab) -> None:
        run = lab.plan().runs[0]
        lab.store.write_fit(fit_record(run.spec))
        result = bench("cancel", run.run_id, "--out", lab.out)
        assert result.code == 1
        assert "neither waits nor is at work" in result.err
        assert bench("cancel", "--out", lab.out).code == 2

    def test_what_failed_is_tried_again_with_the_executor_that_it_had(
        self, bench: Bench, lab: Lab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made: list[FakeExecutor] = []

        def make(execution: object, store: Store, jobs: int | None, gpus: tuple[str, ...]) -> FakeExecutor:
            made.append(FakeExecutor(store, {} if made else {"kmeans": ("exception", "broken")}))
            return made[-1]

        for module in ("run", "retry"):
            monkeypatch.setattr(f"spectral_bench.bench.cli.{module}.make_executor", make)
        assert bench("run", "--grid", lab.write(SMALL), "--out", lab.out).code == 1
        result = bench("retry", "--out", lab.out, "--gpus", "97")
        assert (result.code, result.out) == (2, "")
        assert "--gpus 97: CUDA does not find the GPU 97 on this machine" in result.err
        result = bench("retry", "--out", lab.out)
        assert result.code == 0
        assert "4 runs to try again with executor local" in result.out
        assert sorted(made[1].carried_out) == sorted(run.run_id for run in lab.plan().runs)
        assert bench("retry", "--out", lab.out).out == "nothing to try again\n"

    def test_a_run_without_an_order(self, bench: Bench, lab: Lab) -> None:
        run = lab.plan().runs[0]
        lab.store.write_fit(fit_record(run.spec, "failed", failure=failure()))
        result = bench("retry", run.run_id, "--out", lab.out)
        assert result.code == 2
        assert "issue bench run with its grid" in result.err
