"""What a run takes besides its own work, in numbers that no load of a machine changes: guards of its speed."""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from spectral_bench.bench.executors.local import PRELOAD
from spectral_bench.bench.run import execute
from spectral_bench.bench.work import worker
from spectral_bench.datasets import contents
from spectral_bench.methods import exact
from spectral_bench.methods.exact import ExactSpace
from spectral_bench.methods.graphs.kernel import Kernel
from spectral_bench.methods.interface import PatchBatch
from spectral_bench.methods.neuralef.method import NeuralEF
from spectral_bench.methods.nystrom.method import Nystrom

NETWORK = {"epochs": 1, "batch_size": 2, "depth": 1, "heads": 1, "head_width": 8, "mlp_width": 16, "neighbours": 8}


def carry_out(path: Path, told: Path) -> None:
    """In a process of its own: work an order off and write down what was opened."""
    opened: list[str] = []

    def tell(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str):
            opened.append(arguments[0])

    sys.addaudithook(tell)
    assert worker.main(path) == 0
    told.write_text(json.dumps(opened))


def opened_by(order, folder: Path) -> Counter[str]:
    """How often a worker with this order opens each file below ``folder``, by its path from there."""
    path = order.store / f"{order.spec.run_id}.json"
    path.write_text(order.model_dump_json())
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOAD))
    process = context.Process(target=carry_out, args=(path, told := path.with_name("told.json")))
    process.start()
    process.join()
    assert process.exitcode == 0
    found = [Path(name) for name in json.loads(told.read_text())]
    return Counter(str(name.relative_to(folder)) for name in found if name.is_relative_to(folder) and not name.is_dir())


@pytest.mark.slow
def test_runs_that_share_a_graph_decompose_it_once(store, make_order, monkeypatch: pytest.MonkeyPatch):
    decomposed: list[int] = []
    compute = exact._computed

    def counting(kernel: Kernel, count: int) -> ExactSpace:
        decomposed.append(count)
        return compute(kernel, count)

    monkeypatch.setattr(exact, "_computed", counting)
    for changes in ({}, {"beta": 0.5}, {"lr": 1e-4}, {"k": 3}, {"k": 3, "beta": 0.5}, {"alpha": 0.0}):
        order = make_order("neuralef", {"k": 4, **NETWORK, **changes}, seed=len(decomposed))
        assert execute(order, store=store, should_stop=lambda: False).status in ("done", "not_converged")
    assert decomposed == [4, 3, 4]  # by k and by alpha; not by what trains psi
    assert len(list(store.eigenspaces_folder.glob("[!k]*.npz"))) == 3
    assert len(list(store.eigenspaces_folder.glob("kernel-*.npz"))) == 2  # by alpha


@pytest.mark.slow
@pytest.mark.parametrize(("name", "params"), [("neuralef", {"k": 4, **NETWORK}), ("nystrom", {"k": 4, "samples": 60})])
def test_no_image_is_predicted_again_for_the_checks(store, make_order, monkeypatch: pytest.MonkeyPatch, name, params):
    predicted: list[str] = []
    kind = {"neuralef": NeuralEF, "nystrom": Nystrom}[name]
    known, alone = kind.predict_with_functions, kind.eigenfunctions

    def both(method: Any, batch: PatchBatch) -> Any:
        predicted.extend(batch.image_ids)
        return known(method, batch)

    def again(method: Any, batch: PatchBatch) -> Any:
        predicted.append("again")
        return alone(method, batch)

    monkeypatch.setattr(kind, "predict_with_functions", both)
    monkeypatch.setattr(kind, "eigenfunctions", again)
    order = make_order(name, params)
    execute(order, store=store, should_stop=lambda: False)
    (record,) = (store.evaluation_record(order.spec.run_id, view.view_id) for view in order.views)
    assert record is not None
    assert any(check.name == "angle_largest" and check.value is not None for check in record.health)
    assert len(predicted) == len(set(predicted)) == record.n_images


@pytest.mark.slow
def test_a_run_reads_headers_and_labels_alone_where_features_are_kept(store, make_order, data_root: Path):
    newest = max(path.stat().st_ctime_ns for path in data_root.rglob("*"))
    while time.time_ns() <= newest + contents._SETTLED_NS:  # of younger files no digest is kept
        time.sleep(0.1)
    assert any("train" in name for name in opened_by(make_order(seed=0), data_root))
    opened = opened_by(make_order(seed=1), data_root)
    evaluated = {f"camvid/{folder}/val{index}.png" for folder in ("val", "valannot") for index in range(4)}
    assert set(opened) == evaluated  # no training image, whose features are there
    assert set(opened.values()) == {3}  # a header, its depth, and whether the file is whole


@pytest.mark.slow
def test_a_run_opens_few_files_of_its_store(store, make_order):
    execute(make_order(seed=0), store=store, should_stop=lambda: False)
    opened = opened_by(make_order(seed=1), store.path)
    kept = {name: count for name, count in opened.items() if not name.startswith("records/")}
    own = {name: count for name, count in opened.items() if name not in kept and "progress" not in name}
    assert max(kept.values()) <= 2, kept  # arrays of features: by their check, and mapped
    assert len(kept) <= 13, kept
    assert max(own.values()) == 1, own
    assert len(own) <= 11, own
    assert len(list(store.flops_folder.iterdir())) == 1
