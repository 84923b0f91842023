"""Options, checks and what a launcher shows."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_lab import Lab
from rich.cells import cell_len
from rich.console import Console
from rich.progress import Progress

from spectral_bench.bench.cli.launch import BarWatcher, LineWatcher, watching
from spectral_bench.bench.cli.options import data_roots, find_store, parse_bytes, parse_device, parse_gpus
from spectral_bench.bench.cli.output import aligned, progress_bar, show_table
from spectral_bench.bench.cli.preflight import used_splits
from spectral_bench.bench.executors.jobs import Event
from spectral_bench.common.errors import ConfigError, DataError, StoreError


@given(st.integers(0, 10**6), st.sampled_from([("", 1), ("kB", 10**3), ("GB", 10**9), ("GiB", 2**30), ("tb", 10**12)]))
def test_sizes(number: int, unit: tuple[str, int]) -> None:
    assert parse_bytes(f"{number}{unit[0]}") == number * unit[1]
    assert parse_bytes(f" {number} {unit[0]} ") == number * unit[1]


def test_sizes_with_a_fraction() -> None:
    assert parse_bytes("1.5GB") == 1_500_000_000


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1 gigabyte", "1,5GB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ConfigError, match="--cache-limit"):
        parse_bytes(text)


def test_devices() -> None:
    assert [parse_device(text) for text in ("auto", "cpu", "cuda", "cuda:3")] == ["auto", "cpu", "cuda", "cuda:3"]
    assert parse_gpus("") == ()
    assert parse_gpus("0, 1") == ("0", "1")
    for text in ("0,,1", "0,0", ","):
        with pytest.raises(ConfigError, match="--gpus"):
            parse_gpus(text)


def test_roots_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", "/x:/y")
    assert data_roots([tmp_path], [Path("/z")]).roots == (tmp_path, Path("/x"), Path("/y"), Path("/z"))
    with pytest.raises(DataError, match="no such folder"):
        data_roots([tmp_path / "gone"])


def test_a_store_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert find_store(tmp_path / "gone") is None
    assert find_store(tmp_path) is None
    (tmp_path / "x").write_text("x")
    with pytest.raises(StoreError):
        find_store(tmp_path)
    with pytest.raises(StoreError, match="x: expected a folder, found a file"):
        find_store(tmp_path / "x" / "deep" / "store")


def test_the_splits_of_what_is_left(lab: Lab) -> None:
    text = (
        "{protocols: [whole, {name: fitted, extends: whole, scoring: {fit_split: train}}],"
        " runs: [{method: kmeans}, {method: kmeans, train_dataset: synthetic, dataset: camvid, split: test}]}"
    )
    plan = lab.plan(text)
    assert set(used_splits(plan)) == {
        ("synthetic", "train"),
        ("synthetic", "val"),
        ("camvid", "test"),
        ("camvid", "train"),
    }
    run = plan.runs[0]
    lab.finish(run.spec, tuple(view for view in run.views if view.dataset == "synthetic"))
    assert set(used_splits(lab.plan(text))) == {("camvid", "test"), ("camvid", "train")}


def progress_of(lab: Lab, run_id: str, done: int) -> None:
    folder = lab.store.run_folder(run_id)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "progress.json").write_text(json.dumps({"stage": "fit", "done": done, "total": 60, "updated": 0.0}))


EVENTS = [
    Event("started", "r1"),
    Event("tick"),
    Event("elsewhere", "r2"),
    Event("finished", "r1", "not_converged"),
    Event("finished", "r3", "dependency", "needs r9"),
    Event("stopping", message="waiting"),
]


def test_lines_for_starts_ends_and_now_and_then_progress(
    lab: Lab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spectral_bench.bench.cli.launch.QUIET_S", 0.0)
    progress_of(lab, "r1", 12)
    watch = LineWatcher(lab.store, {"r1": "one", "r2": "two"})
    for event in EVENTS:
        watch(event)
    lines = [line.partition(" UTC ")[2] for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "one: started",
        "one: fit 12 of 60",
        "two: another launcher is at work on it",
        "one: not converged after 0 s (1 of 2)",
        "r3: dependency: needs r9 (2 of 2)",
        "stopping: waiting",
    ]


def test_progress_lines_do_not_flood(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    progress_of(lab, "r1", 12)
    watch = LineWatcher(lab.store, {"r1": "one"})
    watch(EVENTS[0])
    for _ in range(50):
        watch(Event("tick"))
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_bars_on_a_terminal(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spectral_bench.bench.cli.launch.BAR_S", 0.0)
    progress_of(lab, "r1", 12)
    stream = StringIO()
    with Progress(console=Console(file=stream, force_terminal=True, width=100), auto_refresh=False) as progress:
        watch = BarWatcher(lab.store, {"r1": "one", "r2": "two"}, progress)
        for event in EVENTS[:2]:
            watch(event)
        (task,) = [task for task in progress.tasks if task.description == "one: fit"]
        assert (task.completed, task.total) == (12, 60)
        for event in EVENTS[2:]:
            watch(event)
        assert [(task.description, task.completed, task.total) for task in progress.tasks] == [("all runs", 2, 2)]
    assert "needs r9" in stream.getvalue()


def test_lines_where_there_is_no_terminal(lab: Lab) -> None:
    with watching(lab.store, {}) as watch:
        assert isinstance(watch, LineWatcher)
    with watching(lab.store, {}, bars=True) as watch:
        assert isinstance(watch, BarWatcher)


def test_a_line_each_tenth_of_a_long_way_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("reading") as progress:
        for done in range(1, 251):
            progress(done, 250)
        for done in range(1, 51):
            progress(done, 50)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [f"reading: {done}/250" for done in range(25, 251, 25)]


@given(st.lists(st.tuples(st.text("ab é漢", max_size=5), st.integers(-99, 9999)), max_size=5))
def test_columns_line_up_whatever_is_in_them(rows: list[tuple[str, int]]) -> None:
    lines = aligned(("name", "number"), rows, right=("number",))
    assert len(lines) == len(rows) + 1
    assert len({cell_len(line) for line in lines}) == 1
    for line, (_, number) in zip(lines[1:], rows, strict=True):
        assert line.endswith(f" {number}")


def test_states_are_coloured_on_a_terminal_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    show_table(("state", "run"), [("failed", "r1"), ("new", "r2")])
    assert capsys.readouterr().out == "state   run\nfailed  r1\nnew     r2\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    show_table(("state", "run"), [("failed", "r1"), ("new", "r2")])
    heading, failed, new = capsys.readouterr().out.splitlines()
    assert failed.startswith("\x1b[31mfailed\x1b[0m  r1")
    assert new.rstrip() == "new     r2"
    assert heading.startswith("\x1b[1m")
