"""The pixel graphs of images that a process has seen: an image's graph is the same at every step."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LIMIT = 2**26  # bytes of graphs that are kept: 1800 images of 30 x 30 patches

_KEY = 16  # bytes of a digest: two images of one digest are out of reach


class ImageGraph(NamedTuple):
    """The edges of one image.

    Attributes:
        counts: (n,) int32, neighbours of each pixel.
        columns: (nnz,) int16 or int32, the neighbours, ascending for each pixel.
        values: (nnz,) float64 weights of the edges; None: all are 1.
    """

    counts: NDArray[np.int32]
    columns: NDArray[np.signedinteger]
    values: NDArray[np.float64] | None = None

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return self.counts.nbytes + self.columns.nbytes + (0 if self.values is None else self.values.nbytes)


class PixelMemory:
    """Graphs by the content of their image; those longest unused are forgotten beyond ``limit`` bytes.

    Several threads may use one memory; a graph that two of them miss at once is made twice.

    Attributes:
        limit: bytes of graphs that are kept.
        made: graphs that were not known and were made, up to now.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.made = 0
        self._known: OrderedDict[bytes, ImageGraph] = OrderedDict()
        self._held = 0
        self._lock = threading.Lock()

    def recall(self, image: NDArray[np.floating], settings: str, make: Callable[[], ImageGraph]) -> ImageGraph:
        """The graph of a contiguous image (h, w, 3) under some settings, made if it is not known."""
        told = f"{image.shape} {image.dtype} {settings}".encode()
        key = hashlib.blake2b(image.tobytes(), digest_size=_KEY, key=hashlib.blake2b(told).digest()).digest()
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        graph = make()
        with self._lock:
            self.made += 1
            if key not in self._known and graph.size <= self.limit:
                self._known[key] = graph
                self._held += graph.size
                while self._held > self.limit:
                    self._held -= self._known.popitem(last=False)[1].size
        return graph

    @property
    def room(self) -> int | None:
        """How many graphs of the mean size of those that are kept there is room for; None where none is kept."""
        with self._lock:
            return self.limit * len(self._known) // self._held if self._held else None

    def clear(self) -> None:
        """Forget all graphs."""
        with self._lock:
            self._known.clear()
            self._held = 0


MEMORY = PixelMemory()
"""That of this process."""
