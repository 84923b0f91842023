"""What one image takes is counted beside the stages, and never fails an evaluation."""

from __future__ import annotations

import pytest
import torch

from spectral_bench.bench.measure.flops import backbone_flops, count_flops
from spectral_bench.bench.run import evaluate as operations
from spectral_bench.bench.run import execute, load_fit
from spectral_bench.methods.interface import Crop, PatchBatch
from spectral_bench.results.record import EvaluationRecord


def evaluated(make_order, store, **changes) -> EvaluationRecord:
    order = make_order(**changes)
    assert execute(order, store=store, should_stop=lambda: False).status == "done"
    record = store.evaluation_record(order.spec.run_id, order.views[0].view_id)
    assert record is not None
    return record


def test_the_record_has_the_operations_of_backbone_and_prediction(store, make_order):
    record = evaluated(make_order, store)
    spec = make_order().spec
    assert record.flops_features == backbone_flops(spec.backbone, 1, 64, 96)
    levels = tuple(torch.zeros(1, 4, 6, 192) for _ in range(3))
    batch = PatchBatch(levels, torch.zeros(1, 4, 6, 3), ("x",), (Crop.whole(64, 96),))
    method = load_fit(store, spec.run_id)
    assert record.flops_predict == count_flops(lambda: method.predict(batch)) > 0
    assert record.warnings == []


def test_what_cannot_be_counted_is_told_and_is_no_failure(store, make_order, monkeypatch: pytest.MonkeyPatch):
    def broken(*args: object) -> int:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(operations, "backbone_flops", broken)
    record = evaluated(make_order, store)
    assert record.flops_features is None
    assert record.flops_predict is not None
    assert record.warnings == ["operations of the backbone not counted (RuntimeError: no such kernel)"]


def test_counting_is_charged_to_no_stage(store, make_order, monkeypatch: pytest.MonkeyPatch):
    seen: list[int] = []

    def late(*args: object) -> int:
        seen.append(1)
        raise MemoryError

    plain = {cost.stage: cost.items for cost in evaluated(make_order, store, seed=1).costs}
    monkeypatch.setattr(operations, "count_flops", late)
    record = evaluated(make_order, store, seed=2)
    assert seen == [1]
    assert {cost.stage: cost.items for cost in record.costs} == plain
