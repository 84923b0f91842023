"""What several runs of one process compute of the same batch: once, and charged to each of them.

Runs that are trained side by side see the same batches. What they compute of a batch alone, and not of what they have
learnt, such as its graph, is kept with the batch and ends with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator
from typing import Any, TypeVar, cast

T = TypeVar("T")


class Product:
    """What it cost to compute something once.

    Attributes:
        wall_s: seconds on the clock, without those of its parts.
        cpu_s: CPU seconds of the process, likewise.
        parts: products that it was made of.
        uses: how often it was asked for, each time by a run that would have computed it if it were alone.
    """

    def __init__(self) -> None:
        self.wall_s = self.cpu_s = 0.0
        self.parts: list[Product] = []
        self.uses = 0

    def every(self) -> Iterator[Product]:
        """Itself and all that it was made of."""
        yield self
        for part in self.parts:
            yield from part.every()


class Products:
    """Products by key, made when they are first asked for. One thread at a time uses them.

    Args:
        used: told of each product that is asked for, and whether it was made just now.
        synchronise: waits until the device is idle, so that a product is charged with its own time; on a CPU nothing.
    """

    def __init__(self, used: Callable[[Product, bool], None], synchronise: Callable[[], None] = lambda: None) -> None:
        self._used, self._synchronise = used, synchronise
        self._held: dict[Hashable, tuple[Any, Product]] = {}
        self._making: list[Product] = []
        self._spent = (0.0, 0.0)  # on all products made so far, wall and CPU

    def recall(self, key: Hashable, make: Callable[[], T], serves: Callable[[T], bool] = lambda value: True) -> T:
        """The product of a key; made where there is none, or none that serves.

        Args:
            key: names all that the product depends on besides what these products are of.
            make: computes it; what it raises is raised, and nothing is kept.
            serves: whether what is held will do; what is made anew takes its place.
        """
        held = self._held.get(key)
        made = held is None or not serves(held[0])
        if held is None or made:
            held = self._held[key] = self._made(make)
        value, product = held
        if self._making:
            self._making[-1].parts.append(product)
        self._used(product, made)
        return cast(T, value)

    def forget(self, key: Hashable) -> None:
        """Drop the product of a key, if there is one."""
        self._held.pop(key, None)

    def clear(self) -> None:
        """Drop all products."""
        self._held.clear()

    def _made(self, make: Callable[[], T]) -> tuple[T, Product]:
        product = Product()
        self._synchronise()
        wall, cpu, before = time.perf_counter(), time.process_time(), self._spent
        self._making.append(product)
        try:
            value = make()
        finally:
            self._making.pop()
        self._synchronise()
        parts = self._spent[0] - before[0], self._spent[1] - before[1]
        product.wall_s = time.perf_counter() - wall - parts[0]
        product.cpu_s = time.process_time() - cpu - parts[1]
        self._spent = self._spent[0] + product.wall_s, self._spent[1] + product.cpu_s
        return value, product
