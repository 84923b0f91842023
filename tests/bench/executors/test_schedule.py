from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_bench.bench.executors.jobs import FAILURES, SUCCESSES, Exit, Job, Schedule
from spectral_bench.common.errors import ConfigError


def job(name: str, *requires: str) -> Job:
    return Job(name, Path(f"{name}.json"), frozenset(requires))


def names(jobs: list[Job]) -> list[str]:
    return [item.run_id for item in jobs]


def test_order_of_preference_and_requirements() -> None:
    schedule = Schedule([job("late", "base"), job("base"), job("free")])
    assert names(schedule.ready()) == ["base", "free"]
    schedule.begin(job("base"))
    assert names(schedule.ready()) == ["free"]
    assert schedule.finish(job("base"), "done") == []
    assert names(schedule.ready()) == ["late", "free"]


def test_requirements_outside_of_the_batch_count_as_done() -> None:
    assert names(Schedule([job("one", "done-last-week")]).ready()) == ["one"]


def test_base_that_did_not_converge_still_serves() -> None:
    schedule = Schedule([job("base"), job("late", "base")])
    schedule.begin(job("base"))
    schedule.finish(job("base"), "not_converged")
    assert names(schedule.ready()) == ["late"]


@pytest.mark.parametrize("how", sorted(FAILURES))
def test_failure_takes_all_that_depend_on_it(how: Exit) -> None:
    schedule = Schedule([job("a"), job("b", "a"), job("c", "b"), job("d", "a", "x"), job("x"), job("free")])
    schedule.begin(job("a"))
    lost = schedule.finish(job("a"), how)
    assert {item.run_id: lacking for item, lacking in lost} == {"b": "a", "c": "b", "d": "a"}
    assert names(schedule.ready()) == ["x", "free"]
    assert schedule.rest() == {
        "a": how,
        "b": "dependency",
        "c": "dependency",
        "d": "dependency",
        "x": "pending",
        "free": "pending",
    }


def test_interruption_leaves_dependents_pending() -> None:
    schedule = Schedule([job("a"), job("b", "a")])
    schedule.begin(job("a"))
    assert schedule.finish(job("a"), "interrupted") == []
    assert schedule.stuck
    assert schedule.rest() == {"a": "interrupted", "b": "pending"}


def test_deferred_jobs_come_back_first() -> None:
    schedule = Schedule([job("a"), job("b"), job("c", "a")])
    schedule.defer(job("a"))
    assert names(schedule.ready()) == ["b"]
    assert names(schedule.deferred()) == ["a"]
    assert schedule.rest() == {"a": "elsewhere", "b": "pending", "c": "pending"}
    schedule.begin(job("b"))
    assert not schedule.stuck
    schedule.resume(job("a"))
    assert names(schedule.ready()) == ["a"]


def test_deferred_job_may_be_lost() -> None:
    schedule = Schedule([job("a"), job("b")])
    schedule.defer(job("a"))
    schedule.finish(job("a"), "failed")
    assert schedule.deferred() == []


def test_same_job_twice() -> None:
    with pytest.raises(ConfigError, match="job a: asked for twice"):
        Schedule([job("a"), job("a")])


def test_circle_is_named() -> None:
    with pytest.raises(ConfigError, match=r"in a circle: a, b, c$"):
        Schedule([job("a", "b"), job("b", "c"), job("c", "a"), job("free")])


@st.composite
def batches(draw: st.DrawFn) -> list[Job]:
    count = draw(st.integers(1, 12))
    jobs = []
    for index in range(count):
        required = draw(st.sets(st.integers(0, index - 1), max_size=3)) if index else set()
        jobs.append(job(str(index), *map(str, required)))
    return draw(st.permutations(jobs))


@settings(deadline=None)
@given(batches(), st.data())
def test_every_job_is_begun_after_its_requirements_or_is_given_up(jobs: list[Job], data: st.DataObject) -> None:
    schedule = Schedule(jobs)
    by_name = {item.run_id: item for item in jobs}
    running: list[Job] = []
    begun: set[str] = set()
    while not (schedule.stuck and not running):
        ready = schedule.ready()
        if ready and (not running or data.draw(st.booleans())):
            chosen = data.draw(st.sampled_from(ready))
            assert all(schedule.exits[name] in SUCCESSES for name in chosen.requires)
            assert chosen.run_id not in begun
            schedule.begin(chosen)
            begun.add(chosen.run_id)
            running.append(chosen)
        else:
            ended = running.pop(data.draw(st.integers(0, len(running) - 1)))
            how: Exit = data.draw(st.sampled_from(["done", "not_converged", "failed", "killed"]))
            for lost, lacking in schedule.finish(ended, how):
                assert lacking in lost.requires
                assert lost.run_id not in begun
    exits = schedule.rest()
    assert set(exits) == set(by_name)
    assert "pending" not in exits.values()
    for name, how in exits.items():
        doomed = any(exits[other] not in SUCCESSES for other in by_name[name].requires)
        assert (how == "dependency") == doomed
        assert (name in begun) != doomed
