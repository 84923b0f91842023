"""report and predict: what a store whose runs are finished gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from cli_lab import TABLE, Bench, counted
from PIL import Image
from plan_lab import Lab, evaluation_record, fit_record

from spectral_bench import load_records
from spectral_bench.bench.predict.images import Wanted


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


def test_report_scores_with_several_matchings_side_by_side(bench: Bench, finished: Lab) -> None:
    given = ["--out", finished.out, "--matching", "own", "--matching", "per_image_hungarian"]
    rows = json.loads(bench("report", *given, "--json").out)
    assert ["¶" in row["matching"] for row in rows] == [False, True] * 2
    assert ["not comparable" in row["notes"] for row in rows] == [False, True] * 2
    assert all(row["seeds"] == 2.0 for row in rows)
    result = bench("compare", finished.out, finished.out, "--matching", "per_image_hungarian_mean")
    assert (result.code, "¶ Clusters are matched" in result.out + result.err) == (0, True)
    told = json.loads(bench("compare", finished.out, finished.out, "--matching", "iou", "--json").out)
    assert {cell["matching"] for cell in told["cells"]} == {"iou"}


def test_report_to_a_file(bench: Bench, finished: Lab) -> None:
    target = finished.folder / "tables" / "t.csv"
    result = bench("report", "--out", finished.out, "--format", "csv", "--to", target)
    assert (result.code, result.out) == (0, "")
    assert target.read_text() == bench("report", "--out", finished.out, "--format", "csv").out


def test_why_tells_the_scores_that_reports_print(bench: Bench, finished: Lab) -> None:
    frame = load_records(finished.out)
    run_id, miou = frame["run_id"][0], frame["mIoU"][0]
    told = json.loads(bench("why", run_id, "--out", finished.out, "--json").out)
    assert [one["miou"] for one in told["asked_for_by"]] == [{"whole": pytest.approx(miou, abs=1e-12)}]
    assert f"\n  whole: mIoU {100 * miou:.2f} %\n" in bench("why", run_id, "--out", finished.out).out


@pytest.mark.parametrize("part", ["fit", "evaluation"])
def test_why_tells_no_score_of_what_did_not_converge(bench: Bench, finished: Lab, part: str) -> None:
    run = finished.plan().runs[0]
    if part == "fit":
        finished.store.write_fit(fit_record(run.spec, code={}, status="not_converged"))
    else:
        tables = {"n_raw_labels": 2, "class_sets": {"2": TABLE}, "default_classes": "2"}
        record = evaluation_record(run.spec, run.views[0], code={}, status="not_converged", **tables)
        finished.store.write_evaluation(record, counted())
    told = json.loads(bench("why", run.run_id, "--out", finished.out, "--json").out)
    assert [one["miou"] for one in told["asked_for_by"]] == [{}]


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
        options.pop("named")
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
    options = {"wanted": Wanted(overlays=False), "key": None, "device": "cpu", "naming": None}
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
