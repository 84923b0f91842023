from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from spectral_bench.results.comparison import (
    LEVEL,
    MIN_SEEDS,
    common_seeds,
    detectable,
    power,
    rank,
    seeds_needed,
    verdict,
)
from spectral_bench.results.statistics import Summary, holm, paired_difference, summarise

NOISE = np.random.default_rng(3).normal(0, 1, size=(4, 8))


def rows(means: dict[str, float], n: int = 8, noise: float = 0.1) -> dict[str, dict[int, float]]:
    return {
        name: {seed: mean + noise * float(NOISE[index, seed]) for seed in range(n)}
        for index, (name, mean) in enumerate(means.items())
    }


def test_the_best_and_what_cannot_be_told_from_it():
    found = rank({"mIoU": rows({"low": 30.0, "best": 40.0, "close": 39.99})})
    assert found.best == {"mIoU": {"best", "close"}}
    assert found.lacking == ()
    assert set(found.p) == {("mIoU", "low"), ("mIoU", "close")} or set(found.p) == {("mIoU", "low"), ("mIoU", "best")}


def test_less_is_better_where_it_is_said():
    columns = {"mIoU": rows({"a": 30.0, "b": 40.0}), "seconds": rows({"a": 30.0, "b": 40.0})}
    assert rank(columns, {"seconds": False}).best == {"mIoU": {"b"}, "seconds": {"a"}}


def test_p_values_are_corrected_over_all_pairs_of_all_columns():
    columns = {"x": rows({"a": 40.0, "b": 39.9, "c": 39.8}), "y": rows({"a": 10.0, "b": 10.05, "c": 10.1})}
    raw = {}
    for column, values in columns.items():
        for one, other in (("a", "b"), ("a", "c"), ("b", "c")):
            pair = paired_difference(values[one], values[other])
            assert pair is not None
            assert pair.p is not None
            raw[column, frozenset((one, other))] = pair.p
    expected = holm(raw)
    found = rank(columns)
    for column, values in columns.items():
        first = max(values, key=lambda row: np.mean(list(values[row].values())))
        for row in values:
            if row != first:
                assert found.p[column, row] == expected[column, frozenset((first, row))]
            assert (row in found.best[column]) == (row == first or expected[column, frozenset((first, row))] > LEVEL)


def test_too_few_seeds_give_no_best_row_and_name_who_lacks_them():
    found = rank({"mIoU": rows({"a": 30.0, "b": 40.0}) | rows({"short": 50.0}, n=4)})
    assert found.best == {"mIoU": frozenset()}
    assert found.lacking == ("short",)


def test_seeds_that_are_not_common_do_not_count():
    other = {seed + 4: value for seed, value in rows({"b": 40.0})["b"].items()}
    found = rank({"mIoU": rows({"a": 30.0}) | {"b": other}})
    assert (found.best["mIoU"], found.lacking) == (frozenset(), ("a", "b"))


def lucky_and_better(sign: float = 1.0) -> dict[str, dict[int, float]]:
    """``better`` beats ``lucky`` on each of their five common seeds; ``lucky`` has five more, of high scores."""
    noise = [0.01 * float(value) for value in NOISE[0]]
    lucky = {seed: 40.0 + sign * (seed + (5.0 if seed > 4 else 0.0)) for seed in range(10)}
    return {"lucky": lucky, "better": {seed: lucky[seed] + sign * (0.5 + noise[seed]) for seed in range(5)}}


@pytest.mark.parametrize("higher", [True, False])
def test_a_row_that_is_better_on_the_common_seeds_is_never_left_out(higher: bool):
    values = lucky_and_better(1.0 if higher else -1.0)
    assert rank({"x": values}, {"x": higher}).best == {"x": {"better"}}
    reverse = dict(reversed(values.items()))
    assert rank({"x": reverse}, {"x": higher}).best == {"x": {"better"}}


def test_a_row_with_few_seeds_takes_no_seeds_from_the_comparison_of_the_others():
    """The two differ by little on the five seeds that the third has, and by much on the other ones."""
    noise = [0.3 * float(value) for value in NOISE[1]]
    one = {seed: 40.0 + (noise[seed] if seed < 5 else 3.0) for seed in range(8)}
    other = {seed: 40.0 if seed < 5 else 1.0 for seed in range(8)}
    alone, with_third = rank({"x": {"one": one, "other": other}}), {seed: 10.0 + seed for seed in range(5)}
    found = rank({"x": {"one": one, "other": other, "third": with_third}})
    assert found.p["x", "other"] == pytest.approx(alone.p["x", "other"], rel=1e-12)


def test_pairs_with_five_common_seeds_are_not_enough_if_all_rows_together_have_fewer():
    values = {"a": range(7), "b": (0, 1, 2, 3, 4, 7, 8), "c": range(2, 9)}
    found = rank({"x": {name: {seed: float(seed) for seed in seeds} for name, seeds in values.items()}})
    assert (found.best["x"], set(found.lacking)) == (frozenset(), {"a", "b", "c"})
    assert common_seeds({name: dict.fromkeys(seeds, 0.0) for name, seeds in values.items()}) == (2, 3, 4)


# Differences below the rounding of a mean are no scores: their squares vanish, and a test of them tells nothing.
SCORES = st.floats(0, 100).map(lambda score: round(score, 6))


@given(
    st.lists(
        st.dictionaries(st.integers(5, 9), SCORES, max_size=5).flatmap(
            lambda more: st.lists(SCORES, min_size=MIN_SEEDS, max_size=MIN_SEEDS).map(
                lambda common: dict(enumerate(common)) | more
            )
        ),
        min_size=2,
        max_size=4,
    )
)
def test_who_is_left_out_has_a_better_row_among_the_best(table: list[dict[int, float]]):
    values = dict(enumerate(table))
    best = rank({"x": values}).best["x"]
    assert best
    for row in values.keys() - best:
        differences = [paired_difference(values[other], values[row]) for other in best]
        assert any(pair is not None and pair.summary.mean > 0 for pair in differences)


@pytest.mark.parametrize("columns", [{}, {"mIoU": {}}, {"mIoU": rows({"a": 30.0})}])
def test_nothing_to_compare_gives_no_best_row(columns: dict[str, dict[str, dict[int, float]]]):
    assert not any(rank(columns).best.values())


@given(st.lists(st.lists(SCORES, min_size=MIN_SEEDS, max_size=MIN_SEEDS), min_size=2, max_size=5))
def test_the_row_of_the_best_mean_is_always_among_the_best(scores: list[list[float]]):
    values = {index: dict(enumerate(row)) for index, row in enumerate(scores)}
    means = [summarise(row).mean for row in scores]
    assert means.index(max(means)) in rank({"mIoU": values}).best["mIoU"]


def test_order_of_rows_changes_nothing():
    values = rows({"a": 40.0, "b": 39.9, "c": 39.0})
    backwards = dict(reversed(values.items()))
    assert rank({"mIoU": values}) == rank({"mIoU": backwards})


@pytest.mark.parametrize(("effect", "std", "n"), [(0.0, 1.0, 5), (1.0, 1.0, 5), (0.5, 1.0, 20), (-1.0, 1.0, 5)])
def test_power_is_that_of_a_simulation(effect: float, std: float, n: int):
    samples = np.random.default_rng(0).normal(effect, std, size=(20_000, n))
    found = np.mean(stats.ttest_1samp(samples, 0, axis=1).pvalue <= LEVEL)
    assert power(effect, std, n) == pytest.approx(found, abs=0.01)


@pytest.mark.parametrize(("std", "n"), [(1.0, 2), (0.3, 5), (2.0, 10), (1e-6, 5)])
def test_the_detectable_effect_has_the_promised_power(std: float, n: int):
    assert power(detectable(std, n), std, n) == pytest.approx(0.8, abs=1e-6)


@given(st.floats(0, 1e4), st.integers(2, 1000))
def test_power_is_a_probability_and_grows_with_the_effect(effect: float, n: int):
    weaker, stronger = power(effect, 1.0, n), power(2 * effect + 0.1, 1.0, n)
    assert 0.05 - 1e-9 <= weaker <= stronger + 1e-9 <= 1 + 2e-9


def test_more_seeds_see_smaller_effects():
    assert detectable(1.0, 20) < detectable(1.0, 10) < detectable(1.0, 5)


def difference(mean: float, std: float | None, n: int = 5) -> Summary:
    return Summary(n, mean, std, None, None)


def test_seeds_needed_are_just_enough():
    needed = seeds_needed(difference(0.5, 1.0))
    assert needed is not None
    assert power(0.5, 1.0, needed) >= 0.8 > power(0.5, 1.0, needed - 1)


def test_seeds_needed_at_the_edges():
    assert seeds_needed(difference(50.0, 1.0)) == MIN_SEEDS
    assert seeds_needed(difference(1.0, 0.0)) == MIN_SEEDS
    assert seeds_needed(difference(1.0, None, 1)) is None
    assert seeds_needed(difference(0.0, 1.0)) is None
    assert seeds_needed(difference(1e-3, 1.0)) is None


@pytest.mark.parametrize(
    ("found", "p", "word", "text"),
    [
        (None, None, "not comparable", "not comparable: no common seed"),
        (difference(3.0, 0.1, 3), 0.001, "no claim", "no claim: 3 of 5 seeds; about 2 more would decide"),
        (difference(3.0, None, 1), None, "no claim", "no claim: 1 of 5 seeds; about 4 more would decide"),
        (difference(0.0, 1.0, 3), 1.0, "no claim", "no claim: 3 of 5 seeds; no number up to 1000 would decide"),
        (difference(3.0, 0.1), 0.001, "better", "better"),
        (difference(-3.0, 0.1), 0.05, "worse", "worse"),
        (difference(0.0, 0.0), 1.0, "undecided", "0.0 points would probably have been seen"),
        (difference(0.5, 1.0), 0.3, "undecided", "1.7 points would probably have been seen; about 29 more seeds would"),
        (difference(0.001, 1.0), None, "undecided", "no number of seeds up to 1000 would decide"),
        (difference(3.0, 0.5), 0.2, "undecided", "a smaller table would decide"),
    ],
)
def test_verdicts(found: Summary | None, p: float | None, word: str, text: str):
    reached = verdict(found, p)
    assert reached.word == word
    assert text in reached.sentence


def test_only_what_is_undecided_asks_for_more():
    assert verdict(difference(3.0, 0.1), 0.001).more_seeds is None
    undecided = verdict(difference(0.5, 1.0), 0.3)
    assert undecided.detectable == detectable(1.0, 5)
    assert undecided.more_seeds == (seeds_needed(difference(0.5, 1.0)) or 0) - 5
