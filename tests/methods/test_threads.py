"""Torch's threads: one an operation for a while, tasks side by side, everything as before afterwards."""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
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


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_all_tasks_compute_as_the_one_who_asks(mode: Callable[[], AbstractContextManager[object]]) -> None:
    weight, seen = torch.ones(2, requires_grad=True), {}

    def task(number: int) -> None:
        found = 2 * weight
        seen[number] = (found.requires_grad, found.is_inference(), np.geterr()["divide"])

    with mode(), np.errstate(divide="raise"), side_by_side() as (_, run):
        run(task)
        expected = ((2 * weight).requires_grad, (2 * weight).is_inference(), "raise")
    assert seen == dict.fromkeys(range(3), expected)


def test_one_thread_runs_one_task() -> None:
    torch.set_num_threads(1)
    seen: list[int] = []
    with side_by_side() as (threads, run):
        run(seen.append)
    assert (threads, seen) == (1, [0])


def test_all_tasks_have_ended_when_an_error_of_the_first_is_raised() -> None:
    ended: list[int] = []

    def task(number: int) -> None:
        if number == 0:
            raise ValueError("task 0")
        time.sleep(0.2)
        ended.append(number)

    with side_by_side() as (_, run):
        with pytest.raises(ValueError, match="task 0"):
            run(task)
        assert sorted(ended) == [1, 2]


def test_an_error_of_a_task_is_raised_and_the_threads_come_back() -> None:
    def task(number: int) -> None:
        if number == 1:
            raise ValueError("task 1")

    with pytest.raises(ValueError, match="task 1"), side_by_side() as (_, run):
        run(task)
    assert torch.get_num_threads() == 3
