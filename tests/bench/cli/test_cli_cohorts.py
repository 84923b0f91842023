"""Cohorts from the command line: formed by themselves, and not where it is said."""

from __future__ import annotations

import pytest
from cli_lab import Launcher
from plan_lab import SMALL, Lab


def test_runs_that_see_the_same_go_side_by_side_unless_told_otherwise(launch: Launcher, lab: Lab) -> None:
    result, executor = launch()
    assert "2 cohorts, of 2, 2 runs side by side in a process; --cohort off gives each run its own" in result.out
    seeds = {run.run_id: run.spec.seed for run in lab.plan().runs}
    assert len(set(executor.cohorts.values())) == 2
    for name in set(executor.cohorts.values()):
        assert len({seeds[run] for run, one in executor.cohorts.items() if one == name}) == 1


@pytest.mark.parametrize("options", [("--cohort", "off"), ("--executor", "inline")])
def test_runs_are_alone_where_it_is_said(launch: Launcher, options: tuple[str, str]) -> None:
    result, executor = launch(SMALL, *options)
    assert set(executor.cohorts.values()) == {""}
    assert "cohort" not in result.out


def test_a_way_of_forming_cohorts_that_is_none(launch: Launcher) -> None:
    result, executor = launch(SMALL, "--cohort", "on")
    assert (result.code, executor.orders) == (2, [])
    assert '--cohort: expected auto or off, got "on"' in result.err
