"""Whole runs on a CUDA device: the same bits again, resumed too, device memory in the records, masks as on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from spectral_bench.bench.run import execute
from spectral_bench.bench.run.fit import STATE_FILE
from spectral_bench.bench.work.order import Order
from spectral_bench.bench.work.worker import ExitCode, Told, main_together
from spectral_bench.results.store import Store

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("as_in_a_worker")]
if not torch.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

NETWORK = {"neighbours": 20, "epochs": 4, "batch_size": 2, "depth": 1, "heads": 2, "head_width": 4, "mlp_width": 8}
METHODS = {
    "kmeans": {"k": 4},
    "neuralef": {"k": 4, **NETWORK},
    "deep_spectral": {"k": 4, "eigenvectors": 3, "segments": 6},
    "nystrom": {"k": 4, "samples": 60, "neighbours": 10},
    "spin": {"k": 4, "functions": 3, "neighbours": 20, "epochs": 4, "batch_size": 2, "width": 8},
    "neuralsvd": {"k": 4, "functions": 3, "neighbours": 20, "epochs": 4, "batch_size": 2, "width": 8},
    "spectralnet": {"k": 4, "functions": 3, "neighbours": 20, "epochs": 4, "batch_size": 2, "width": 8},
}


def never() -> bool:
    return False


def done(order: Order, store: Store) -> tuple[bytes, np.ndarray]:
    assert execute(order, store=store, should_stop=never).status == "done"
    matrix = store.contingency(order.spec.run_id, order.views[0].view_id).matrix()
    return (store.run_folder(order.spec.run_id) / STATE_FILE).read_bytes(), matrix


@pytest.mark.parametrize("name", METHODS)
def test_a_run_repeats_bit_for_bit_in_another_store(name, make_order, store, tmp_path):
    order = make_order(name, METHODS[name], device="cuda")
    other = Store.open(tmp_path / "other", create=True)
    state, matrix = done(order, store)
    again, same = done(order.model_copy(update={"store": other.path}), other)
    assert state == again
    assert np.array_equal(matrix, same)


def test_its_records_say_the_device_and_its_memory(make_order, store):
    order = make_order("neuralef", METHODS["neuralef"], device="auto")
    done(order, store)
    record = store.fit_record(order.spec.run_id)
    assert record.execution["device"].startswith("cuda")
    costs = {cost.stage: cost for cost in record.costs}
    assert costs["fit"].peak_device > 0
    assert costs["features"].peak_device > 0


def test_a_run_that_was_stopped_ends_with_the_same_bits(make_order, store, tmp_path):
    asked = 0

    def soon() -> bool:
        nonlocal asked
        asked += 1
        return asked > 12

    order = make_order("neuralef", METHODS["neuralef"], device="cuda", checkpoint_every=0.0)
    other = Store.open(tmp_path / "other", create=True)
    state, _ = done(order, store)
    moved = order.model_copy(update={"store": other.path})
    assert execute(moved, store=other, should_stop=soon).status == "interrupted"
    assert done(moved, other)[0] == state


@pytest.mark.parametrize("name", METHODS)
def test_a_fit_of_the_device_is_evaluated_alike_on_the_cpu(name, make_order, store, tmp_path: Path):
    order = make_order(name, METHODS[name], device="cuda")
    _, matrix = done(order, store)
    folder = store.run_folder(order.spec.run_id)
    (folder / "evaluations").rename(tmp_path / "evaluations")
    on_cpu = order.model_copy(update={"execution": order.execution.model_copy(update={"device": "cpu"})})
    _, found = done(on_cpu, store)
    assert np.abs(matrix - found).sum() <= 0.001 * matrix.sum()  # pixels half-way between two one-hot scores


def test_runs_side_by_side_have_the_bits_that_they_have_alone(make_order, store, tmp_path):
    params = [METHODS["neuralef"], {**METHODS["neuralef"], "alpha": 1.0}, {**METHODS["neuralef"], "neighbours": 9}]
    orders = [make_order("neuralef", one, device="cuda") for one in params]
    other = Store.open(tmp_path / "other", create=True)
    paths = []
    for number, order in enumerate(orders):
        paths.append(tmp_path / f"{number}.json")
        paths[-1].write_text(order.model_copy(update={"store": other.path}).model_dump_json())
    codes: dict[int, int] = {}
    told = Told(lambda number: None, codes.__setitem__)
    main_together(paths, known_failures=[None] * len(paths), told=told)
    assert set(codes.values()) == {ExitCode.DONE}
    for order in orders:
        state, matrix = done(order, store)
        assert (other.run_folder(order.spec.run_id) / STATE_FILE).read_bytes() == state
        assert np.array_equal(other.contingency(order.spec.run_id, order.views[0].view_id).matrix(), matrix)
