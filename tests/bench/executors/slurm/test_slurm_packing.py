"""Which runs share a job, whatever they require."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from spectral_bench.bench.executors.jobs import Job
from spectral_bench.bench.executors.slurm.submit import pack
from spectral_bench.bench.grid.keys import SlurmSettings


def job(name: str, *requires: str, cohort: str = "") -> Job:
    return Job(name, Path(name), frozenset(requires), cohort)


def shapes(jobs: list[Job], **settings: int) -> list[list[list[str]]]:
    arrays = pack(jobs, lambda job: SlurmSettings.model_validate(settings))
    return [[[one.run_id for one in unit] for unit in array.units] for array in arrays]


def test_runs_share_jobs_and_jobs_share_an_array() -> None:
    jobs = [job(name) for name in "abcde"]
    assert shapes(jobs, runs_per_job=2) == [[["a", "b"], ["c", "d"], ["e"]]]
    assert shapes(jobs) == [[["a"], ["b"], ["c"], ["d"], ["e"]]]


def test_who_is_required_has_a_job_of_its_own() -> None:
    jobs = [job("x"), job("base"), job("y"), job("p", "base"), job("q", "base")]
    assert shapes(jobs, runs_per_job=9) == [[["x", "y"]], [["base"]], [["p", "q"]]]


def test_a_cohort_is_packed_as_one() -> None:
    jobs = [job("a", cohort="x"), job("b"), job("c", cohort="x"), job("d", cohort="y"), job("e", cohort="y")]
    assert shapes(jobs) == [[["a", "c"], ["b"], ["d", "e"]]]
    assert shapes(jobs, runs_per_job=1) == [[["a"], ["c"], ["b"], ["d"], ["e"]]]
    assert shapes(jobs, runs_per_job=2) == [[["a", "c"], ["b"], ["d", "e"]]]
    assert shapes(jobs, runs_per_job=3) == [[["a", "c", "b"], ["d", "e"]]]


def test_other_settings_are_another_array() -> None:
    arrays = pack([job("a"), job("b"), job("c")], lambda one: SlurmSettings(cpus=2 if one.run_id == "b" else 1))
    assert [len(array.units) for array in arrays] == [2, 1]
    assert arrays[1].settings.cpus == 2


def test_arrays_have_a_limit() -> None:
    arrays = pack([job(str(number)) for number in range(7)], lambda one: SlurmSettings(), longest=3)
    assert [len(array.units) for array in arrays] == [3, 3, 1]


def test_what_is_neither_here_nor_in_the_queue_is_not_waited_for() -> None:
    (here, queued) = pack([job("a", "gone"), job("b", "queued")], lambda one: SlurmSettings(), frozenset({"queued"}))
    assert here.requires == frozenset()
    assert queued.requires == {"queued"}


@st.composite
def batches(draw: st.DrawFn) -> list[Job]:
    count = draw(st.integers(1, 12))
    required = [draw(st.sets(st.integers(0, number - 1), max_size=2)) if number else set() for number in range(count)]
    names = st.sampled_from(["", "x", "y"])
    jobs = [job(str(number), *map(str, required[number]), cohort=draw(names)) for number in range(count)]
    return draw(st.permutations(jobs))


@given(batches(), st.integers(1, 4))
def test_every_run_once_and_after_all_that_it_requires(jobs: list[Job], per_job: int) -> None:
    arrays = pack(jobs, lambda one: SlurmSettings(runs_per_job=per_job))
    done: set[str] = set()
    required = {name for one in jobs for name in one.requires}
    for array in arrays:
        assert array.requires <= done
        names = [one.run_id for unit in array.units for one in unit]
        assert all(one.requires == array.requires for unit in array.units for one in unit)
        assert all(len(unit) == 1 for unit in array.units if unit[0].run_id in required)
        assert not done & set(names)
        done |= set(names)
    assert done == {one.run_id for one in jobs}
