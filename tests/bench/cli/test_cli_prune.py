"""prune and retry: what no grid asks for any more, what failed, and caches that nothing reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_lab import Bench, FakeExecutor, Launcher
from plan_lab import SMALL, Lab, failure, fit_record

from spectral_bench.bench.cli import prune as pruning
from spectral_bench.bench.cli.launch import write_job
from spectral_bench.bench.plan.states import Plan, plan_orders
from spectral_bench.bench.work.order import Execution, order_files
from spectral_bench.common.locks import hold
from spectral_bench.results.claims import is_launched, launching


def ordered(lab: Lab, text: str = SMALL, *changes: str) -> Plan:
    """A plan that was launched: its manifest and its orders are in the store."""
    plan = lab.plan(text, *changes)
    lab.store.write_manifest(plan.manifest)
    for order in plan_orders(plan, Execution(), ()):
        write_job(order, lab.store)
    return plan


@pytest.fixture
def shrunk(lab: Lab) -> tuple[Plan, Plan]:
    """A grid of two seeds that was launched, then launched with one: the second seed's two orders are abandoned."""
    return ordered(lab), ordered(lab, SMALL, "seeds=[0]")


def items(bench: Bench, lab: Lab, *options: str) -> dict[str, dict[str, object]]:
    found = json.loads(bench("prune", "--out", lab.out, "--json", *options).out)
    return {item["name"]: item for item in found["items"]}


def dropped(shrunk: tuple[Plan, Plan]) -> set[str]:
    return {run.run_id for run in shrunk[0].runs} - {run.run_id for run in shrunk[1].runs}


def test_abandoned_orders_are_shown_and_then_removed(bench: Bench, lab: Lab, shrunk: tuple[Plan, Plan]) -> None:
    found = items(bench, lab)
    assert found.keys() == dropped(shrunk)
    assert all(item["kind"] == "abandoned" and int(str(item["bytes"])) > 500 for item in found.values())
    assert "2 things of" in bench("prune", "--out", lab.out).out
    assert set(lab.store.runs()) == {run.run_id for run in shrunk[0].runs}
    assert "removed 2 things" in bench("prune", "--out", lab.out, "--yes").out
    assert set(lab.store.runs()) == {run.run_id for run in shrunk[1].runs}
    assert not (lab.out / pruning.ASIDE).exists()
    assert bench("prune", "--out", lab.out).out == "nothing to remove\n"


def test_what_is_finished_or_at_work_stays(bench: Bench, lab: Lab, shrunk: tuple[Plan, Plan]) -> None:
    done, busy = sorted(dropped(shrunk))
    spec = next(run.spec for run in shrunk[0].runs if run.run_id == done)
    lab.store.write_fit(fit_record(spec))
    with lab.store.claim(busy):
        assert items(bench, lab, "--yes") == {}
    assert {done, busy} <= set(lab.store.runs())
    assert items(bench, lab).keys() == {busy}


def test_orders_that_a_launcher_has_in_hand_stay(bench: Bench, lab: Lab, shrunk: tuple[Plan, Plan]) -> None:
    with launching(lab.store.path):
        assert is_launched(lab.store.path)
        found = json.loads(bench("prune", "--out", lab.out, "--json", "--yes").out)
        assert found["items"] == []
        assert found["kept"][0].startswith("2 abandoned runs left alone: bench run is at work on this store")
    assert not is_launched(lab.store.path)
    assert dropped(shrunk) <= set(lab.store.runs())


def test_a_run_that_finishes_after_it_was_shown_stays(lab: Lab, shrunk: tuple[Plan, Plan]) -> None:
    found, _ = pruning.leftovers(lab.store)
    finished = next(run for run in shrunk[0].runs if run.run_id == found[0].name)
    lab.store.write_fit(fit_record(finished.spec))
    gone = pruning.removed(lab.store, found)
    assert [item.name for item in gone] == [found[1].name]
    assert lab.store.fit_record(finished.run_id) is not None


def test_a_failed_run_that_is_asked_for_keeps_its_order(bench: Bench, lab: Lab) -> None:
    plan = ordered(lab)
    failed = plan.runs[0]
    lab.store.write_fit(fit_record(failed.spec, "failed", failure=failure()))
    (lab.store.run_folder(failed.run_id) / "checkpoint.pt").write_bytes(b"x" * 10)
    found = items(bench, lab)
    assert found[failed.run_id]["reason"] == "exception: it broke"
    bench("prune", "--out", lab.out, "--yes", "--only", "failed")
    assert order_files(lab.store.run_folder(failed.run_id))
    assert lab.store.fit_record(failed.run_id) is None
    assert lab.store.attempts(failed.run_id) == []
    assert not lab.store.has_checkpoint(failed.run_id)


def test_a_kill_in_between_leaves_a_valid_store(
    bench: Bench, lab: Lab, shrunk: tuple[Plan, Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", killed)
        assert bench("prune", "--out", lab.out, "--yes").code == 1
    assert set(lab.store.runs()) == {run.run_id for run in shrunk[1].runs}
    assert {item["kind"] for item in items(bench, lab).values()} == {"leftovers"}
    bench("prune", "--out", lab.out, "--yes")
    assert not (lab.out / pruning.ASIDE).exists()


def write_cache(lab: Lab, key: str, *, whole: bool = True) -> Path:
    folder = lab.store.features_folder / key
    folder.mkdir(parents=True)
    (folder / "level0.bin").write_bytes(b"x" * 1000)
    if whole:
        (folder / "meta.json").write_text("{}")
    return folder


def test_caches_that_no_run_of_a_grid_reads(bench: Bench, lab: Lab) -> None:
    plan = ordered(lab)
    from spectral_bench.bench.plan.estimate import wanted_caches

    run = plan.runs[0]
    used = [wanted.key for wanted in wanted_caches(run.spec, fitted=False, missing=run.views)]
    folders = [write_cache(lab, key) for key in (*used, "0" * 16)]
    torn = write_cache(lab, "1" * 16, whole=False)
    found = items(bench, lab, "--only", "features")
    assert {name: item["reason"] for name, item in found.items()} == {
        "0" * 16: "no run of a grid reads it",
        "1" * 16: "half-written",
    }
    with hold(lab.store.features_folder / f"{torn.name}.lock", wait=1):  # its writer is at work
        assert "1 in use by now, left alone" in bench("prune", "--out", lab.out, "--only", "features", "--yes").out
    assert torn.exists()
    assert [folder.exists() for folder in folders] == [True] * len(used) + [False]


def test_eigenspaces_go_once_all_is_done(bench: Bench, lab: Lab) -> None:
    plan = ordered(lab)
    lab.store.eigenspaces_folder.mkdir()
    (lab.store.eigenspaces_folder / "a.npz").write_bytes(b"x" * 10)
    assert items(bench, lab, "--only", "eigenspaces") == {}
    for run in plan.runs:
        lab.finish(run.spec, run.views, code={})
    assert items(bench, lab, "--only", "eigenspaces")["eigenspaces"]["bytes"] == 10
    bench("prune", "--out", lab.out, "--yes")
    assert not list(lab.store.eigenspaces_folder.iterdir())


def test_an_unknown_kind_is_refused(bench: Bench, lab: Lab) -> None:
    lab.store.write_manifest(lab.plan().manifest)
    result = bench("prune", "--out", lab.out, "--only", "faild")
    assert (result.code, result.out) == (2, "")
    assert 'unknown kind "faild"; did you mean "failed"?' in result.err


def test_retry_leaves_abandoned_runs_alone(
    bench: Bench, lab: Lab, shrunk: tuple[Plan, Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    monkeypatch.setattr(
        "spectral_bench.bench.cli.retry._carry_out",
        lambda store, executor, chosen, titles: tried.extend(job.run_id for job, _ in chosen) or 0,
    )
    result = bench("retry", "--out", lab.out)
    assert set(tried) == {run.run_id for run in shrunk[1].runs}
    assert result.err.startswith("warning: 2 unfinished runs no grid asks for any more: left alone; name them or give")
    tried.clear()
    bench("retry", "--out", lab.out, "--abandoned")
    assert set(tried) == {run.run_id for run in shrunk[0].runs}
    tried.clear()
    one = min(dropped(shrunk))
    bench("retry", one, "--out", lab.out)
    assert tried == [one]
    tried.clear()
    bench("retry", lab.write(SMALL), "--out", lab.out)
    assert set(tried) == {run.run_id for run in shrunk[1].runs}
    assert bench("retry", lab.write(SMALL), "--grid", "small", "--out", lab.out).code == 2


@pytest.mark.parametrize(
    ("ending", "code", "said"),
    [
        (("data", "x.png: corrupt"), 2, "error: x.png: corrupt"),
        (("exception", "ValueError: no"), 1, "failed: kmeans, input=last, seed 0: exception: ValueError: no"),
    ],
)
def test_retry_ends_as_run_does(
    launch: Launcher,
    bench: Bench,
    lab: Lab,
    monkeypatch: pytest.MonkeyPatch,
    ending: tuple[str, str],
    code: int,
    said: str,
) -> None:
    first, _ = launch(SMALL, kmeans=ending)
    monkeypatch.setattr(
        "spectral_bench.bench.cli.retry.make_executor",
        lambda execution, store, jobs, gpus: FakeExecutor(store, {"kmeans": ending}),
    )
    again = bench("retry", "--out", lab.out)
    assert (first.code, again.code) == (code, code)
    for result in (first, again):
        lines = [line for line in result.errors if not line.startswith("warning: ")]
        assert lines[0] == said


def test_a_fit_that_others_start_from_is_not_abandoned(bench: Bench, lab: Lab) -> None:
    plan = ordered(lab, "{name: two, runs: [{method: neuralef_kmeans, params: {steps: 2}}]}")
    base = next(run for run in plan.runs if not run.asked_for)
    assert base.run_id in lab.store.runs()
    assert items(bench, lab) == {}


def test_titles_and_seeds_of_abandoned_runs(bench: Bench, lab: Lab, shrunk: tuple[Plan, Plan]) -> None:
    found = json.loads(bench("status", "--out", lab.out, "--json").out)
    left = [run for run in found if run["run_id"] in dropped(shrunk)]
    assert [(run["title"], run["seed"], run["params"]["k"]) for run in left] == [("kmeans", 1, 8)] * 2
    assert {run["reason"] for run in left} == {"ordered, not begun, and no grid asks for it any more: see bench prune"}
    assert "2 unfinished runs that no grid asks for any more" in bench("status", "--out", lab.out, "--no-list").out
