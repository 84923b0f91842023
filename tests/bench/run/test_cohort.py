"""Runs side by side in one process: the bits of each, its costs, and what becomes of it when another fails or stops."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits  # type: ignore[import-untyped]

from spectral_bench.bench.executors.jobs import Event, Job
from spectral_bench.bench.executors.local import LocalExecutor
from spectral_bench.bench.measure.environment import THREADS_VARIABLE
from spectral_bench.bench.run import execute
from spectral_bench.bench.run.cohort import Turns, _Passes
from spectral_bench.bench.run.fit import STATE_FILE
from spectral_bench.bench.work import order as process
from spectral_bench.bench.work import worker
from spectral_bench.bench.work.order import STOP_FILE, Order
from spectral_bench.bench.work.progress import LOG_FILE, METRICS_FILE, PROGRESS_FILE, read_progress
from spectral_bench.bench.work.worker import ExitCode, Told
from spectral_bench.common.errors import RunInterrupted
from spectral_bench.methods.graphs import features as graphs
from spectral_bench.methods.interface import PatchBatch
from spectral_bench.methods.registry import METHODS, base_method, base_params
from spectral_bench.methods.testing import text_file
from spectral_bench.results.record import COHORT
from spectral_bench.results.specification import Crf, Features, Resize, Transform, View
from spectral_bench.results.store import Store

NETWORK = {"epochs": 3, "batch_size": 2, "depth": 1, "heads": 2, "head_width": 4, "mlp_width": 8}
EF = [
    {"k": 4, "neighbours": 8, "alpha": 0.3},
    {"k": 4, "neighbours": 20, "alpha": 1.0},
    {"k": 6, "neighbours": 20, "alpha": 0.0},
    {"k": 4, "neighbours": 20, "alpha": 0.3, "graph_standardise": True, "graph": "mutual"},
]
SPIN = {"k": 4, "functions": 3, "epochs": 2, "batch_size": 2, "width": 8}
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "kmeans": [{"k": 4}, {"k": 5}, {"k": 4, "input": "all_standardised_l2", "scores": "distance"}],
    "neuralef": [{**NETWORK, **one} for one in EF],
    "neuralef_kmeans": [{**NETWORK, **one, "k": 5} for one in EF[:2]],
    "deep_spectral": [{"k": 4, "eigenvectors": 3, "segments": 6}, {"k": 5, "eigenvectors": 4, "segments": 6}],
    "nystrom": [{"k": 4, "samples": 60, "neighbours": 10}, {"k": 5, "samples": 60, "neighbours": 20}],
    "neuralef_label_leak": [{**NETWORK, **one} for one in EF[:2]],
    "self_training": [{"k": 4, **NETWORK}, {"k": 4, **NETWORK, "start": "nystrom", "start_params": {"samples": 60}}],
    "linear_probe": [{"k": 11, "epochs": 2, "batch_size": 2}, {"k": 11, "epochs": 3, "batch_size": 2}],
    "oracle": [{"k": 11}],
    "maskclip": [{"text": text_file(11, 192)}, {"text": text_file(11, 192, 2), "key_smoothing": 0.9}],
    "reco": [{"text": text_file(11, 192), "archive": 2, "level": 0}, {"text": text_file(11, 192), "archive": 3}],
    "spin": [{**SPIN, "neighbours": 20}, {**SPIN, "neighbours": 8, "decay": 0.5}],
    "neuralsvd": [{**SPIN, "neighbours": 20}, {**SPIN, "neighbours": 8, "nesting": "joint"}],
    "spectralnet": [{**SPIN, "neighbours": 20}, {**SPIN, "neighbours": 8, "decay": 0.5, "separate": False}],
}


def nothing(*_: int) -> None:
    """Told, and done nothing about."""


def side_by_side(orders: Sequence[Order], store: Store, begun: Callable[[int], None] = nothing) -> dict[str, ExitCode]:
    """Carry out orders in this process, and say how each ended."""
    paths = [write(order, store) for order in orders]
    codes: dict[int, int] = {}
    worker.main_together(paths, known_failures=[None] * len(paths), told=Told(begun, codes.__setitem__))
    return {order.spec.run_id: ExitCode(codes[number]) for number, order in enumerate(orders)}


def write(order: Order, store: Store) -> Path:
    path = store.path / "orders" / f"{order.spec.run_id}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(order.model_copy(update={"store": store.path}).model_dump_json())
    return path


@pytest.fixture
def alone(tmp_path: Path) -> Callable[[Order], Store]:
    """Carries out an order by itself, in a store of its own."""
    other = Store.open(tmp_path / "alone", create=True)

    def carry_out(order: Order) -> Store:
        there = order.model_copy(update={"store": other.path})
        assert execute(there, store=other, should_stop=lambda: False).status != "failed"
        return other

    return carry_out


def require_same(order: Order, store: Store, other: Store) -> None:
    """Fit, training curve, counts and health are the same to the bit."""
    run_id = order.spec.run_id
    one, two = store.run_folder(run_id), other.run_folder(run_id)
    names = [STATE_FILE, *[METRICS_FILE] * (two / METRICS_FILE).exists()]
    names += [f"evaluations/{view.view_id}.npz" for view in order.views]
    for name in names:
        assert (one / name).read_bytes() == (two / name).read_bytes(), f"{run_id}: {name}"
    runs = [where.load_run(run_id) for where in (store, other)]
    health = [[record.health for record in (run.fit, *run.evaluations.values())] for run in runs if run is not None]
    assert health[0] == health[1]


def bases(make_order: Any, method: str, params: dict[str, Any]) -> list[Order]:
    """The order of the fit that one starts from."""
    start = base_method(method, params)
    return [] if start is None else [make_order(start, base_params(method, params), views=())]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_run_has_the_bits_that_it_has_alone(method, store, make_order, alone):
    orders = []
    for params in VARIANTS[method]:
        base = bases(make_order, method, params)
        for one in base:
            execute(one, store=store, should_stop=lambda: False)
            alone(one)
        orders.append(make_order(method, params, requires=base[0].spec.run_id if base else None))
    orders.append(make_order("kmeans", {"k": 7}))  # whatever it is, it has others beside it
    codes = side_by_side(orders, store)
    assert set(codes.values()) <= {ExitCode.DONE, ExitCode.NOT_CONVERGED}
    for order in orders:
        require_same(order, store, alone(order))


@pytest.mark.slow
def test_fresh_crops_are_drawn_once_for_all(store, make_order, alone):
    crops = Transform(resize=Resize(mode="exact", size=(64, 96)), scale=(0.8, 1.5), crop=64, flip=True)
    how = {"transform": crops, "features": Features(mode="online")}
    orders = [make_order("neuralef", {**NETWORK, **one}, **how) for one in EF[:2]]
    assert set(side_by_side(orders, store).values()) == {ExitCode.DONE}
    for order in orders:
        require_same(order, store, alone(order))


@pytest.mark.slow
@pytest.mark.usefixtures("crf_server")
def test_a_crf_is_that_of_one_run_at_a_time(store, make_order, alone):
    pytest.importorskip("pydensecrf.densecrf", reason="the extra crf is not installed")
    view = View(dataset="camvid", split="val", resize=Resize(mode="exact", size=(64, 96)), crf=Crf())
    orders = [make_order("kmeans", {"k": k, "scores": "distance"}, views=(view,)) for k in (4, 5)]
    assert set(side_by_side(orders, store).values()) == {ExitCode.DONE}
    for order in orders:
        require_same(order, store, alone(order))


def test_the_furthest_behind_has_the_turn():
    order: list[tuple[str, int]] = []
    turns = Turns(2, lambda member: order.append(("turn", member)))
    steps = {0: [5, 6, 9], 1: [1, 2, 7]}

    def work(member: int) -> None:
        turns.begin(member)
        for step in steps[member]:
            turns.wait(member, (0, 0, step))
            order.append(("step", step))
        turns.leave()

    threads = [threading.Thread(target=work, args=(member,)) for member in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [what for what in order if what[0] == "step"] == [("step", step) for step in (1, 2, 5, 6, 7, 9)]
    assert [member for what, member in order if what == "turn"] == [0, 1, 0, 1, 0]  # told where it changes hands


def test_a_graph_is_made_once_and_charged_to_all(store, make_order, monkeypatch):
    made: list[int] = []
    find = graphs._nearest_edges
    monkeypatch.setattr(graphs, "_nearest_edges", lambda vectors, k: (made.append(k), find(vectors, k))[1])
    orders = [make_order("neuralef", {**NETWORK, **one}, views=()) for one in EF[:3]]
    side_by_side(orders, store)
    assert made == [20] * 6  # three epochs of two batches, for the run of 8 neighbours too
    ids = {order.spec.run_id for order in orders}
    stages = []
    for order in orders:
        record = store.fit_record(order.spec.run_id)
        assert set(record.execution[COHORT]) == ids
        stages.append({cost.stage: cost for cost in record.costs})
    spent = [stage["graph"].cpu_s for stage in stages]
    assert min(spent) > 0.2 * max(spent)  # as if each had made it; the last has no graph of pixels
    shares = sum(stage["graph"].share_cpu_s for stage in stages)
    assert 0 < shares < sum(spent)
    assert all(stage["health"].share_cpu_s is None or stage["health"].share_cpu_s > 0 for stage in stages)


def test_no_batch_of_an_earlier_epoch_is_held(store, make_order, monkeypatch):
    """Each holds the graphs of all runs: of N patches, some hundred megabytes."""
    held: list[int] = []
    batch = _Passes.batch

    def look(passes: _Passes, *asked: Any) -> Any:
        item = batch(passes, *asked)
        held.append(sum(len(one._held) for one in passes._held.values()))
        return item

    monkeypatch.setattr(_Passes, "batch", look)
    orders = [make_order("neuralef", {**NETWORK, **one, "epochs": 6}, views=()) for one in EF[:2]]
    assert set(side_by_side(orders, store).values()) == {ExitCode.DONE}
    assert max(held) == 2


def test_operations_that_another_run_has_done_are_counted(store, make_order, alone, monkeypatch):
    from spectral_bench.methods.kmeans import KMeans

    predict = KMeans.predict

    def sharing(self: KMeans, batch: PatchBatch) -> Any:
        last = batch.features[-1]
        batch.shared("products", lambda: last @ last.mT)
        return predict(self, batch)

    monkeypatch.setattr(KMeans, "predict", sharing)
    orders = [make_order("kmeans", {"k": k}) for k in (4, 5)]
    side_by_side(orders, store)
    for order in orders:
        one, other = (where.load_run(order.spec.run_id).evaluations.values() for where in (store, alone(order)))
        assert [record.flops_predict for record in one] == [record.flops_predict for record in other]


def test_a_run_alone_has_no_shares(store, make_order, alone):
    order = make_order("neuralef", {**NETWORK, **EF[0]})
    record = alone(order).fit_record(order.spec.run_id)
    assert COHORT not in record.execution
    assert {cost.share_wall_s for cost in record.costs} == {None}


def test_a_failure_is_that_of_one_run(store, make_order, alone):
    bad = make_order("neuralef", {**NETWORK, **EF[0], "k": 500})
    good = [make_order("neuralef", {**NETWORK, **one}) for one in EF[1:3]]
    codes = side_by_side([good[0], bad, good[1]], store)
    assert [codes[one.spec.run_id] for one in (bad, *good)] == [ExitCode.FAILED, ExitCode.DONE, ExitCode.DONE]
    assert "k = 500" in store.fit_record(bad.spec.run_id).failure.message
    for order in good:
        require_same(order, store, alone(order))
        assert "k = 500" not in (store.run_folder(order.spec.run_id) / LOG_FILE).read_text()
    assert "k = 500" in (store.run_folder(bad.spec.run_id) / LOG_FILE).read_text()


def test_memory_that_runs_out_beside_others_says_nothing_of_a_run(store, make_order, monkeypatch):
    orders = [make_order("kmeans", {"k": k}, views=()) for k in (4, 5)]
    carry_out = worker._execute

    def greedy(order: Order, **how: Any) -> Any:
        if order.spec.params["k"] == 5:
            raise MemoryError
        return carry_out(order, **how)

    monkeypatch.setattr(worker, "_execute", greedy)
    codes = side_by_side(orders, store)
    assert list(codes.values()) == [ExitCode.DONE, ExitCode.CROWDED]
    assert store.fit_record(orders[1].spec.run_id) is None


def test_each_thread_computes_with_the_threads_of_the_order(store, make_order, monkeypatch):
    """A fresh thread has OpenMP's own number, whatever torch was told before: a product's bits could be others."""
    seen: list[int] = []

    def look(*_: Any, **how: Any) -> Any:
        pools = (pool for pool in threadpool_info() if pool["user_api"] == "openmp")
        # Torch's own: other tests may have loaded scikit-learn, which brings another.
        seen.extend(pool["num_threads"] for pool in pools if "scikit_learn" not in pool["filepath"])
        raise RunInterrupted

    monkeypatch.setenv(THREADS_VARIABLE, "1")  # set by the order, for this test alone
    monkeypatch.setattr(worker, "_execute", look)
    before = torch.get_num_threads()
    try:
        with threadpool_limits():
            side_by_side([make_order("kmeans", {"k": k}, threads=3) for k in (4, 5)], store)
    finally:
        torch.set_num_threads(before)
    assert seen
    assert set(seen) == {3}


@pytest.mark.slow
@pytest.mark.parametrize("together", [True, False])
def test_stopped_runs_go_on_with_the_same_bits(together, store, make_order, alone):
    orders = [make_order("neuralef", {**NETWORK, **one, "epochs": 6}) for one in EF[:3]]
    turns: list[int] = []

    def stop(number: int) -> None:
        turns.append(number)
        if len(turns) == 14:
            os.kill(os.getpid(), signal.SIGTERM)

    assert set(side_by_side(orders, store, stop).values()) == {ExitCode.INTERRUPTED}
    for part in [orders] if together else [[orders[0]], orders[1:]]:  # the first is then ahead of nobody
        assert set(side_by_side(part, store).values()) == {ExitCode.DONE}
    for order in orders:
        require_same(order, store, alone(order))


@pytest.mark.slow
def test_one_run_is_stopped_alone(store, make_order, alone, monkeypatch):
    monkeypatch.setattr(process, "_LOOK_S", 0.0)
    orders = [make_order("neuralef", {**NETWORK, **one, "epochs": 6}) for one in EF[:3]]
    chosen = store.run_folder(orders[1].spec.run_id)
    turns: list[int] = []

    def stop(number: int) -> None:
        turns.append(number)
        if len(turns) == 14:
            (chosen / STOP_FILE).write_bytes(b"")

    codes = [*side_by_side(orders, store, stop).values()]
    assert codes == [ExitCode.DONE, ExitCode.INTERRUPTED, ExitCode.DONE]
    assert not (chosen / STOP_FILE).exists()
    side_by_side([orders[1]], store)  # from its checkpoint
    for order in orders:
        require_same(order, store, alone(order))


@pytest.mark.slow
def test_a_killed_process_takes_no_run_along(store, make_order, alone):
    orders = [make_order("neuralef", {**NETWORK, **one, "epochs": 40}, checkpoint_every=0.5) for one in EF[:3]]
    jobs = [Job(order.spec.run_id, write(order, store), cohort="one") for order in orders]
    events: list[Event] = []
    killed: list[int] = []

    def watch(event: Event) -> None:
        events.append(event)
        seen = [read_progress(store.run_folder(job.run_id) / PROGRESS_FILE) for job in jobs]
        if not killed and all(one is not None and one.stage == "fit" and one.done > 2 for one in seen):
            killed.append(store.owner(jobs[0].run_id)["pid"])
            os.kill(killed[0], signal.SIGKILL)

    exits = LocalExecutor(store, threads=1).run(jobs, watch)
    assert set(exits.values()) == {"done"}
    again = [event.message for event in events if event.kind == "again"]
    assert sum("alone" in message for message in again) == 1
    assert len(again) == len(jobs)
    for order in orders:
        assert store.attempts(order.spec.run_id) == []
        require_same_fit(order, store, alone(order))


def require_same_fit(order: Order, store: Store, other: Store) -> None:
    files = [where.run_folder(order.spec.run_id) / STATE_FILE for where in (store, other)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_tensor_changed_in_place_is_read_again(store, make_order, alone, monkeypatch):
    from spectral_bench.methods.neuralef.method import NeuralEF

    step = NeuralEF._step

    def spoiling(self: NeuralEF, number: int, steps: int, batch: Any, context: Any) -> Any:
        result = step(self, number, steps, batch, context)
        batch.pixels.zero_()
        return result

    orders = [make_order("neuralef", {**NETWORK, **one}) for one in (EF[0], EF[1])]
    reference = [alone(order) for order in orders]
    monkeypatch.setattr(NeuralEF, "_step", spoiling)
    side_by_side(orders, store)
    for order, other in zip(orders, reference, strict=True):
        require_same(order, store, other)
