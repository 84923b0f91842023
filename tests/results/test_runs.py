from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_samples import OTHER_VIEW, VIEW, contingency, evaluation, fit, spec

from spectral_bench.common.errors import StoreError
from spectral_bench.results.store import Run, Store

RUN = spec().run_id


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store", create=True)


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


class TestFits:
    def test_round_trip(self, store: Store) -> None:
        assert store.fit_record(RUN) is None
        store.write_fit(fit())
        assert store.fit_record(RUN) == fit()
        assert store.runs() == [RUN]
        assert store.attempts(RUN) == []

    def test_failures_are_kept_and_a_success_replaces_them(self, store: Store) -> None:
        store.write_fit(fit(status="failed"))
        store.write_fit(fit(status="failed", finished="later"))
        found = store.fit_record(RUN)
        assert found is not None
        assert (found.status, found.finished) == ("failed", "later")
        store.write_fit(fit())
        assert store.fit_record(RUN) == fit()
        assert store.attempts(RUN) == ["1", "2"]
        first = json.loads((store.run_folder(RUN) / "attempts" / "1.json").read_text())
        assert first["failure"]["message"] == "ValueError: boom"

    @pytest.mark.parametrize("good", ["done", "not_converged"])
    def test_failure_never_replaces_a_success(self, store: Store, good: str) -> None:
        store.write_fit(fit(status=good))
        store.write_fit(fit(status="failed"))
        assert store.fit_record(RUN) == fit(status=good)
        assert store.attempts(RUN) == ["1"]

    @pytest.mark.parametrize("keep", [0, 1, 100])
    def test_torn_record_is_absent_with_a_warning(
        self, store: Store, keep: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        store.write_fit(fit())
        path = store.run_folder(RUN) / "fit.json"
        path.write_bytes(path.read_bytes()[:keep])
        with caplog.at_level(logging.WARNING):
            assert store.fit_record(RUN) is None
        assert "fit.json: not a valid FitRecord, taken as absent" in caplog.text
        store.write_fit(fit())
        assert store.fit_record(RUN) == fit()

    @pytest.mark.parametrize("novelty", [{}, {"energy_j": 5}])
    def test_record_of_a_newer_release_is_refused(self, store: Store, novelty: dict[str, int]) -> None:
        store.write_fit(fit())
        path = store.run_folder(RUN) / "fit.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 99} | novelty))
        with pytest.raises(StoreError, match=r"fit\.json: written with schema 99; this release reads up to 3"):
            store.load_all()

    def test_what_could_not_be_read_again_is_not_written(self, store: Store) -> None:
        cost = fit().costs[0].model_copy(update={"wall_s": float("nan")})
        with pytest.raises(ValueError, match="not JSON compliant: nan"):
            store.write_fit(fit(costs=[cost]))
        with pytest.raises(ValueError, match="splendid"):
            store.write_fit(fit(status="splendid"))
        assert store.runs() == []


class TestEvaluations:
    def test_round_trip(self, store: Store) -> None:
        assert store.evaluation_record(RUN, VIEW.view_id) is None
        written = store.write_evaluation(evaluation(), contingency())
        assert store.evaluation_record(RUN, VIEW.view_id) == written
        assert written == evaluation(contingency_sha256=written.contingency_sha256)
        assert store.contingency(RUN, VIEW.view_id) == contingency()

    def test_digest_is_that_of_the_file(self, store: Store) -> None:
        written = store.write_evaluation(evaluation(), contingency())
        file = store.run_folder(RUN) / "evaluations" / f"{VIEW.view_id}.npz"
        told = subprocess.run(["sha256sum", file], capture_output=True, text=True, check=True).stdout
        assert told.split()[0] == written.contingency_sha256

    def test_same_counts_same_bytes(self, store: Store) -> None:
        one = store.write_evaluation(evaluation(), contingency())
        assert store.write_evaluation(evaluation(seed=1), contingency()).contingency_sha256 == one.contingency_sha256
        other = store.write_evaluation(evaluation(seed=2), contingency(scale=2))
        assert other.contingency_sha256 != one.contingency_sha256

    @pytest.mark.parametrize("harm", ["missing", "truncated", "empty", "another", "one bit"])
    def test_torn_contingency_is_never_read(self, store: Store, harm: str, caplog: pytest.LogCaptureFixture) -> None:
        store.write_fit(fit())
        store.write_evaluation(evaluation(), contingency())
        file = store.run_folder(RUN) / "evaluations" / f"{VIEW.view_id}.npz"
        _harm(file, harm)
        with caplog.at_level(logging.WARNING):
            assert store.evaluation_record(RUN, VIEW.view_id) is None
        assert f"{VIEW.view_id}.json: the contingency beside it is missing or torn" in caplog.text
        with pytest.raises(StoreError, match="no intact contingency; evaluate the run again"):
            store.contingency(RUN, VIEW.view_id)
        assert store.load_all(verify=True) == [Run(fit(), {})]

    def test_without_reading_it_a_missing_contingency_is_noticed(self, store: Store) -> None:
        store.write_fit(fit())
        store.write_evaluation(evaluation(), contingency())
        (store.run_folder(RUN) / "evaluations" / f"{VIEW.view_id}.npz").unlink()
        assert store.load_all() == [Run(fit(), {})]

    def test_failure_is_data_and_success_replaces_it(self, store: Store) -> None:
        store.write_evaluation(evaluation(status="failed"))
        assert store.evaluation_record(RUN, VIEW.view_id) == evaluation(status="failed")
        with pytest.raises(StoreError, match="no intact contingency"):
            store.contingency(RUN, VIEW.view_id)
        good = store.write_evaluation(evaluation(), contingency())
        store.write_evaluation(evaluation(status="failed"))
        assert store.evaluation_record(RUN, VIEW.view_id) == good
        assert store.attempts(RUN) == [f"{VIEW.view_id}-1", f"{VIEW.view_id}-2"]

    def test_success_needs_counts_and_a_failure_has_none(self, store: Store) -> None:
        with pytest.raises(ValueError, match="done needs a contingency"):
            store.write_evaluation(evaluation())
        with pytest.raises(ValueError, match="failed needs no contingency"):
            store.write_evaluation(evaluation(status="failed"), contingency())
        assert store.runs() == []


class TestMany:
    def test_load_all_is_ordered_and_ignores_what_it_does_not_know(self, store: Store) -> None:
        for seed in (2, 0, 1):
            store.write_fit(fit(seed))
        one = store.write_evaluation(evaluation(1), contingency())
        two = store.write_evaluation(evaluation(1, view=OTHER_VIEW), contingency(3))
        (store.run_folder(RUN) / "evaluations").mkdir()
        for name in ("notes.txt", "evaluations/old.bak", "evaluations/.x.json.tmp", "order-3.json"):
            (store.run_folder(RUN) / name).write_text("?")
        (store.records_folder / ".trash").mkdir()
        (store.records_folder / "kmeans-s7-0123456789ab").mkdir()
        runs = {run.run_id: run for run in store.load_all()}
        assert list(runs) == sorted(spec(seed).run_id for seed in range(3))
        assert runs[RUN].evaluations == {}
        assert runs[spec(1).run_id].evaluations == {VIEW.view_id: one, OTHER_VIEW.view_id: two}
        assert "kmeans-s7-0123456789ab" in store.runs()

    def test_collector_runs_again_afterwards(self, store: Store) -> None:
        import gc

        assert gc.isenabled()
        store.load_all()
        assert gc.isenabled()

    def test_discard_forgets_results_and_keeps_failures(self, store: Store) -> None:
        store.write_fit(fit(status="failed"))
        store.write_fit(fit())
        store.write_evaluation(evaluation(), contingency())
        for name in ("checkpoint.pt", "fit.safetensors", "log.txt"):
            (store.run_folder(RUN) / name).write_text("x")
        store.discard(RUN)
        assert store.load_run(RUN) is None
        assert store.evaluation_record(RUN, VIEW.view_id) is None
        assert store.state(RUN) == "new"
        assert store.attempts(RUN) == ["1"]
        assert {path.name for path in store.run_folder(RUN).iterdir()} == {"attempts", "evaluations", "log.txt"}
        store.discard("never-seen")


class TestStatus:
    @pytest.mark.parametrize("status", ["done", "failed", "not_converged"])
    def test_recorded(self, store: Store, status: str) -> None:
        store.write_fit(fit(status=status))
        assert store.state(RUN) == status

    def test_new_interrupted_running(self, store: Store) -> None:
        assert store.state(RUN) == "new"
        with store.claim(RUN):
            assert store.state(RUN) == "running"
            (store.run_folder(RUN) / "checkpoint.pt").touch()
            assert store.state(RUN) == "running"
        assert store.state(RUN) == "interrupted"

    def test_claiming_sweeps_up_what_a_killed_owner_left_half_written(self, store: Store) -> None:
        store.write_fit(fit())
        folder = store.run_folder(RUN)
        (folder / "evaluations").mkdir()
        for name in (".checkpoint.pt.abc.tmp", "evaluations/.x.npz.def.tmp", "notes.tmp"):
            (folder / name).write_text("half")
        with store.claim(RUN):
            left = {path.name for path in folder.rglob("*") if path.is_file()}
        assert left == {"fit.json", "notes.tmp", "claim.lock", "claim.json"}

    def test_evaluations_are_added_under_a_claim_of_the_run(self, store: Store) -> None:
        store.write_fit(fit())
        with store.claim(RUN, job="12_3"):
            assert store.state(RUN) == "running"
            assert store.owner(RUN)["job"] == "12_3"
        assert store.state(RUN) == "done"
        assert store.owner(RUN) == {}


def _harm(file: Path, harm: str) -> None:
    data = bytearray(file.read_bytes())
    if harm == "missing":
        file.unlink()
    elif harm == "truncated":
        file.write_bytes(data[:-10])
    elif harm == "empty":
        file.write_bytes(b"")
    elif harm == "another":
        contingency(scale=2).save(file)
    else:
        data[len(data) // 2] ^= 1
        file.write_bytes(data)


# Crashes and full disks. A write is a function of a store; each is cut short at every point where it touches the disk.

WRITES: dict[str, Callable[[Store], object]] = {
    "fit": lambda store: store.write_fit(fit()),
    "failed fit": lambda store: store.write_fit(fit(status="failed")),
    "evaluation": lambda store: store.write_evaluation(evaluation(), contingency(scale=5)),
    "failed evaluation": lambda store: store.write_evaluation(evaluation(status="failed")),
    "discard": lambda store: store.discard(RUN),
}
BEFORE: dict[str, Callable[[Store], object]] = {
    "nothing": lambda store: None,
    "failure": lambda store: store.write_fit(fit(status="failed")),
    "all": lambda store: (store.write_fit(fit()), store.write_evaluation(evaluation(), contingency())),
}


def _facts(store: Store) -> tuple[object, ...]:
    """What a reader learns; also that nothing torn is ever shown."""
    for run in store.load_all(verify=True):
        for view_id, record in run.evaluations.items():
            if record.status != "failed":
                assert store.contingency(run.run_id, view_id) in (contingency(), contingency(scale=5))
    return store.fit_record(RUN), store.evaluation_record(RUN, VIEW.view_id)


def _crash_at(step: int, store: Store, write: Callable[[Store], object]) -> bool:
    """Do ``write`` in a child that dies without cleaning up at its ``step``-th change of the disk; whether it died."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
    left = [step]

    def counted(function: Callable[..., object]) -> Callable[..., object]:
        def run(*args: object, **kwargs: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                os._exit(42)
            return function(*args, **kwargs)

        return run

    for name in ("rename", "replace", "unlink", "mkdir", "fsync", "chmod"):
        setattr(os, name, counted(getattr(os, name)))
    tempfile.mkstemp = counted(tempfile.mkstemp)  # type: ignore[assignment]
    try:
        write(store)
        os._exit(0)
    except BaseException:
        os._exit(1)


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("write", WRITES)
def test_crash_anywhere_leaves_a_valid_store(store: Store, write: str, before: str) -> None:
    BEFORE[before](store)
    at_first = _facts(store)
    seen = []
    step = 0
    while _crash_at(step, store, WRITES[write]):
        seen.append(_facts(Store.open(store.path)))
        step += 1
    assert step >= (3 if write != "discard" else 0)
    WRITES[write](store)
    at_last = _facts(store)
    for fit_record, evaluation_record in seen:
        assert fit_record in (at_first[0], at_last[0], None if write == "discard" else at_first[0])
        assert evaluation_record in (at_first[1], at_last[1], None)  # a torn pair counts as absent
    leftovers = [path for path in store.path.rglob("*") if path.is_file() and path.suffix == ".tmp"]
    assert all(path.name.startswith(".") for path in leftovers)


@pytest.mark.parametrize("write", [name for name in WRITES if name != "discard"])
def test_full_disk_is_one_clear_line_and_harms_nothing(
    store: Store, write: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    BEFORE["all"](store)
    at_first = _facts(store)

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"no space left on the disk; free some and issue the same command again"):
        WRITES[write](store)
    assert _facts(store) == at_first
    assert not list(store.path.rglob("*.tmp"))


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True
    ).returncode
    if mounted:
        pytest.skip("may not mount a small file system here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_disk_that_is_really_full(tiny_disk: Path) -> None:
    store = Store.open(tiny_disk / "store", create=True)
    store.write_fit(fit())
    with pytest.raises(OSError, match="No space"):
        (tiny_disk / "filler").write_bytes(bytes(64 * 1024))
    for write in (
        lambda: store.write_fit(fit(seed=1)),
        lambda: store.write_evaluation(evaluation(), contingency()),
        lambda: store.claim(spec(2).run_id).__enter__(),
    ):
        with pytest.raises(StoreError, match="space left"):
            write()
    (tiny_disk / "filler").unlink()
    assert store.load_all(verify=True) == [Run(fit(), {})]
    store.write_evaluation(evaluation(), contingency())
    assert store.contingency(RUN, VIEW.view_id) == contingency()


STEPS = st.sampled_from(["done", "not_converged", "failed"])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), STEPS, st.booleans()), max_size=12))
def test_any_history_ends_with_the_last_success_or_the_last_failure(steps: list[tuple[int, str, bool]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(folder, create=True)
        fits: dict[int, str] = {}
        evaluations: dict[int, str] = {}
        failures = 0
        for number, (seed, status, whole) in enumerate(steps):
            history = fits if whole else evaluations
            if whole:
                store.write_fit(fit(seed, status, finished=str(number)))
            else:
                store.write_evaluation(evaluation(seed, status), None if status == "failed" else contingency())
            failures += status == "failed"
            if status != "failed" or history.get(seed, "failed") == "failed":
                history[seed] = status
        runs = {run.fit.spec.seed: run for run in store.load_all(verify=True)}
        assert {seed: run.fit.status for seed, run in runs.items()} == fits
        for seed in range(3):
            found = store.evaluation_record(spec(seed).run_id, VIEW.view_id)
            assert (found.status if found else None) == evaluations.get(seed)
        assert sum(len(store.attempts(run_id)) for run_id in store.runs()) == failures
