from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectral_bench.common.errors import DataError
from spectral_bench.datasets.subset import in_drawing_order, subset

IDS = st.lists(st.text(min_size=1, max_size=6), min_size=2, max_size=40, unique=True)


@given(IDS, st.data())
def test_it_holds_n_ids_in_their_own_order(ids: list[str], data: st.DataObject) -> None:
    n = data.draw(st.integers(1, len(ids)))
    chosen = subset(ids, n)
    assert len(chosen) == len(set(chosen)) == n
    assert list(chosen) == [i for i in ids if i in set(chosen)]


@given(IDS, st.data())
def test_a_larger_subset_contains_the_smaller(ids: list[str], data: st.DataObject) -> None:
    n = data.draw(st.integers(1, len(ids) - 1))
    assert set(subset(ids, n)) < set(subset(ids, n + 1))


@given(IDS, st.randoms(use_true_random=False), st.data())
def test_the_order_of_the_ids_does_not_matter(ids: list[str], random: object, data: st.DataObject) -> None:
    n = data.draw(st.integers(1, len(ids)))
    shuffled = ids.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert set(subset(shuffled, n)) == set(subset(ids, n))


def test_none_means_all() -> None:
    assert subset(["b", "a"], None) == ("b", "a")


def test_it_is_not_simply_the_first_ids() -> None:
    ids = [f"{i:04d}" for i in range(1000)]
    positions = [int(i) for i in subset(ids, 100)]
    assert 350 < sum(positions) / 100 < 650
    assert max(positions) > 900


def test_the_choice_is_fixed_for_ever() -> None:
    assert subset([f"{i:04d}" for i in range(50)], 4) == ("0007", "0031", "0040", "0043")


@pytest.mark.parametrize("n", [0, -1, 4])
def test_a_size_out_of_range_is_refused(n: int) -> None:
    with pytest.raises(DataError, match=rf"subset of {n} images.*1 to 3"):
        subset(["a", "b", "c"], n)


def test_ranked_ids_are_in_the_order_in_which_subsets_take_them():
    ids = [f"image{index}" for index in range(20)]
    order = in_drawing_order(ids)
    assert sorted(order) == sorted(ids)
    assert all(set(order[:n]) == set(subset(ids, n)) for n in range(1, 21))
    assert in_drawing_order(ids[::-1]) == order
