"""How far each run is, over a real store in every condition."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from plan_lab import CODE, SMALL, Lab, failure, fit_record, unhealthy

from spectral_bench.bench.code.records import steps
from spectral_bench.bench.plan.states import Condition, Plan
from spectral_bench.bench.plan.today import CurrentCode, changed_modules


def conditions(plan: Plan) -> list[str]:
    return [run.condition.state for run in plan.runs]


def test_without_a_store_all_is_new_and_nothing_is_written(lab: Lab) -> None:
    plan = lab.plan()
    assert conditions(plan) == ["new"] * 4
    assert plan.counts() == {"new": 4}
    assert [run.condition.missing for run in plan.runs] == [run.views for run in plan.runs]
    assert not lab.out.exists()


def test_a_run_with_all_evaluations_is_done(lab: Lab) -> None:
    first = lab.plan().runs[0]
    lab.finish(first.spec, first.views)
    plan = lab.plan()
    assert conditions(plan) == ["done", "new", "new", "new"]
    assert plan.runs[0].condition == Condition("done", fitted=True)
    assert [run.run_id for run in plan.unfinished] == [run.run_id for run in plan.runs[1:]]


def test_a_fit_without_an_evaluation_is_partial(lab: Lab) -> None:
    first = lab.plan().runs[0]
    lab.finish(first.spec, ())
    condition = lab.plan().runs[0].condition
    assert (condition.state, condition.missing, condition.fitted) == ("partial", first.views, True)
    assert condition.reason == "1 of 1 evaluations missing"


def test_a_new_protocol_evaluates_stored_fits_and_trains_nothing(lab: Lab) -> None:
    for run in lab.plan().runs:
        lab.finish(run.spec, run.views)
    assert not lab.plan().unfinished
    plan = lab.plan(SMALL, "protocols=[whole, centre320]")
    assert conditions(plan) == ["partial"] * 4
    assert all(run.condition.fitted and len(run.condition.missing) == 1 for run in plan.runs)


def test_more_seeds_and_rows_leave_what_is_done_alone(lab: Lab) -> None:
    for run in lab.plan().runs:
        lab.finish(run.spec, run.views)
    plan = lab.plan(SMALL, "seeds=[0, 1, 2]", "input=[last, last_l2, all_standardised_l2]")
    states = [(run.spec.seed, run.spec.params["input"], run.condition.state) for run in plan.runs]
    assert {state for seed, kind, state in states if seed < 2 and kind != "all_standardised_l2"} == {"done"}
    assert sum(state == "new" for *_, state in states) == 5


def test_a_failed_fit_says_why_and_is_tried_again(lab: Lab) -> None:
    first = lab.plan().runs[0]
    lab.store.write_fit(fit_record(first.spec, "failed", failure=failure()))
    plan = lab.plan()
    assert plan.runs[0].condition.state == "failed"
    assert plan.runs[0].condition.reason == "exception: it broke"
    assert plan.runs[0] in plan.unfinished
    assert not plan.runs[0].condition.fitted


def test_a_failed_evaluation_leaves_the_fit_alone(lab: Lab) -> None:
    first = lab.plan().runs[0]
    lab.finish(first.spec, ())
    lab.evaluate(first.spec, first.views[0], status="failed", failure=failure("data", "x.png: corrupt"))
    condition = lab.plan().runs[0].condition
    assert (condition.state, condition.fitted, condition.missing) == ("failed", True, first.views)
    assert condition.reason == "evaluation: data: x.png: corrupt"


def test_a_run_that_did_not_converge_is_finished_and_says_so(lab: Lab) -> None:
    first = lab.plan().runs[0]
    lab.finish(first.spec, first.views, status="not_converged", health=[unhealthy()])
    condition = lab.plan().runs[0].condition
    assert (condition.state, condition.reason) == ("not_converged", "clusters in use 1 < 2")
    assert condition.finished


def test_a_run_of_other_code_is_stale_and_names_the_modules(lab: Lab) -> None:
    first = lab.plan().runs[0]
    lab.finish(first.spec, first.views, code={**CODE, "methods.kmeans": "cccc"})
    condition = lab.plan().runs[0].condition
    assert (condition.state, condition.reason) == ("stale", "code changed since: methods.kmeans")
    assert condition.finished


def test_a_partial_run_of_other_code_says_both(lab: Lab) -> None:
    first = lab.plan().runs[0]
    lab.finish(first.spec, (), code={"bench.run": "zzzz"})
    condition = lab.plan().runs[0].condition
    assert condition.state == "partial"
    assert "evaluations missing; code changed since: bench.run, methods.kmeans" in condition.reason


def test_a_run_with_a_checkpoint_goes_on(lab: Lab) -> None:
    first = lab.plan().runs[0]
    folder = lab.store.run_folder(first.run_id)
    folder.mkdir(parents=True)
    (folder / "checkpoint.pt").write_bytes(b"x")
    assert lab.plan().runs[0].condition.state == "interrupted"


def test_a_claimed_run_is_running(lab: Lab) -> None:
    first, second = lab.plan().runs[:2]
    lab.finish(second.spec, ())
    with lab.store.claim(first.run_id), lab.store.claim(second.run_id):
        plan = lab.plan()
        assert conditions(plan)[:2] == ["running", "running"]
        assert [run.condition.fitted for run in plan.runs[:2]] == [False, True]
    assert conditions(lab.plan())[:2] == ["new", "partial"]


def test_a_torn_record_counts_as_absent(lab: Lab) -> None:
    first = lab.plan().runs[0]
    lab.finish(first.spec, first.views)
    path = lab.store.run_folder(first.run_id) / "fit.json"
    path.write_text(json.dumps(json.loads(path.read_text()))[:40])
    assert lab.plan().runs[0].condition.state == "new"


def test_a_contingency_that_is_gone_or_torn_is_evaluated_again(lab: Lab) -> None:
    first = lab.plan().runs[0]
    lab.finish(first.spec, first.views)
    payload = next(lab.store.run_folder(first.run_id).glob("evaluations/*.npz"))
    payload.write_bytes(payload.read_bytes()[:-1])
    assert lab.plan().runs[0].condition.state == "done"  # a look at names is enough for a look at the plan
    assert lab.plan(verify=True).runs[0].condition.state == "partial"
    payload.unlink()
    assert lab.plan().runs[0].condition.state == "partial"


@pytest.mark.parametrize(
    ("fit", "evaluation", "says"),
    [
        ({}, {}, ""),
        (CODE, CODE, ""),
        (CODE, {}, ""),
        ({**CODE, "methods.kmeans": "x"}, CODE, "code changed since: methods.kmeans"),
        (CODE, {**CODE, "gone": "x"}, "code changed since: gone"),
        ({"bench.run": "aaaa"}, {}, "code changed since: methods.kmeans"),
        (dict.fromkeys("abc", "1"), CODE, "code changed since: a, b, bench.run and 2 more"),
    ],
)
def test_code_of_the_fit_and_of_each_evaluation_counts(
    lab: Lab, fit: dict[str, str], evaluation: dict[str, str], says: str
) -> None:
    first = lab.plan().runs[0]
    lab.finish(first.spec, (), code=fit)
    lab.evaluate(first.spec, first.views[0], code=evaluation)
    condition = lab.plan().runs[0].condition
    assert (condition.state, condition.reason) == ("stale" if says else "done", says)


def test_todays_code_is_that_of_the_parts_in_use_and_is_read_once() -> None:
    code = CurrentCode()
    fit = code.fit("kmeans", "synthetic", "efficientnet_lite0")
    assert "bench.features.backbones.efficientnet_lite0" in fit
    assert "bench.features.backbones.timm_vit" not in fit
    assert "datasets.camvid" not in fit
    assert code.fit("kmeans", "synthetic", "efficientnet_lite0") is fit
    evaluation = code.evaluation("kmeans", "synthetic", "efficientnet_lite0")
    assert evaluation is not fit
    assert code.evaluation("kmeans", "synthetic", "efficientnet_lite0") is evaluation


def test_what_a_part_that_is_gone_led_to_is_in_nobodys_reach_though_others_are(tmp_path: Path) -> None:
    recorded = {"mine.py": "1", "net.py": "2", "layers.py": "3", "methods.graphs": "4"}
    today = {"mine.py": "1", "methods.graphs": "4"}
    for name in ("mine.py", "net.py"):
        (tmp_path / name).touch()
    parts = (f"{tmp_path}/mine.py:Mine", "synthetic", f"{tmp_path}/net.py:Net")
    assert changed_modules(recorded, today, parts) == {"net.py", "layers.py"}  # an edited file imports them no more
    (tmp_path / "net.py").unlink()
    assert changed_modules(recorded, today, parts) == set()
    assert changed_modules(recorded, {"mine.py": "5", "methods.graphs": "6"}, parts) == {"mine.py", "methods.graphs"}


def test_a_method_that_is_not_where_it_lay_says_nothing_of_other_code() -> None:
    """Its project was moved: what it would lead to today cannot be told."""
    recorded = {"mine.py": "1", "methods.graphs": "2"}
    assert changed_modules(recorded, {}) == set()
    assert changed_modules(recorded, {"methods.graphs": "3"}) == {"methods.graphs"}
    assert changed_modules({"methods.graphs": "2"}, {}) == {"methods.graphs"}


def test_code_of_a_part_that_is_not_here_has_gone_whatever_changes_are_known_to_be_equivalent() -> None:
    code = CurrentCode()
    recorded = code.fit("kmeans", "synthetic", "efficientnet_lite0")
    older = {name: hashed for name, hashed in steps()[0].before.items() if name.startswith("methods.")}
    for known in (recorded, older):
        assert changed_modules(known, code.fit("kmeans", "synthetic", "of_no_package")) == set(known)
