from __future__ import annotations

import pytest
from report_samples import FAILED, VIEW, WHOLE, Outcome, add_row, outcomes, write_grid

from spectral_bench.reports.collect import collect
from spectral_bench.reports.html.facts import facts
from spectral_bench.results.specification import Protocol, Scoring
from spectral_bench.results.store import Store


def told(store: Store, *rows: object) -> dict[str, str]:
    return dict(facts(collect(write_grid(store, *rows))))  # type: ignore[arg-type]


def test_a_fit_under_two_protocols_is_paid_once(store: Store):
    other = Protocol(name="h", view=VIEW, scoring=Scoring(matching="hungarian"))
    found = told(store, add_row(store, "a", {0: Outcome(10, fit_s=100.0, reused=("graph",))}, protocols=[WHOLE, other]))
    assert found["computed"] == "2 min"  # 3 s of features, 100 s of the fit and 2 s of the evaluation
    assert (found["configurations"], found["protocols"], found["seeds a row"]) == ("1", "whole, h", "1")
    assert "hardware" not in found


@pytest.mark.parametrize(("fit_s", "text"), [(10.0, "15 s"), (2 * 3600.0, "2.0 h"), (3600.0 * 1200, "1,200.0 h")])
def test_units_of_time(store: Store, fit_s: float, text: str):
    assert told(store, add_row(store, "a", {0: Outcome(10, fit_s=fit_s)}))["computed"] == text


def test_long_lists_are_counted_and_unequal_seeds_told(store: Store):
    rows = [add_row(store, name, outcomes(10), backbone=name) for name in "abcd"] + [add_row(store, "e", {0: FAILED})]
    found = told(store, *rows)
    assert found["backbones"] == "a, b and 3 more"
    assert found["seeds a row"] == "0 to 1"
