"""Torch's threads on the CPU: whole tasks side by side instead of every small operation cut into pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache, partial
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def one_thread() -> Iterator[int]:
    """Each operation in here takes one thread; gives the number of threads there were, and restores it.

    Thousands of operations too small to share spend their time at barriers where one thread waits for the other, and
    wait for long where the cores are busy otherwise.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


@contextmanager
def side_by_side() -> Iterator[tuple[int, Callable[[Callable[[int], None]], None]]]:
    """Gives the number T of torch's threads, and a function that runs ``task(0)`` to ``task(T - 1)`` in one each.

    The first task goes to the thread that asks: a thread that is at work already loses no time to being woken. To the
    others gradients, inference mode and context variables are what they are to it; autocast and modes that watch
    operations stay with it. All tasks run to their ends before that function returns; the first error is raised again.
    Operations release the interpreter's lock, so tasks of large operations do run at the same time.
    """
    with one_thread() as threads, ThreadPoolExecutor(max(1, threads - 1)) as pool:

        def run(task: Callable[[int], None]) -> None:
            alike = partial(_alike, task, torch.is_inference_mode_enabled(), torch.is_grad_enabled())
            others = [pool.submit(copy_context().run, alike, number) for number in range(1, threads)]
            try:
                task(0)
            finally:
                wait(others)
            for other in others:
                other.result()

        yield threads, run


def _alike(task: Callable[[int], None], inference: bool, gradients: bool, number: int) -> None:
    with torch.inference_mode(inference), torch.set_grad_enabled(gradients):
        task(number)


def each_on_one_thread(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """``function`` of every item, in order, by torch's threads side by side.

    An item is computed by one thread alone, numpy's and scipy's products included, so its result has the same bits
    however many threads there are. The first error is raised again.
    """
    results: dict[int, Result] = {}

    def task(first: int, step: int) -> None:
        for index in range(first, len(items), step):
            results[index] = function(items[index])

    with blas_pools().limit(limits=1, user_api="blas"):
        if min(len(items), torch.get_num_threads()) <= 1:
            with one_thread():
                task(0, 1)
        else:
            with side_by_side() as (threads, run):
                run(lambda thread: task(thread, threads))
    return [results[index] for index in range(len(items))]


@cache
def blas_pools() -> ThreadpoolController:
    """The thread pools of numpy and scipy, looked for once, which takes milliseconds."""
    import scipy.linalg  # noqa: F401  # a pool that is loaded later would not be found

    return ThreadpoolController()
