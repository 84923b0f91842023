"""bench pack and bench replay: what they print, their exit codes, and commands that a capsule refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_lab import TABLE, Bench, counted
from plan_lab import SMALL, Lab, evaluation_record, fit_record

GRID = "grid.yaml"


@pytest.fixture(autouse=True)
def quick_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spectral_bench.reports.capsule.rendered", lambda _, form: form.encode())


@pytest.fixture
def store(lab: Lab, tmp_path: Path) -> Path:
    """The runs of a small grid, done; its file lies in the working folder."""
    plan = lab.plan(SMALL)
    lab.store.write_manifest(plan.manifest)
    (tmp_path / GRID).write_text(f"data_root: [/home/anna/data]\n{SMALL}")
    for run in plan.runs:
        lab.store.write_fit(fit_record(run.spec))
        facts = {"n_raw_labels": 2, "class_sets": {"2": TABLE}, "default_classes": "2"}
        lab.store.write_evaluation(evaluation_record(run.spec, run.views[0], **facts), counted())
    return lab.out


def test_pack_and_replay(bench: Bench, store: Path) -> None:
    packed = bench("pack", store, "--grid", GRID, "--to", "made/capsule")
    assert (packed.code, packed.err) == (0, "")
    assert packed.out.startswith("made/capsule: 4 runs of ")
    assert packed.out.endswith("compute it again: bench replay made/capsule\n")
    (name,) = json.loads(Path("made/capsule/capsule.json").read_text())["grids"]
    assert "data_root: [/folder-1/data]" in Path(f"made/capsule/grids/{name}.yaml").read_text()
    replayed = bench("replay", "made/capsule")
    assert (replayed.code, replayed.err) == (0, "")
    assert "equal to the byte: " in replayed.out
    assert max(map(len, replayed.out.splitlines())) <= 80


def test_a_difference_is_shown_within_80_columns(bench: Bench, store: Path) -> None:
    bench("pack", "--out", store, "--to", "capsule")
    path = Path("capsule/report/tables/main.csv")
    lines = path.read_text().split("\n")
    path.write_text("\n".join([lines[0], lines[1][:90] + "#" + lines[1][91:], *lines[2:]]))
    result = bench("replay", "--out", "capsule")
    assert result.code == 1
    first, shipped, replayed, *_ = result.out.splitlines()
    assert first == "report/tables/main.csv, line 2: is not what was packed"
    assert "#" in shipped
    assert "#" not in replayed
    assert (shipped[:4], replayed[:4]) == ("  - ", "  + ")
    assert max(map(len, result.out.splitlines())) <= 80
    assert "1 file not equal" in result.out
    told = json.loads(bench("replay", "capsule", "--json").out)
    assert told["equal"] is False
    assert [(one["path"], one["what"], one["line"]) for one in told["differences"]] == [
        ("report/tables/main.csv", "changed", 2)
    ]


def test_other_tables_of_the_same_records_are_told_apart(
    bench: Bench, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where every file is as it was packed, it is the code that words or computes tables otherwise."""
    bench("pack", store, "--to", "capsule")
    monkeypatch.setattr("spectral_bench.reports.capsule.render_macros", lambda tables: "% other words\n")
    result = bench("replay", "capsule")
    assert result.code == 1
    assert "report/numbers.tex, line 1: is computed otherwise now" in result.out
    assert "what the report is computed from is as it was packed; packages are the same" in result.out
    assert "bench pack DIR --to DIR --force" in result.out
    assert bench("pack", "capsule", "--to", "capsule", "--force").code == 0
    assert bench("replay", "capsule").code == 0


def test_json_of_pack(bench: Bench, store: Path) -> None:
    told = json.loads(bench("pack", store, "--to", "capsule", "--json").out)
    head = json.loads(Path("capsule/capsule.json").read_text())
    assert told["files"] == len(head["files"]) + 1
    assert told["bytes"] == sum(path.stat().st_size for path in Path("capsule").rglob("*") if path.is_file())
    assert (told["runs"], told["unfinished"], told["fixed"]) == (4, [], [])
    assert json.loads(bench("replay", "capsule", "--json").out)["digest"] == told["digest"]


def test_runs_that_are_not_finished_are_refused(bench: Bench, lab: Lab) -> None:
    lab.store.write_manifest(lab.plan(SMALL).manifest)
    refused = bench("pack", lab.out, "--to", "capsule")
    assert refused.code == 2
    assert "4 runs not finished" in refused.err
    assert not Path("capsule").exists()
    assert "preliminary: 4 runs not finished" in bench("pack", lab.out, "--to", "capsule", "--unfinished").out
    assert "4 of them not finished" in bench("replay", "capsule").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("pack", "STORE"), "expected the folder of the capsule"),
        (("pack", "STORE", "--out", "x", "--to", "y"), "the folder is given already"),
        (("pack", "nothing", "--to", "y"), "expected a store of results, found nothing"),
        (("pack", "STORE", "--to", GRID), "expected a folder, found a file"),
        (("pack", "STORE", "--to", "y", "--grid", "no.yaml"), "no.yaml"),
        (("pack", "STORE", "--to", "y", "--grid", "no"), 'unknown grid "no"'),
        (("pack", "STORE", "--to", "y", "--matching", "no"), 'unknown matching "no"'),
        (("replay", "STORE"), "expected a capsule"),
        (("replay", GRID), "found a file"),
        (("replay",), "expected a capsule"),
    ],
)
def test_bad_input(bench: Bench, store: Path, arguments: tuple[str, ...], message: str) -> None:
    result = bench(*(store if one == "STORE" else one for one in arguments))
    assert result.code == 2
    assert result.err.startswith("error: ")
    assert message in result.err
    assert not Path("y").exists()


def test_queries_read_it_and_what_would_write_refuses(bench: Bench, store: Path) -> None:
    bench("pack", store, "--grid", GRID, "--to", "capsule")
    before = {path: path.stat().st_mtime_ns for path in [Path("capsule"), *Path("capsule").rglob("*")]}
    run_id = sorted(path.name for path in Path("capsule/records").iterdir())[0]
    for command in (("report",), ("status",), ("why", run_id), ("why", run_id, "--grid"), ("prune",)):
        assert bench(*command, "--out", "capsule").code == 0, command
    assert bench("compare", store, "capsule").code == 0
    for command in (("retry",), ("cancel", "--all"), ("prune", "--yes"), ("predict", run_id, GRID, "--to", "masks")):
        result = bench(*command, "--out", "capsule")
        assert (result.code, "a capsule, which" in result.err) == (2, True), command
    assert {path: path.stat().st_mtime_ns for path in [Path("capsule"), *Path("capsule").rglob("*")]} == before


@pytest.mark.parametrize("change", [("k: 8", "k: 9"), ("seeds: [0, 1]", "seeds: [0]"), ("runs:", "runs:  # a remark")])
def test_a_grid_that_was_changed_since_it_was_run_is_refused(
    bench: Bench, store: Path, change: tuple[str, str]
) -> None:
    text = Path(GRID).read_text()
    assert change[0] in text
    Path(GRID).write_text(text.replace(*change, 1))
    result = bench("pack", store, "--grid", GRID, "--to", "capsule")
    if "#" in change[1]:
        assert result.code == 0
    else:
        assert (result.code, Path("capsule").exists()) == (2, False)
        assert "grid.yaml: its rows (" in result.err
        assert "carry it out by bench run, or give the name" in result.err
