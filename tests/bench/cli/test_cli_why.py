"""bench why: identity, state, reasons and changes of one run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_lab import Bench
from plan_lab import Lab, failure, fit_record, unhealthy

from spectral_bench.bench.cli.launch import write_job
from spectral_bench.bench.plan.states import PlannedRun, plan_orders
from spectral_bench.bench.plan.today import CurrentCode, CurrentData
from spectral_bench.bench.work.order import Execution
from spectral_bench.datasets.interface import DataRoots

ENVIRONMENT = {"git": {"commit": "0123456789abcdef", "dirty": True}}


def finish(lab: Lab, **changes: Any) -> PlannedRun:
    plan = lab.plan()
    lab.store.write_manifest(plan.manifest)
    run = plan.runs[0]
    lab.finish(run.spec, run.views, **changes)
    return run


def why(bench: Bench, lab: Lab, run: str) -> dict[str, Any]:
    result = bench("why", run, "--out", lab.out, "--json")
    assert (result.code, result.err) == (0, "")
    return dict(json.loads(result.out))


def test_a_run_of_today(bench: Bench, lab: Lab) -> None:
    run = lab.plan().runs[0]
    found = finish(
        lab, code=dict(CurrentCode().fit("kmeans", "synthetic", "efficientnet_lite0")), environment=ENVIRONMENT
    )
    lab.evaluate(
        run.spec, run.views[0], code=dict(CurrentCode().evaluation("kmeans", "synthetic", "efficientnet_lite0"))
    )
    told = why(bench, lab, found.run_id)
    assert (told["state"], told["missing"], told["attempts"]) == ("done", [], [])
    assert told["identity"] == json.loads(run.spec.model_dump_json())
    asked = {"grid": "small", "title": run.title, "protocols": ["whole"]}
    assert told["asked_for_by"] == [{**asked, "miou": {}}]  # its counts hold no pixel
    assert [part["name"] for part in told["parts"]] == ["fit", f"evaluation {run.views[0].view_id}"]
    assert all(part["changes"] == {} for part in told["parts"])
    text = bench("why", found.run_id, "--out", lab.out).out
    assert text.startswith(f"{found.run_id}\nstate: done\nasked for by grid small, row ")
    assert "  params.k" in text
    assert "commit 0123456789ab with local changes" in text
    assert "code: as it is today" in text
    assert "bench run" not in text
    assert text.splitlines()[-2] == f"to repeat it: bench why {run.run_id} --grid prints its grid"


def test_modules_that_have_changed_appeared_and_gone(bench: Bench, lab: Lab) -> None:
    today = dict(CurrentCode().fit("kmeans", "synthetic", "efficientnet_lite0"))
    then = {**today, "methods.kmeans": "0" * 16, "methods.long_gone": "1" * 16}
    del then["methods.lloyd"]
    run = finish(lab, code=then)
    lab.evaluate(run.spec, run.views[0], code={})
    told = why(bench, lab, run.run_id)
    assert told["state"] == "stale"
    assert told["reason"] == "code changed since: methods.kmeans, methods.lloyd, methods.long_gone"
    changes = {"methods.kmeans": "changed", "methods.lloyd": "new", "methods.long_gone": "gone"}
    assert [part["changes"] for part in told["parts"]] == [changes, {}]
    text = bench("why", run.run_id, "--out", lab.out).out
    assert f"code: 3 modules are not as they were ({len(then)} recorded)" in text
    assert "    new      methods.lloyd" in text or "    new  methods.lloyd" in text
    assert "code: not recorded" in text
    assert "--rerun-stale" in text


def test_data_that_has_changed(bench: Bench, lab: Lab) -> None:
    run = finish(lab, code={}, data_digest="of other files")
    lab.evaluate(run.spec, run.views[0], code={}, label_files="of other files")
    told = why(bench, lab, run.run_id)
    changed = ["synthetic train images", "synthetic val labels"]
    assert (told["state"], told["reason"]) == ("stale", f"data changed since: {', '.join(changed)}")
    assert [part["data"] for part in told["parts"]] == [{changed[0]: "changed"}, {changed[1]: "changed"}]
    text = bench("why", run.run_id, "--out", lab.out).out
    assert "data: synthetic train images have other names, sizes or contents today" in text
    assert "--rerun-stale" in text


def test_data_are_looked_for_in_given_roots_and_in_those_of_the_last_order(
    bench: Bench, lab: Lab, camvid: Callable[..., Path]
) -> None:
    root = camvid()
    plan = lab.plan("{name: c, defaults: {dataset: camvid}, runs: [{method: kmeans, params: {k: 8}}]}")
    run, execution = plan.runs[0], Execution()
    digest = CurrentData(DataRoots((root,))).images("camvid", "train")
    assert digest is not None
    lab.store.write_fit(fit_record(run.spec, code={}, data_digest=digest))
    part = why(bench, lab, run.run_id)["parts"][0]
    assert part["data"] == {"camvid train images": "not at hand"}
    assert "data: camvid train images not at hand" in bench("why", run.run_id, "--out", lab.out).out
    given = bench("why", run.run_id, "--out", lab.out, "--data-root", root).out
    assert "data: camvid train images as today by names and contents" in given
    write_job(plan_orders(plan, execution, (root,))[0], lab.store)
    part = why(bench, lab, run.run_id)["parts"][0]
    assert part["data"] == {"camvid train images": "as it was"}
    with (root / "camvid" / "train" / "a.png").open("ab") as image:
        image.write(b"more")
    told = why(bench, lab, run.run_id)
    assert told["parts"][0]["data"] == {"camvid train images": "changed"}
    assert "data changed since: camvid train images" in told["reason"]


def test_an_order_of_another_version_hides_nothing_else(bench: Bench, lab: Lab) -> None:
    run = finish(lab, code={})
    (lab.store.run_folder(run.run_id) / "order-00000000.json").write_text("{}")
    assert why(bench, lab, run.run_id)["run_id"] == run.run_id


def test_a_run_that_did_not_converge_and_has_changed_can_be_done_again(bench: Bench, lab: Lab) -> None:
    run = finish(lab, status="not_converged", health=[unhealthy()], code={}, data_digest="of other files")
    text = bench("why", run.run_id, "--out", lab.out).out
    assert "state: not converged" in text
    assert "--rerun-stale" in text


def test_a_run_that_was_cancelled_is_told_how_to_go_on(bench: Bench, lab: Lab) -> None:
    run = lab.plan().runs[0]
    lab.finish(run.spec, (), status="failed", failure=failure("cancelled", "by a user"))
    text = bench("why", run.run_id, "--out", lab.out).out
    assert "state: cancelled (cancelled: by a user)" in text
    assert "bench run with the same grid goes on with it" in text


def test_why_it_failed(bench: Bench, lab: Lab) -> None:
    plan = lab.plan()
    run = plan.runs[0]
    lab.finish(run.spec, (), status="failed", failure=failure("out_of_memory", "tried to allocate\na lot"))
    told = why(bench, lab, run.run_id)
    assert (told["state"], told["reason"]) == ("failed", "out_of_memory: tried to allocate")
    assert told["parts"][0]["failure"]["message"] == "tried to allocate\na lot"
    assert told["attempts"] == ["1"]
    text = bench("why", run.run_id, "--out", lab.out).out
    assert "asked for by no grid of the store" in text
    assert "  out_of_memory: tried to allocate\na lot" in text
    assert "failures behind it: 1" in text
    assert "bench run with the same grid goes on with it" in text


def test_why_it_did_not_converge(bench: Bench, lab: Lab) -> None:
    run = finish(lab, status="not_converged", health=[unhealthy()], code={})
    told = why(bench, lab, run.run_id)
    assert (told["state"], told["reason"]) == ("not_converged", "clusters in use 1 < 2")
    assert told["parts"][0]["failed_checks"][0]["limit"] == 2.0
    assert "failed check clusters in use: 1, limit 2, 1 < 2" in bench("why", run.run_id, "--out", lab.out).out


def test_what_is_still_missing(bench: Bench, lab: Lab) -> None:
    plan = lab.plan()
    lab.store.write_manifest(plan.manifest)
    run = plan.runs[0]
    lab.finish(run.spec, (), code={})
    told = why(bench, lab, run.run_id)
    assert (told["state"], told["missing"]) == ("partial", [run.views[0].view_id])
    assert "still to be evaluated: synthetic val" in bench("why", run.run_id, "--out", lab.out).out


def test_a_run_without_a_record(bench: Bench, lab: Lab) -> None:
    run = lab.plan().runs[0]
    folder = lab.store.run_folder(run.run_id)
    folder.mkdir(parents=True)
    (folder / "checkpoint.pt").touch()
    told = why(bench, lab, run.run_id)
    assert (told["state"], told["identity"], told["parts"]) == ("interrupted", None, [])
    assert "no record of its fit yet" in bench("why", run.run_id, "--out", lab.out).out


def test_a_method_that_is_not_here_has_no_code_today(bench: Bench, lab: Lab) -> None:
    run = lab.plan().runs[0]
    spec = run.spec.model_copy(update={"method": "not_installed"})
    lab.finish(spec, (), code={"not_installed.method": "abc"})
    told = why(bench, lab, spec.run_id)
    assert told["parts"][0]["changes"] == {"not_installed.method": "gone"}
    assert bench("status", "--out", lab.out).code == 0


def test_a_unique_beginning_names_a_run(bench: Bench, lab: Lab) -> None:
    run = finish(lab, code={})
    assert why(bench, lab, run.run_id[:-4])["run_id"] == run.run_id


@pytest.mark.parametrize(("reference", "says"), [("kmean-s0", "did you mean kmeans-s0-"), ("zzz", "holds 1 run")])
def test_an_unknown_run_is_refused_with_near_names(bench: Bench, lab: Lab, reference: str, says: str) -> None:
    finish(lab, code={})
    result = bench("why", reference, "--out", lab.out)
    assert (result.code, result.out) == (2, "")
    assert len(result.errors) == 1
    assert f'unknown run "{reference}"' in result.err
    assert says in result.err


def test_a_beginning_of_several_runs_is_refused(bench: Bench, lab: Lab) -> None:
    for run in lab.plan().runs:
        lab.finish(run.spec, run.views)
    result = bench("why", "kmeans", "--out", lab.out)
    assert result.code == 2
    assert "is the beginning of several runs: kmeans-s0-" in result.err
