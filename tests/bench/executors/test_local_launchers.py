from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import fake_work
import pytest
from local_batch import Batch, alive, wait_for

ROOT = Path(__file__).parents[3]

LAUNCHER = """
    import json, sys
    from pathlib import Path
    sys.path[:0] = json.loads(sys.argv[1])
    import fake_work
    from spectral_bench.bench.executors import Job, LocalExecutor
    from spectral_bench.results.store import Store
    jobs = [Job(Path(path).stem, Path(path)) for path in sys.argv[3:]]
    preload = ["slow_import", "spectral_bench.bench.work.worker"]
    options = {"jobs": 2, "grace": 1.0, "target": fake_work.target, "preload": preload}
    executor = LocalExecutor(Store.open(sys.argv[2]), **options)
    def tell(event):
        if event.kind != "tick":
            print(event.kind, event.run_id, event.message, flush=True)
    print(json.dumps(executor.run(jobs, tell)), flush=True)
"""


def launch(batch: Batch) -> subprocess.Popen[str]:
    paths = [str(job.order_path) for job in batch.jobs]
    here = json.dumps([str(Path(fake_work.__file__).parent)])
    command = [sys.executable, "-c", textwrap.dedent(LAUNCHER), here, str(batch.store.path), *paths]
    path = os.pathsep.join([str(Path(fake_work.__file__).parent), str(ROOT / "src")])
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True, env=environment)


def fails_elsewhere_first(path: Path, *, known_failures: int | None) -> int:
    """A target that comes too late: another launcher's worker gets the claim first and fails."""
    fake_work.target(path)
    return fake_work.target(path, known_failures=known_failures)


@pytest.mark.slow
class TestLaunchers:
    def test_two_share_the_work(self, batch: Batch) -> None:
        """Each run is executed once, and both learn how all of them ended."""
        for seed in range(6):
            batch.add(seed, pause=0.03)
        bad = batch.add(6, pause=0.1, stage="fit", act="raise", always=True)
        both = [launch(batch), launch(batch)]
        for launcher in both:
            said, _ = launcher.communicate(timeout=600)
            assert launcher.returncode == 0
            exits = json.loads(said.splitlines()[-1])
            assert exits == {job.run_id: "failed" if job is bad else "done" for job in batch.jobs}
        for seed in range(6):
            assert fake_work.count(batch.store, seed, "fits", pause=0.03) == 1
        assert batch.store.attempts(bad.run_id) == ["1"]

    def test_failure_of_another_launcher_in_the_last_moment(self, batch: Batch) -> None:
        """It fails elsewhere after the launcher has looked and before its worker has the claim: not tried again."""
        job = batch.add(0, stage="fit", act="raise", always=True)

        assert batch.run(target=fails_elsewhere_first) == ["failed"]
        assert batch.store.attempts(job.run_id) == ["1"]

    def test_run_of_a_dead_launcher_is_taken_over(self, batch: Batch) -> None:
        job = batch.add(0, stage="fit", act="hang")
        launcher = launch(batch)
        wait_for(lambda: (batch.store.run_folder(job.run_id) / "was-fit").exists())
        worker = int(batch.store.owner(job.run_id)["pid"])
        launcher.kill()
        launcher.wait()
        assert batch.run() == ["done"]  # waits until the worker, deaf to all wishes, has been ended by its own watch
        assert not alive(worker)
        assert "elsewhere" in {event.kind for event in batch.events}

    def test_killed_launcher_lets_workers_save(self, batch: Batch) -> None:
        job = batch.add(0, stage="fit", act="patient")
        launcher = launch(batch)
        wait_for(lambda: (batch.store.run_folder(job.run_id) / "was-fit").exists())
        launcher.kill()
        launcher.wait()
        wait_for(lambda: batch.store.state(job.run_id) == "interrupted")
        log = (batch.store.run_folder(job.run_id) / "log.txt").read_text()
        assert log.rstrip().endswith(": interrupted")

    def test_ctrl_c_while_the_heavy_imports_are_loaded(
        self, batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The terminal sends it to the launcher and to its fork server alike."""
        batch.add(0, stage="fit", act="patient")
        monkeypatch.setenv("SLOW_IMPORT", str(tmp_path / "importing"))
        launcher = launch(batch)
        wait_for((tmp_path / "importing").exists)
        os.killpg(launcher.pid, signal.SIGINT)
        said, _ = launcher.communicate(timeout=600)
        assert json.loads(said.splitlines()[-1]) == {batch.jobs[0].run_id: "interrupted"}
        assert batch.store.attempts(batch.jobs[0].run_id) == []

    def test_terminated_launcher_stops_in_order(self, batch: Batch) -> None:
        job = batch.add(0, stage="fit", act="patient")
        launcher = launch(batch)
        wait_for(lambda: (batch.store.run_folder(job.run_id) / "was-fit").exists())
        launcher.terminate()
        said, _ = launcher.communicate(timeout=600)
        assert json.loads(said.splitlines()[-1]) == {job.run_id: "interrupted"}
        assert launcher.returncode == 0
