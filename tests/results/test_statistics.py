from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from spectral_bench.results.statistics import holm, paired_difference, summarise, t_p_value, t_quantile

VALUES = st.lists(st.floats(-100, 100), min_size=2, max_size=20)
P_VALUES = st.dictionaries(st.integers(), st.floats(0, 1), max_size=12)


def test_no_value_is_refused():
    with pytest.raises(ValueError, match="no value"):
        summarise([])


def test_one_value_has_a_mean_and_nothing_else():
    summary = summarise([3.0])
    assert (summary.n, summary.mean, summary.std, summary.low, summary.high) == (1, 3.0, None, None, None)


@given(VALUES, st.floats(0.5, 0.999))
def test_the_interval_is_that_of_scipy(values: list[float], confidence: float):
    summary = summarise(values, confidence)
    assert summary.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert summary.std == pytest.approx(np.std(values, ddof=1), abs=1e-9)
    if summary.std is not None and summary.std > 1e-9:
        expected = stats.t.interval(confidence, len(values) - 1, np.mean(values), stats.sem(values))
        assert (summary.low, summary.high) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@given(VALUES)
def test_the_interval_surrounds_the_mean_and_grows_with_confidence(values: list[float]):
    narrow, wide = summarise(values, 0.8), summarise(values, 0.99)
    assert narrow.low is not None
    assert wide.low is not None
    assert wide.low <= narrow.low <= narrow.mean + 1e-12


def test_pairs_are_the_common_seeds():
    found = paired_difference({0: 1.0, 2: 5.0, 3: 9.0}, {3: 6.0, 2: 4.0, 1: 0.0})
    assert found is not None
    assert found.seeds == (2, 3)
    assert found.summary.mean == 2.0


def test_without_a_common_seed_there_is_no_difference():
    assert paired_difference({0: 1.0}, {1: 1.0}) is None


def test_one_pair_has_no_p_value():
    found = paired_difference({0: 1.0}, {0: 0.5})
    assert found is not None
    assert (found.summary.mean, found.summary.std, found.p) == (0.5, None, None)


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=2, max_size=12))
def test_the_p_value_is_that_of_scipy(pairs: list[tuple[int, int]]):
    first, second = ({seed: float(pair[side]) for seed, pair in enumerate(pairs)} for side in (0, 1))
    found, back = paired_difference(first, second), paired_difference(second, first)
    assert found is not None
    assert back is not None
    assert found.p == back.p
    assert found.summary.mean == -back.summary.mean
    if found.summary.std:
        expected = stats.ttest_rel(list(first.values()), list(second.values())).pvalue
        assert found.p == pytest.approx(expected, rel=1e-9)


def test_differences_without_spread():
    equal = paired_difference({0: 1.0, 1: 2.0}, {0: 1.0, 1: 2.0})
    shifted = paired_difference({0: 1.5, 1: 2.5}, {0: 1.0, 1: 2.0})
    assert equal is not None
    assert shifted is not None
    assert (equal.p, shifted.p) == (1.0, 0.0)


def test_the_p_value_agrees_with_the_interval():
    first, second = {seed: float(seed % 3) for seed in range(5)}, dict.fromkeys(range(5), 0.1)
    found = paired_difference(first, second)
    assert found is not None
    assert found.p is not None
    at_limit = paired_difference(
        {seed: float(seed % 3) for seed in range(5)}, dict.fromkeys(range(5), 0.1), 1 - found.p
    )
    assert at_limit is not None
    assert at_limit.summary.low == pytest.approx(0, abs=1e-9)


def test_holm_by_hand():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}) == pytest.approx(
        {"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02}
    )
    assert holm({}) == {}


@given(P_VALUES)
def test_holm_keeps_keys_order_and_bounds(p_values: dict[int, float]):
    adjusted = holm(p_values)
    assert list(adjusted) == list(p_values)
    assert all(p_values[key] <= adjusted[key] <= 1 for key in p_values)
    ordered = sorted(p_values, key=lambda key: p_values[key])
    assert all(adjusted[a] <= adjusted[b] for a, b in pairwise(ordered))


@given(P_VALUES)
def test_holm_rejects_what_the_step_down_definition_rejects(p_values: dict[int, float]):
    level = 0.05
    rejected = set()
    for rank, key in enumerate(sorted(p_values, key=lambda key: p_values[key])):
        if p_values[key] * (len(p_values) - rank) > level:
            break
        rejected.add(key)
    assert {key for key, p in holm(p_values).items() if p <= level} == rejected


def test_quantiles_and_p_values_of_t():
    assert t_quantile(0.975, 4) == pytest.approx(2.7764451)
    assert t_p_value(-2.7764451, 4) == pytest.approx(0.05, abs=1e-7)
    assert math.isclose(t_p_value(0.0, 9), 1.0)
