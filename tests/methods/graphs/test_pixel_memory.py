from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from spectral_bench.methods.graphs import pixels as module
from spectral_bench.methods.graphs import sparse
from spectral_bench.methods.graphs.options import GraphOptions
from spectral_bench.methods.graphs.pixel_memory import MEMORY, ImageGraph, PixelMemory
from spectral_bench.methods.graphs.pixels import pixel_graph


def image(value: float, shape: tuple[int, ...] = (2, 3, 3)) -> NDArray[np.float32]:
    return np.full(shape, value, dtype=np.float32)


def graph(edges: int) -> ImageGraph:
    return ImageGraph(np.zeros(1, np.int32), np.zeros(edges, np.int16))


class Maker:
    """Makes graphs of so many edges, and counts them."""

    def __init__(self, edges: int = 48) -> None:
        self.edges, self.made = edges, 0

    def __call__(self) -> ImageGraph:
        self.made += 1
        return graph(self.edges)


def test_an_image_is_made_once_and_told_from_others() -> None:
    memory, make = PixelMemory(), Maker()
    first = memory.recall(image(0.5), "a", make)
    assert memory.recall(image(0.5).copy(), "a", make) is first
    assert make.made == 1
    others = (image(0.25), "a"), (image(0.5), "b"), (image(0.5, (3, 2, 3)), "a"), (image(0.5).astype(np.float64), "a")
    for count, (other, settings) in enumerate(others, start=2):
        memory.recall(other, settings, make)
        assert make.made == count


def test_what_is_longest_unused_is_forgotten_first() -> None:
    memory, make = PixelMemory(limit=3 * graph(48).size), Maker()
    for value in (1, 2, 3, 1, 4):  # 2 has been unused for longest when 4 comes
        memory.recall(image(value), "", make)
    assert make.made == 4
    for value in (3, 1, 4):
        memory.recall(image(value), "", make)
    assert make.made == 4
    memory.recall(image(2), "", make)
    assert make.made == 5


def test_a_graph_beyond_the_limit_drives_nothing_out() -> None:
    memory, small, large = PixelMemory(limit=graph(48).size), Maker(), Maker(1000)
    memory.recall(image(1), "", small)
    memory.recall(image(2), "", large)
    memory.recall(image(2), "", large)
    memory.recall(image(1), "", small)
    assert (small.made, large.made) == (1, 2)


def test_room_is_told_by_the_mean_size_of_what_is_kept() -> None:
    memory = PixelMemory(limit=10 * graph(48).size)
    assert memory.room is None
    memory.recall(image(1), "", Maker(48))
    assert memory.room == 10
    memory.recall(image(2), "", Maker(146))  # 296 bytes beside 100
    assert memory.room == 1000 * 2 // 396
    memory.clear()
    assert memory.room is None


def test_batches_of_known_images_have_the_graph_of_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = torch.rand(4, 6, 7, 3, generator=torch.Generator().manual_seed(0))
    for options in (GraphOptions(), GraphOptions(pixel_near=3), GraphOptions(far_weight=0.5)):
        MEMORY.clear()
        pixel_graph(pixels, options=options)
        order = [2, 0, 3, 2]
        known = pixel_graph(pixels[order], options=options)
        MEMORY.clear()
        new = pixel_graph(pixels[order], options=options)
        assert torch.equal(sparse.keys_of(known), sparse.keys_of(new))
    calls = []
    monkeypatch.setattr(module, "_image_graph", lambda *_: calls.append(1))
    pixel_graph(pixels[[0, 2]], options=options)
    assert not calls
