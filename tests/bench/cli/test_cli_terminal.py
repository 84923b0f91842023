"""What a terminal gets: tables that fit it, short ids, status as a summary; and filters, which hold everywhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cli_lab import TABLE, Bench, Result, counted
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from plan_lab import SMALL, Lab, cost, evaluation_record, failure, fit_record
from rich.cells import cell_len

from spectral_bench.bench.cli import output
from spectral_bench.bench.cli.options import find_run, short_ids
from spectral_bench.bench.cli.output import fitted
from spectral_bench.bench.cli.runs import parse_where
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.files import write_bytes
from spectral_bench.common.names import duration


@pytest.fixture
def terminal(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Runs a command as on a terminal of 80 columns; colours are taken off what it prints."""
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments: object) -> Result:
        with monkeypatch.context() as patched:
            for name in ("listing", "options", "report", "status", "launch", "output"):  # those import from the last
                patched.setattr(f"spectral_bench.bench.cli.{name}.on_terminal", lambda: True)
            result = bench(*arguments)
        return Result(result.code, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", result.out), result.err)

    return call


@pytest.fixture
def mixed(lab: Lab) -> Lab:
    """Four runs: one done, one failed, two that are not begun."""
    plan = lab.plan()
    lab.store.write_manifest(plan.manifest)
    done, failed = plan.runs[0], plan.runs[1]
    fitted_in = cost("fit", 60).model_copy(update={"items": 8})
    lab.store.write_fit(fit_record(done.spec, code={}, costs=[cost("features", 20), fitted_in]))
    record = evaluation_record(
        done.spec, done.views[0], code={}, n_raw_labels=2, class_sets={"2": TABLE}, default_classes="2"
    )
    lab.store.write_evaluation(
        record.model_copy(update={"costs": [cost("features", 10), cost("evaluate", 30)]}), counted()
    )
    lab.store.write_fit(fit_record(failed.spec, "failed", failure=failure(message="it broke " * 30)))
    return lab


COMMANDS = (
    ["status", "--list"],
    ["plan", "g.yaml"],
    ["report"],
    ["list", "methods"],
    ["list", "methods", "spin"],
    ["list", "datasets"],
    ["list", "backbones"],
    ["list", "backbones", "dino"],
    ["list", "protocols"],
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_line_is_wider_than_the_terminal(terminal: Bench, mixed: Lab, command: list[str]) -> None:
    store = [] if command[0] == "list" else ["--out", mixed.out]
    result = terminal(*command, *store)
    assert result.code == 0
    assert max(cell_len(line.rstrip()) for line in result.out.splitlines()) <= 80
    assert len(result.out.splitlines()) > 3


def test_what_data_init_could_not_decide_is_broken_between_words(
    terminal: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for index, size in enumerate(((8, 16), (16, 8))):
        Image.new("RGB", size).save(tmp_path / "photos" / f"{index}.png")
    result = terminal("data", "init", "photos")
    assert "not decided: without labels nothing can be scored" in result.out
    assert max(map(len, result.out.splitlines())) <= 80


def test_status_sums_up_first(terminal: Bench, mixed: Lab) -> None:
    text = terminal("status", "--out", mixed.out).out
    assert text.startswith("4 runs of small: ")
    assert "1 done" in text.splitlines()[0]
    assert "did not end well" in text
    assert text.index("did not end well") < text.index("kmeans, input=last_l2")  # few runs are listed, too
    assert "it broke it broke" in text


def test_status_says_where_no_run_fits(terminal: Bench, mixed: Lab) -> None:
    text = terminal("status", "--out", mixed.out, "--where", "k=99").out
    assert " ".join(text.split()) == f"{mixed.out}: none of its runs fits"


def test_many_runs_are_listed_on_request(terminal: Bench, lab: Lab) -> None:
    plan = lab.plan(SMALL, f"seeds={list(range(15))}")
    lab.store.write_manifest(plan.manifest)
    text = terminal("status", "--out", lab.out).out
    assert text.splitlines() == [
        "30 runs of small: 30 new",
        "--list shows every run; --state failed or --where k=32,method=spin show some",
    ]
    assert len(terminal("status", "--out", lab.out, "--list").out.splitlines()) > 30
    assert len(terminal("status", "--out", lab.out, "--where", "seed=3").out.splitlines()) == 5
    assert terminal("status", "--out", lab.out, "--no-list").out == "30 runs of small: 30 new\n"


def test_elsewhere_status_prints_the_list_alone(bench: Bench, mixed: Lab) -> None:
    lines = bench("status", "--out", mixed.out).out.splitlines()
    assert lines[0].split() == ["state", "progress", "grid", "row", "seed", "run", "note"]
    assert lines[-1].startswith("4 runs: 1 done")
    assert bench("status", "--out", mixed.out, "--no-list").out.startswith("4 runs of small: 1 done")
    assert bench("status", "--out", mixed.out, "--where", "k=9").out.splitlines()[-1] == "0 runs"


def test_time_left_is_what_plan_predicts(bench: Bench, mixed: Lab) -> None:
    predicted = json.loads(bench("plan", "g.yaml", "--out", mixed.out, "--json").out)["seconds"]
    assert predicted == 3 * (60 + 30) + 20 + 10  # three runs, the first of which extracts features
    text = bench("status", "--out", mixed.out, "--no-list").out
    assert f"time left, as plan predicts: {duration(predicted)} on one worker\n" in text


def test_time_left_of_a_run_at_work_is_that_of_its_remaining_steps(bench: Bench, mixed: Lab) -> None:
    left = mixed.plan().runs[2:]
    said = json.dumps({"stage": "fit", "done": 30, "total": 40, "updated": 0.0})
    write_bytes(mixed.store.run_folder(left[0].run_id) / "progress.json", said.encode())
    with mixed.store.claim(left[0].run_id):
        text = bench("status", "--out", mixed.out, "--no-list", "--where", "input=last").out
    assert f"time left, as plan predicts: {15 + 30 + 20 + 10} s on one worker\n" in text


def test_time_left_leaves_out_runs_of_which_nothing_is_known(bench: Bench, lab: Lab, mixed: Lab) -> None:
    other = lab.plan("{name: other, runs: [{method: kmeans, dataset: camvid}]}")
    lab.store.write_manifest(other.manifest)
    text = bench("status", "--out", lab.out, "--no-list").out
    assert "5 min on one worker, without 1 run of a kind not seen before\n" in text
    assert "time left" not in bench("status", "--out", lab.out, "--no-list", "--grid", "other").out


def test_short_ids_are_taken_by_commands(terminal: Bench, bench: Bench, mixed: Lab) -> None:
    run_id = mixed.plan().runs[0].run_id
    short = run_id.rpartition("-")[2][:6]
    assert f"  {short}" in terminal("status", "--out", mixed.out).out
    assert run_id not in terminal("status", "--out", mixed.out).out
    assert run_id in bench("status", "--out", mixed.out).out
    assert bench("why", short, "--out", mixed.out).out.startswith(run_id)
    assert bench("why", short[:3], "--out", mixed.out).code == 2  # too short to be a hash


@given(st.lists(st.text("0123456789abcdef", min_size=12, max_size=12), max_size=20, unique=True))
def test_short_ids_name_one_run_each(hashes: list[str]) -> None:
    ids = [f"kmeans-s0-{digits}" for digits in hashes]
    short = short_ids(ids)
    assert len(set(short.values())) == len(ids)
    for run_id, begin in short.items():
        assert [one for one in ids if one == begin or one.rpartition("-")[2].startswith(begin)] == [run_id]


def test_a_method_that_is_called_like_a_hash_is_not_mistaken(lab: Lab) -> None:
    names = ["facade-s0-000000000001", "kmeans-s0-facade000000"]
    for name in names:
        lab.store.run_folder(name).mkdir(parents=True)
    assert len(short_ids(names)[names[1]]) == 7
    assert find_run(lab.store, "facade") == names[0]
    assert find_run(lab.store, "facade0") == names[1]


WHERE = (
    ("k=8", 4),
    ("k=9", 0),
    ("input=last", 2),
    ("input=last*", 4),
    ("input=last,seed=1", 1),
    ("method=km*", 4),
    ("state=failed", 1),
    ("params.k=8,grid=small", 4),
    ("protocol=whole", 4),
    ("dataset=synthetic,backbone=efficientnet_lite0", 4),
)


@pytest.mark.parametrize(("where", "count"), WHERE)
def test_where_chooses_runs(bench: Bench, mixed: Lab, where: str, count: int) -> None:
    found = json.loads(bench("status", "--out", mixed.out, "--json", "--where", where).out)
    assert len(found) == count


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("kk=8", '--where: unknown key "kk"; did you mean "k"?'),
        ("k", '--where: expected KEY=VALUE such as k=32 or method=spin, got "k"'),
        ("k=8,", '--where: expected KEY=VALUE such as k=32 or method=spin, got ""'),
        ("state=faild", '--where state: unknown state "faild"; did you mean "failed"?'),
        ("k={", "--where k={: the value is "),
    ],
)
def test_a_bad_where_is_refused(bench: Bench, mixed: Lab, where: str, says: str) -> None:
    result = bench("status", "--out", mixed.out, "--where", where)
    assert (result.code, result.out) == (2, "")
    assert says in result.err


def test_values_are_compared_as_what_they_are() -> None:
    one, half, yes, pair = parse_where(["n=1,x=0.50,b=true,p=[1, 2]"])
    assert one.holds(1)
    assert one.holds(1.0)
    assert not one.holds(True)
    assert half.holds(0.5)
    assert yes.holds(True)
    assert not yes.holds(1)
    assert pair.holds([1, 2])
    with pytest.raises(ConfigError):
        parse_where(["=1"])


def test_json_holds_parameters(bench: Bench, mixed: Lab) -> None:
    done, failed, *new = json.loads(bench("status", "--out", mixed.out, "--json").out)
    assert all(run["params"]["k"] == 8 for run in (done, failed, *new))
    assert (done["method"], done["dataset"], done["protocols"]) == ("kmeans", "synthetic", ["whole"])
    planned = json.loads(bench("plan", mixed.folder / "g.yaml", "--out", mixed.out, "--json").out)
    assert all(run["params"]["k"] == 8 for run in planned["runs"])
    rows = json.loads(bench("report", "--out", mixed.out, "--json").out)
    assert rows[0]["params"]["k"] == 8
    assert rows[0]["settings"]["input"] == "last"
    assert (type(rows[0]["images"]), type(rows[0]["seeds"]), rows[0]["uses_labels"]) == (int, int, False)


def test_watch_ends_at_ctrl_c(bench: Bench, mixed: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) > 1:
            raise KeyboardInterrupt

    monkeypatch.setattr("spectral_bench.bench.cli.status.time.sleep", sleep)
    result = bench("status", "--out", mixed.out, "--watch", "3", "--no-list")
    assert (result.code, result.err) == (0, "")
    assert result.out.count("4 runs of small") == 2
    assert slept == [3.0, 3.0]
    slept[:] = [0.0]
    assert bench("status", "--watch", "--out", mixed.out).code == 0
    assert slept[1:] == [5.0]
    assert bench("status", "--out", mixed.out, "--watch", "--json").code == 2


def test_the_order_of_columns_that_do_not_fit(terminal: Bench, mixed: Lab) -> None:
    text = terminal("report", "--out", mixed.out).out
    headings = [line for line in text.splitlines() if line.startswith("configuration")]
    assert len(headings) >= 2  # blocks under the same row names
    assert "|" not in text
    assert "| configuration" in terminal("report", "--out", mixed.out, "--format", "markdown").out


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=8), st.integers(70, 200))
def test_widths_fit_where_they_can(sizes: list[tuple[int, int]], room: int) -> None:
    full, least = [max(pair) for pair in sizes], [min(pair) for pair in sizes]
    widths = fitted(full, least, room)
    assert sum(widths) <= max(room, 8 * len(widths))
    assert all(width <= whole for width, whole in zip(widths, full, strict=True))
    if sum(full) <= room:
        assert widths == full


def test_backbones_by_a_pattern(bench: Bench) -> None:
    found = {one["name"]: one for one in json.loads(bench("list", "backbones", "dino", "--json").out)}
    assert found["vit_small_patch16_224"] == {
        "name": "vit_small_patch16_224",
        "patch": 16,
        "channels": [384] * 3,
        "tags": ["dino"],
        "at_hand": [],
    }
    assert "vit_small_patch14_dinov2" in found
    assert "efficientnet_lite0" not in found
    found = json.loads(bench("list", "backbones", "*lite?", "--json").out)
    (lite,) = (one for one in found if one["name"] == "efficientnet_lite0")  # timm has more of them
    assert (lite["name"], lite["at_hand"]) == ("efficientnet_lite0", True)
    assert bench("list", "backbones", "efficientnet_lite0").out.splitlines()[0].split() == [
        "name",
        "efficientnet_lite0",
    ]


def test_weights_at_hand(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from spectral_bench.bench.cli import listing

    monkeypatch.setattr(listing, "_any_fetched", lambda: True)
    monkeypatch.setattr(
        "spectral_bench.bench.features.backbones.timm_hub.hub_file",
        lambda name: tmp_path if name == "vit_small_patch16_224.dino" else None,
    )
    (one,) = json.loads(bench("list", "backbones", "vit_small_patch16_224*", "--json").out)
    assert one["at_hand"] == ["dino"]
    assert one["tags"][0] == "augreg_in21k_ft_in1k"  # timm's default


def test_why_prints_a_grid_that_asks_for_the_run(bench: Bench, mixed: Lab) -> None:
    run = mixed.plan().runs[0]
    result = bench("why", run.run_id, "--grid", "--out", mixed.out)
    assert result.code == 0
    (again,) = mixed.plan(result.out).runs
    assert (again.run_id, again.condition.state.word) == (run.run_id, "done")
    new = mixed.plan().runs[2]
    assert "neither a record nor an order" in bench("why", new.run_id, "--grid", "--out", mixed.out).err or (
        'unknown run "' in bench("why", new.run_id, "--grid", "--out", mixed.out).err
    )
    assert bench("why", run.run_id, "--grid", "--json", "--out", mixed.out).code == 2


def test_predict_by_a_method_takes_the_fit_that_is_finished(bench: Bench, mixed: Lab, tmp_path: Path) -> None:
    store = mixed.store
    done, failed = (run.run_id for run in mixed.plan().runs[:2])
    assert find_run(store, "kmeans", among=lambda one: one == done) == done
    (tmp_path / "x.png").write_bytes(b"no image")
    told = bench("predict", "kmeans", tmp_path / "x.png", "--to", tmp_path / "to", "--out", mixed.out).err
    assert "beginning of several" not in told
    assert "beginning of several" in bench("why", "kmeans", "--out", mixed.out).err
    assert failed != done


def test_help_version_and_completion(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bench("-h").out == bench("--help").out
    assert bench("status", "-h").out == bench("status", "--help").out
    assert bench("--version").out == bench("version").out
    assert "--install-completion" in bench("--help").out
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("bash", "/bin/bash"))  # there need be none
    shown = bench("--show-completion")
    assert shown.code == 0
    monkeypatch.setenv("_BENCH_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "bench pr")
    monkeypatch.setenv("COMP_CWORD", "1")
    result = bench()
    assert (result.code, result.out.split(), result.err) == (0, ["prune", "predict"], "")


def test_thousands_of_rows_are_a_line_each(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    rows = [("failed", "a title of many words " * 5, number) for number in range(1001)]
    output.show_table(("state", "row", "seed"), rows, right=("seed",))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1002
    assert lines[1].startswith("\x1b[31mfailed\x1b[0m  a title")
    assert max(len(re.sub(r"\x1b\[[0-9]+m", "", line)) for line in lines) <= 80
    assert lines[-1].endswith(" 1000")


def test_headings_that_are_empty_take_no_line(bench: Bench) -> None:
    assert bench("list", "datasets", "camvid").out.splitlines()[0].split() == ["name", "camvid"]
    assert bench("doctor").out.splitlines()[0].strip()
