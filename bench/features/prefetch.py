"""Work ahead in threads, hand over in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int, ahead: int
) -> Iterator[Result]:
    """``map(function, items)``, computed by threads, of which at most ``ahead`` results wait to be read.

    Decoding, resizing and numpy release the interpreter's lock, so threads do as well as processes and start at once.

    Args:
        function: called from the threads; its first error is raised where its result is due.
        items: read only as far as the work has got.
        workers: threads; 0: the calling thread does the work when a result is asked for.
        ahead: bound on results that are computed or waiting, at least 1.
    """
    if workers == 0:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="images")
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
