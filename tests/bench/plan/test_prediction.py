"""The predictor by itself: parts and measurements in, seconds and bytes out."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectral_bench.bench.plan.prediction import (
    PER_SETTING,
    RUN_SPREAD,
    SIMILAR_SPREAD,
    Measurement,
    Measurements,
    Part,
    predict,
)

FIT = Part("fit", "a", "family", {"k": 8}, units=100.0, images=10.0)


def measured(part: Part = FIT, seconds: float = 10.0, **more: Any) -> Measurement:
    return Measurement(part, {"fit": seconds}, machine=more.pop("machine", "m"), **more)


def seconds(part: Part, *known: Measurement) -> float | None:
    found = predict([part], Measurements(known))
    return None if found is None else found.seconds


@given(st.floats(0.01, 1e4), st.floats(0.01, 1e4))
def test_time_grows_with_units_and_the_range_holds_it(units: float, measured_units: float) -> None:
    found = predict([replace(FIT, units=units)], Measurements([measured(replace(FIT, units=measured_units))]))
    assert found is not None
    assert found.seconds == pytest.approx(10 * units / measured_units)
    assert found.low < found.seconds < found.high


def test_what_does_not_grow_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Measurement(FIT, {"fit": 10.0}, by_image={"health": 1.0}, once={"rest": 3.0})
    found = predict([replace(FIT, units=1000.0, images=20.0)], Measurements([one]))
    assert found is not None
    assert found.stages == {"fit": 100.0, "health": 2.0, "rest": 3.0}


def test_the_nearest_in_size_counts_and_of_equals_the_median() -> None:
    near = [measured(seconds=each, finished=str(each)) for each in (8.0, 10.0, 30.0)]
    far = measured(replace(FIT, units=1.0), 5.0)
    assert seconds(FIT, far, *near) == 10.0
    assert seconds(replace(FIT, units=2.0), far, *near) == 10.0  # of the one step, twice
    spread = predict([FIT], Measurements(near))
    assert spread is not None
    assert spread.high >= 30.0 - 1e-9  # repeats that differ by a factor of three say so


def test_the_same_counts_before_the_similar_and_the_like_before_the_unlike() -> None:
    other = replace(FIT, same="b", settings={"k": 9})
    unlike = replace(FIT, same="c", settings={"k": 9, "depth": 3})
    assert seconds(FIT, measured(other, 7.0)) == 7.0
    assert seconds(FIT, measured(other, 7.0), measured(unlike, 70.0)) == 7.0
    assert seconds(FIT, measured(other, 7.0), measured(replace(FIT, units=1e4), 500.0)) == 5.0
    found = predict([FIT], Measurements([measured(other, 7.0)]))
    assert found is not None
    assert found.basis == "similar"
    assert math.log(found.high / found.seconds) == pytest.approx(max(RUN_SPREAD, SIMILAR_SPREAD) + PER_SETTING)
    assert seconds(replace(FIT, similar="none", same="none"), measured()) is None


def test_a_run_counts_before_a_probe_unless_it_is_far_away() -> None:
    probe = measured(replace(FIT, units=4.0), 0.8, probe=True, drift=0.0)
    found = predict([FIT], Measurements([measured(), probe]))
    assert found is not None
    assert (found.seconds, found.basis) == (10.0, "runs")
    found = predict([replace(FIT, units=1e6)], Measurements([measured(), probe]))
    assert found is not None
    assert (found.seconds, found.basis) == (pytest.approx(2e5), "probes")


def test_the_machine_of_the_newest_measurement_counts() -> None:
    old, new = measured(seconds=99.0, machine="old", finished="1"), measured(seconds=5.0, machine="new", finished="2")
    found = predict([FIT], Measurements([new, old]))
    assert found is not None
    assert (found.seconds, found.machine) == (5.0, "new")


def test_parts_add_up_in_time_and_share_memory() -> None:
    look = Part("evaluate", "v", "views", units=4.0, images=4.0)
    known = [
        replace(measured(), host=5, host_per_image=2.0, device=None),
        replace(measured(replace(look, units=2.0, images=2.0), 1.0), host=7, device=30),
    ]
    found = predict([replace(FIT, images=12.0), look], Measurements(known))
    assert found is not None
    assert (found.seconds, found.host, found.device) == (12.0, 9, 30)
    assert predict([FIT, replace(look, same="x", similar="x")], Measurements(known)) is None


def test_features_of_another_size_are_scaled_by_their_pixels() -> None:
    small = Part("features", "s", "net", units=10.0, images=10.0, area=100.0)
    large = replace(small, same="l", area=400.0)
    assert seconds(large, measured(small, 2.0)) == 8.0
    unknown = predict([replace(large, area=None)], Measurements([measured(small, 2.0)]))
    known = predict([large], Measurements([measured(small, 2.0)]))
    assert unknown is not None
    assert known is not None
    assert unknown.high / unknown.low > known.high / known.low


def test_nothing_left_takes_nothing() -> None:
    found = predict([], Measurements([]))
    assert found is not None
    assert (found.seconds, found.low, found.high, found.host) == (0.0, 0.0, 0.0, None)
