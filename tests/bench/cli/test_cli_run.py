"""From a grid to its tables, with an executor that only pretends: what is carried out, resumed, retried, reported."""

from __future__ import annotations

import errno
import json
import sys
from importlib.machinery import ModuleSpec
from typing import Any

import pytest
from cli_lab import Bench, FakeExecutor, Launcher
from plan_lab import CODE, SMALL, Lab, fit_record

from spectral_bench.bench.cli.output import command
from spectral_bench.bench.work.order import Execution
from spectral_bench.results.store import Store

BASES = "{name: bases, defaults: {subset: 16, params: {k: 8}}, runs: [{method: neuralef_kmeans}, {method: kmeans}]}"


def test_a_grid_becomes_records_a_manifest_and_a_table(launch: Launcher, lab: Lab) -> None:
    result, executor = launch()
    assert result.code == 0
    assert executor.carried_out == [run.run_id for run in lab.plan().runs]
    assert [manifest.name for manifest in lab.store.manifests()] == ["small"]
    assert "efficientnet_lite0" in lab.store.weights_lock()
    assert "small: 4 runs: 4 new" in result.out
    assert "kmeans, input=last_l2" in result.out
    assert "| configuration" in result.out
    assert "(4 of 4)" in result.out


def test_the_same_command_does_nothing_twice(launch: Launcher, lab: Lab) -> None:
    launch()
    before = {path: path.read_bytes() for path in lab.out.rglob("*") if path.is_file() and path.parent.name != "grids"}
    result, executor = launch()
    assert result.code == 0
    assert executor.carried_out == []
    assert "4 done" in result.out
    assert "| configuration" in result.out
    after = {path: path.read_bytes() for path in lab.out.rglob("*") if path.is_file() and path.parent.name != "grids"}
    assert after == before


@pytest.mark.parametrize(
    ("change", "fits", "views"),
    [
        ("seeds=[0, 1, 2]", 2, 1),
        ("input=[last, last_l2, all_standardised_l2]", 2, 1),
        ("protocols=[whole, centre320]", 0, 2),
    ],
)
def test_more_seeds_rows_or_protocols_extend_what_is_there(
    launch: Launcher, lab: Lab, change: str, fits: int, views: int
) -> None:
    launch()
    known = set(lab.store.runs())
    result, executor = launch(SMALL, "--set", change)
    assert result.code == 0
    assert len(set(executor.carried_out) - known) == fits
    if not fits:
        assert set(executor.carried_out) == known
    assert all(len(order.views) == views for order in executor.orders)
    assert "| configuration" in result.out


def test_failed_runs_are_told_and_tried_again_alone(launch: Launcher, lab: Lab) -> None:
    text = "{name: two, defaults: {subset: 16, params: {k: 8}}, runs: [{method: kmeans}, {method: neuralef}]}"
    result, _ = launch(text, kmeans=("exception", "ValueError: it broke\nat length"))
    assert result.code == 1
    (line,) = [line for line in result.errors if line.startswith("failed: ")]
    assert "kmeans, seed 0: exception: ValueError: it broke" in line
    assert "Traceback" not in result.err
    again, executor = launch(text)
    assert again.code == 0
    assert [run_id.partition("-")[0] for run_id in executor.carried_out] == ["kmeans"]
    assert "1 failed run to try again" in again.out


@pytest.mark.parametrize("kind", ["data", "store"])
def test_what_the_user_can_mend_is_bad_input_and_said_once(launch: Launcher, kind: str) -> None:
    result, _ = launch(kmeans=(kind, "/data/x.png: corrupt"))
    assert result.code == 2
    assert [line for line in result.errors if line.startswith("error: ")] == ["error: /data/x.png: corrupt"]


HALF = """{name: half, defaults: {subset: 16, params: {k: 8}, precision: bfloat16}, runs: [
    {method: kmeans}, {method: linear_probe, params: {k: 12}},
    {name: discrete, method: neuralef}, {name: hidden, method: neuralef_kmeans}]}"""


@pytest.fixture
def in_software(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spectral_bench.bench.run.context.torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("spectral_bench.bench.cli.preflight.software_bfloat16", lambda: True)


@pytest.mark.usefixtures("in_software")
def test_bfloat16_in_software_is_warned_of_for_what_is_left_to_train(launch: Launcher) -> None:
    (line,) = [line for line in launch(HALF)[0].errors if "bfloat16" in line]
    assert line.startswith("warning: precision bfloat16 (discrete): ")
    assert "bfloat16" not in launch(HALF)[0].err, "all is trained"
    assert "bfloat16" not in launch(HALF, "--dry-run", "--set", "precision=float32")[0].err


@pytest.mark.usefixtures("in_software")
def test_a_warning_of_bfloat16_stays_short(launch: Launcher) -> None:
    text = "{name: many, defaults: {precision: bfloat16}, runs: [{method: spin, matrix: {k: [4, 5, 6, 7, 8]}}]}"
    assert "(spin, k=4, spin, k=5, spin, k=6 and 2 more)" in launch(text, "--dry-run")[0].err


@pytest.mark.usefixtures("in_software")
def test_processors_and_devices_that_bfloat16_is_not_warned_of(
    launch: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "bfloat16" in launch(HALF, "--dry-run", "--device", "cpu")[0].err
    monkeypatch.setattr("spectral_bench.bench.run.context.torch.cuda.is_available", lambda: True)
    assert "bfloat16" not in launch(HALF, "--dry-run")[0].err, "it runs on a GPU"
    assert "bfloat16" in launch(HALF, "--dry-run", "--device", "cpu")[0].err
    monkeypatch.setattr("spectral_bench.bench.cli.preflight.software_bfloat16", lambda: False)
    assert "bfloat16" not in launch(HALF, "--dry-run", "--device", "cpu")[0].err


@pytest.mark.parametrize(
    ("called", "module", "said"),
    [
        ("/somewhere/bin/bench", None, "bench run 'a b'"),
        ("spectral-bench", None, "spectral-bench run 'a b'"),
        ("/spectral_bench/bench/__main__.py", "bench.__main__", "python -m bench run 'a b'"),
        (
            "/lib/spectral_bench/bench/__main__.py",
            "spectral_bench.bench.__main__",
            "python -m spectral_bench.bench run 'a b'",
        ),
        ("/here/own.py", None, "python -m bench run 'a b'"),
    ],
)
def test_how_to_go_on_is_said_as_the_command_was_called(
    monkeypatch: pytest.MonkeyPatch, called: str, module: str | None, said: str
) -> None:
    monkeypatch.setattr(sys, "argv", [called])
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None if module is None else ModuleSpec(module, None))
    assert command("run", "a b") == said


def test_a_stopped_launch_says_how_to_go_on(launch: Launcher, lab: Lab) -> None:
    result, executor = launch(SMALL, "--set", "note=a b", kmeans="pending")
    assert result.code == 1
    assert executor.carried_out == []
    assert "4 runs left; go on with:" in result.out
    assert f"python -m bench run --grid {lab.folder / 'g.yaml'} --out {lab.out} --set 'note=a b'" in result.out
    assert launch()[0].code == 0


def test_a_base_comes_first_and_is_not_done_twice(launch: Launcher, lab: Lab) -> None:
    result, executor = launch(BASES)
    assert result.code == 0
    assert [order.spec.method for order in executor.orders] == ["neuralef", "neuralef_kmeans", "kmeans"]
    assert [len(order.views) for order in executor.orders] == [0, 1, 1]
    assert executor.orders[1].requires == executor.orders[0].spec.run_id
    _, again = launch(BASES, "--set", "runs[0].params.max_patches=99")
    assert [order.spec.method for order in again.orders] == ["neuralef_kmeans"]
    assert again.orders[0].requires == executor.orders[0].spec.run_id


def test_orders_lie_beside_the_records_and_carry_the_execution(launch: Launcher, lab: Lab) -> None:
    _, executor = launch(SMALL, "--threads", 3, "--workers", 0, "--device", "cpu", "--cache-limit", "2 GB")
    order = executor.orders[0]
    assert (order.execution.threads, order.execution.workers, order.execution.device) == (3, 0, "cpu")
    assert order.execution.cache_limit == 2 * 10**9
    assert order.store == lab.out
    folder = lab.store.run_folder(order.spec.run_id)
    (written,) = folder.glob("order-*.json")
    assert json.loads(written.read_text())["spec"]["method"] == "kmeans"


def test_data_roots_are_the_options_then_the_variables_then_the_grids(
    launch: Launcher, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        (lab.folder / name).mkdir()
    monkeypatch.setenv("BENCH_DATA", f"{lab.folder / 'b'}:{lab.folder / 'c'}")
    text = "{data_root: own, defaults: {subset: 8}, runs: [{method: kmeans}]}"
    _, executor = launch(text, "--data-root", lab.folder / "a")
    assert [path.name for path in executor.orders[0].data_roots] == ["a", "b", "c", "own"]
    assert all(path.is_absolute() for path in executor.orders[0].data_roots)


def test_a_dry_run_checks_all_and_writes_nothing(launch: Launcher, lab: Lab) -> None:
    result, executor = launch(SMALL, "--dry-run")
    assert result.code == 0
    assert executor.carried_out == []
    assert "small: 4 runs: 4 new" in result.out
    assert [path.name for path in lab.folder.iterdir() if path != lab.out] == ["g.yaml"]


def test_stale_runs_are_kept_and_told_until_they_are_asked_for(launch: Launcher, lab: Lab) -> None:
    for run in lab.plan().runs[:1]:
        lab.finish(run.spec, run.views, code=CODE)
    stale = lab.plan().runs[0].run_id
    result, executor = launch()
    assert result.code == 0
    assert "1 run done with code or data that has changed since; --rerun-stale does such runs again" in result.out
    assert stale not in executor.carried_out
    _, again = launch(SMALL, "--rerun-stale")
    assert again.carried_out == [stale]


def test_a_run_that_did_not_converge_is_not_done_again(launch: Launcher, lab: Lab) -> None:
    first = lab.plan().runs[0]
    lab.finish(first.spec, first.views, status="not_converged", code={})
    result, executor = launch()
    assert result.code == 0
    assert first.run_id not in executor.carried_out


def test_an_evaluation_that_failed_is_done_again_without_the_fit(launch: Launcher, lab: Lab) -> None:
    from plan_lab import failure

    first = lab.plan().runs[0]
    lab.store.write_fit(fit_record(first.spec, code={}, warnings=["kept"]))
    lab.evaluate(first.spec, first.views[0], status="failed", failure=failure())
    result, executor = launch()
    assert result.code == 0
    assert first.run_id in executor.carried_out
    record = lab.store.fit_record(first.run_id)
    assert record is not None
    assert record.warnings == ["kept"]


def test_weights_that_are_not_here_are_fetched_before_anything_is_planned(
    launch: Launcher, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests: list[str | None] = [None]
    fetched: list[str] = []

    def fetch(wanted: Any) -> None:
        fetched.extend(backbone.name for backbone in wanted)
        digests[0] = "00112233"

    monkeypatch.setattr("spectral_bench.bench.plan.inputs.weights_digest", lambda name, options: digests[0])
    monkeypatch.setattr("spectral_bench.bench.cli.run.fetch_weights", fetch)
    result, executor = launch()
    assert result.code == 0
    assert fetched == ["efficientnet_lite0"]
    assert {order.spec.backbone.weights for order in executor.orders} == {"00112233"}


VIT = SMALL + "  - {method: kmeans, backbone: vit_small_patch16_384}\n"


def test_a_hub_that_does_not_answer_fails_a_launch_once_and_at_once(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, launch: Launcher
) -> None:
    """Weights that the store knows and this machine lacks: no run is begun that would have to ask for them."""
    asked: list[str] = []

    def unreachable(url: str, **options: Any) -> None:
        asked.append(url)
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", unreachable)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(lab.folder / "hub"))
    lab.store.lock_weights("vit_small_patch16_384", "0011223344556677")
    lab.write(VIT)
    result, executor = launch(text=VIT)
    assert result.code == 2
    assert executor.orders == []
    assert len(asked) == 1
    (line,) = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert "looked for in" in line
    assert "models--timm--vit_small_patch16_384.augreg_in21k_ft_in1k" in line
    assert "ConnectionError: Name or service not known" in line
    assert "HF_HUB_OFFLINE=1" in line


def test_weights_of_features_that_are_there_are_not_asked_for(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from spectral_bench.bench.cli.preflight import absent_weights
    from spectral_bench.bench.plan.estimate import wanted_caches

    monkeypatch.setattr("spectral_bench.bench.cli.preflight.weights_digest", lambda name, options: None)
    plan = lab.plan()
    assert [backbone.name for backbone in absent_weights(plan, here=True)] == ["efficientnet_lite0"]
    assert absent_weights(plan, here=False) == []
    for cache in wanted_caches(plan.runs[0].spec, fitted=False, missing=plan.runs[0].views):
        folder = lab.out / "features" / cache.key
        folder.mkdir(parents=True)
        (folder / "meta.json").write_text("{}")
    assert absent_weights(plan, here=True) == []


def test_executors_by_name(lab: Lab) -> None:
    from spectral_bench.bench.cli.run import make_executor
    from spectral_bench.common.errors import ConfigError

    assert make_executor(Execution(executor="inline"), lab.store, None, ()).name == "inline"
    assert make_executor(Execution(executor="local"), lab.store, 2, ("0", "1")).name == "local"
    with pytest.raises(ConfigError, match="--jobs 3: more than the 2 devices"):
        make_executor(Execution(executor="local"), lab.store, 3, ("0", "1"))


@pytest.mark.parametrize(
    ("devices", "jobs", "count", "torch", "at_once"),
    [
        (["auto"] * 4, 2, 2, "2.11.0+cu130", 2),
        (["cuda", "cpu", "cuda"], 9, 4, "2.11.0", 2),
        (["auto"] * 4, None, 2, "2.11.0", None),  # one run at a time
        (["auto"], 4, 2, "2.11.0", None),
        (["auto"] * 4, 2, 1, "2.11.0", None),  # there is no other GPU
        (["auto"] * 4, 2, 2, "2.11.0+cpu", None),  # nor would one be used
        (["cpu"] * 4, 2, 2, "2.11.0", None),
        (["cuda:1"] * 4, 2, 2, "2.11.0", None),  # as asked
    ],
)
def test_runs_that_crowd_on_one_of_several_gpus_are_warned_of(
    monkeypatch: pytest.MonkeyPatch, devices: list[str], jobs: int | None, count: int, torch: str, at_once: int | None
) -> None:
    from spectral_bench.bench.cli.preflight import shared_gpu

    here = {"gpus": [{}] * count, "packages": {"torch": torch}}
    monkeypatch.setattr("spectral_bench.bench.cli.preflight.environment", lambda: here)
    warning = shared_gpu(devices, jobs)
    if at_once is None:
        assert warning is None
    else:
        assert warning is not None
        assert warning.startswith(f"{at_once} runs at a time share the first of {count} GPUs; --gpus ")


def test_crowding_is_warned_of_before_a_run_and_in_a_dry_one(launch: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"gpus": [{}] * 2, "packages": {"torch": "2.11.0"}}
    monkeypatch.setattr("spectral_bench.bench.cli.preflight.environment", lambda: here)
    assert "2 runs at a time share the first" in launch(SMALL, "--dry-run", "--jobs", 2)[0].err
    assert "share the first" not in launch(SMALL, "--dry-run")[0].err
    assert "share the first" not in launch(SMALL, "--dry-run", "--jobs", 2, "--device", "cpu")[0].err


@pytest.mark.parametrize(
    ("block", "options", "jobs"),
    [
        ("{}", (), None),
        ("{jobs: 2}", (), 2),
        ("{jobs: 2}", ("--jobs", "5"), 5),
        ("{jobs: 2}", ("--executor", "inline"), None),
        ("{jobs: 2}", ("--gpus", "0"), None),
    ],
)
def test_a_grid_may_say_how_many_runs_suit_it_at_a_time(
    bench: Bench, lab: Lab, monkeypatch: pytest.MonkeyPatch, block: str, options: tuple[str, ...], jobs: int | None
) -> None:
    asked: list[int | None] = []

    def make(execution: Execution, store: Store, jobs: int | None, gpus: tuple[str, ...]) -> FakeExecutor:
        asked.append(jobs)
        return FakeExecutor(store)

    monkeypatch.setattr("spectral_bench.bench.cli.run.make_executor", make)
    monkeypatch.setattr("spectral_bench.bench.cli.preflight.usable_gpus", len)
    grid = lab.write(SMALL + f"executor: {block}\n")
    assert bench("run", "--grid", grid, "--out", lab.out, *options).code == 0
    assert asked == [jobs]


@pytest.mark.parametrize("value", ["0", "many", "true", "1.5"])
def test_a_number_of_runs_that_is_none(bench: Bench, lab: Lab, value: str) -> None:
    result = bench("run", "--grid", lab.write(SMALL + f"executor: {{jobs: {value}}}\n"), "--out", lab.out)
    assert result.code == 2
    assert "g.yaml:5: executor.jobs: expected" in result.err
    assert not lab.out.exists()


def test_a_full_disk_is_one_line(launch: Launcher, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    launch(SMALL, "--set", "runs[0].matrix.input=[last]")
    before = {path: path.read_bytes() for path in lab.out.rglob("*.json")}
    monkeypatch.setattr("spectral_bench.common.files.os.fsync", full)
    result, _ = launch()
    assert result.code == 2
    assert len(result.errors) == 1
    assert "no space left" in result.err
    assert {path: path.read_bytes() for path in lab.out.rglob("*.json")} == before
