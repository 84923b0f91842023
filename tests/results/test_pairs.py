"""All pairs at once are each pair alone, bit for bit."""

from __future__ import annotations

import functools
import math
import operator
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectral_bench.results.pairs import all_pairs, exact_sums, holm_adjusted
from spectral_bench.results.statistics import paired_difference

NUMBERS = st.one_of(
    st.floats(-1e12, 1e12, allow_nan=False),
    st.floats(40, 50),
    st.sampled_from([0.0, 1.0, 1e-12, 1e12, 1 + 2**-52, 50.0]),
)
ROWS = st.lists(st.dictionaries(st.integers(0, 6), NUMBERS, min_size=1), min_size=2, max_size=6)


@given(rows=ROWS)
def test_each_pair_has_the_numbers_of_a_pair_alone(rows: list[dict[int, float]]) -> None:
    found = all_pairs(rows)
    for index, (one, other) in enumerate(combinations(range(len(rows)), 2)):
        alone = paired_difference(rows[one], rows[other])
        assert (found.one[index], found.other[index]) == (one, other)
        assert found.mean[index] == (0.0 if alone is None else alone.summary.mean)
        assert found.p[index] == (1.0 if alone is None or alone.p is None else alone.p)


def test_blocks_meet_without_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    rows = [dict(enumerate(generator.normal(50, 1, 5).tolist())) for _ in range(12)]
    whole = all_pairs(rows)
    monkeypatch.setattr("spectral_bench.results.pairs._BLOCK", 7)
    in_blocks = all_pairs(rows)
    assert np.array_equal(whole.p, in_blocks.p)
    assert np.array_equal(whole.mean, in_blocks.mean)
    assert len(np.unique(whole.p)) == 66


@given(columns=st.lists(st.lists(NUMBERS, min_size=5, max_size=5), min_size=1, max_size=4))
def test_sums_are_rounded_once(columns: list[list[float]]) -> None:
    found = exact_sums(np.array(columns).T)
    assert found.tolist() == [math.fsum(column) for column in columns]


def test_a_sum_whose_errors_do_not_fit_into_a_number_is_exact_too() -> None:
    hard = [1e16, 1.0, 1e-16, -1e16, 1e-33]  # what is lost twice decides
    assert exact_sums(np.array([hard, hard[::-1]]).T).tolist() == [math.fsum(hard)] * 2
    assert math.fsum(hard) != functools.reduce(operator.add, hard)  # sum itself compensates from Python 3.12 on


@given(p=st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.01, 0.5, 1.0])), max_size=8))
def test_holm_multiplies_the_smallest_by_their_number(p: list[float]) -> None:
    ranked = sorted(p)
    expected = [max(min(1.0, (len(p) - rank) * q) for rank, q in enumerate(ranked) if q <= one) for one in p]
    assert holm_adjusted(np.array(p)).tolist() == expected
