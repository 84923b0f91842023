"""What a process keeps between runs makes no run look cheaper than it is alone."""

from __future__ import annotations

import shutil

from spectral_bench.bench.run.execute import execute
from spectral_bench.methods.graphs.pixel_memory import MEMORY, ImageGraph
from spectral_bench.results.store import Store


def test_pixel_graphs_of_an_earlier_run_are_made_again(make_order, monkeypatch):
    made: list[int] = []
    recall = MEMORY.recall

    def counted(image, settings, make):
        def counting() -> ImageGraph:
            made.append(1)
            return make()

        return recall(image, settings, counting)

    monkeypatch.setattr(MEMORY, "recall", counted)
    small = {"k": 4, "epochs": 1, "batch_size": 2, "depth": 1, "heads": 1, "head_width": 8, "mlp_width": 16}
    counts = []
    for seed in (0, 1):
        order = make_order("neuralef", small, seed=seed)
        execute(order, store=Store.open(order.store), should_stop=lambda: False)
        counts.append(len(made))
        shutil.rmtree(order.store / "eigenspaces")  # graphs of held-out images, which a store keeps for all runs
        made.clear()
    assert counts[0] == counts[1] > 0
