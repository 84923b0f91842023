import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_bench.bench.features.pipeline import ordered_map


@settings(max_examples=25, deadline=None)
@given(items=st.lists(st.integers(), max_size=30), workers=st.integers(0, 4), ahead=st.integers(1, 6))
def test_results_come_in_order(items, workers, ahead):
    assert list(ordered_map(lambda x: x * 2, items, workers=workers, ahead=ahead)) == [x * 2 for x in items]


def test_slow_items_keep_their_place():
    def work(number: int) -> int:
        time.sleep(0.02 if number == 0 else 0)
        return number

    assert list(ordered_map(work, range(6), workers=3, ahead=6)) == list(range(6))


@pytest.mark.parametrize("workers", [0, 2])
def test_no_more_is_read_than_asked_for(workers):
    started = []
    stream = ordered_map(lambda x: started.append(x) or x, iter(range(100)), workers=workers, ahead=4)
    assert next(stream) == 0
    stream.close()
    assert len(started) <= 5 + workers


def test_work_is_done_by_threads_and_stops_with_the_reader():
    names = set()
    stream = ordered_map(lambda x: names.add(threading.current_thread().name) or x, range(50), workers=2, ahead=3)
    next(stream)
    stream.close()
    assert all(name.startswith("images") for name in names)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("images")]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_is_raised_where_its_result_is_due(workers):
    def work(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    stream = ordered_map(work, range(10), workers=workers, ahead=4)
    assert [next(stream) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(stream)


def test_threads_work_at_once():
    barrier = threading.Barrier(2, timeout=300)
    assert len(list(ordered_map(lambda _: barrier.wait(), range(2), workers=2, ahead=2))) == 2
