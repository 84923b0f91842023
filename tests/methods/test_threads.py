"""Torch's threads: one an operation for a while, tasks side by side, everything as before afterwards."""

import threading

import pytest
import torch

from spectral_bench.methods.threads import one_thread, side_by_side


@pytest.fixture(autouse=True)
def three_threads() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_operations_take_one_thread_and_get_the_others_back() -> None:
    with one_thread() as threads:
        assert (threads, torch.get_num_threads()) == (3, 1)
    assert torch.get_num_threads() == 3


def test_threads_come_back_after_an_error() -> None:
    with pytest.raises(ValueError, match="broken"), one_thread():
        raise ValueError("broken")
    assert torch.get_num_threads() == 3


def test_tasks_run_side_by_side() -> None:
    meeting, seen = threading.Barrier(3, timeout=300), []

    def task(number: int) -> None:
        meeting.wait()  # ends only if all three run at once
        seen.append((number, torch.get_num_threads()))

    with side_by_side() as (threads, run):
        assert threads == 3
        run(task)
        assert sorted(seen) == [(0, 1), (1, 1), (2, 1)]
        run(task)
    assert len(seen) == 6


def test_an_error_of_a_task_is_raised_and_the_threads_come_back() -> None:
    def task(number: int) -> None:
        if number == 1:
            raise ValueError("task 1")

    with pytest.raises(ValueError, match="task 1"), side_by_side() as (_, run):
        run(task)
    assert torch.get_num_threads() == 3
