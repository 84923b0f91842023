"""No label can reach a method: fits are bit-identical whatever the labels are, and when there are none."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.run import execute
from bench.run.stored import STATE_FILE
from methods.registry import METHODS
from results.store import Store

SMALL = {
    "neuralef": {"k": 4, "epochs": 2, "batch_size": 2, "depth": 1, "heads": 1, "head_width": 8, "mlp_width": 16},
}
LABEL_FREE = [name for name, entry in METHODS.items() if not entry.facts.uses_labels and entry.facts.fit_from is None]


def permute_labels(root: Path) -> None:
    rng = np.random.default_rng(0)
    for path in (root / "camvid").glob("*annot/*.png"):
        label = np.array(Image.open(path))
        Image.fromarray(rng.permutation(label.ravel()).reshape(label.shape)).save(path)


def remove_labels(root: Path) -> None:
    for folder in (root / "camvid").glob("*annot"):
        shutil.rmtree(folder)


@pytest.mark.parametrize("change", [permute_labels, remove_labels])
@pytest.mark.parametrize("method", LABEL_FREE)
def test_labels_change_nothing(method, change, make_order, store, data_root, tmp_path):
    order = make_order(method, SMALL.get(method), views=())
    execute(order, store=store, should_stop=lambda: False)
    change(data_root)
    other = Store.open(tmp_path / "other", create=True)
    execute(order.model_copy(update={"store": other.path}), store=other, should_stop=lambda: False)
    states = [(s.run_folder(order.spec.run_id) / STATE_FILE).read_bytes() for s in (store, other)]
    assert states[0] == states[1]
