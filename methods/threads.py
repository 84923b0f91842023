"""Torch's threads on the CPU: whole tasks side by side instead of every small operation cut into pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


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

    The tasks run to their ends before that function returns; the first error is raised again. Operations release the
    interpreter's lock, so tasks of large operations do run at the same time.
    """
    with one_thread() as threads, ThreadPoolExecutor(threads) as pool:

        def run(task: Callable[[int], None]) -> None:
            for _ in pool.map(task, range(threads)):
                pass

        yield threads, run
