from __future__ import annotations

import json
from pathlib import Path

import fake_work
import pytest
from fake_work import VIEWS, MakeOrder

from spectral_bench.bench.work.order import final_status, fit_missing, missing_views, read_order
from spectral_bench.common.errors import ConfigError
from spectral_bench.results.record import EvaluationRecord, Failure, FitRecord
from spectral_bench.results.store import Store

pytestmark = pytest.mark.usefixtures("no_fsync")


def test_what_is_left_shrinks_as_records_appear(store: Store, make_order: MakeOrder) -> None:
    order = read_order(make_order())
    run = fake_work._Run(order, store, lambda: False)
    assert fit_missing(order, store)
    assert missing_views(order, store) == list(VIEWS)
    assert final_status(order, store) is None
    run.fit()
    assert not fit_missing(order, store)
    assert final_status(order, store) is None
    run.evaluate(VIEWS[1])
    assert missing_views(order, store) == [VIEWS[0]]
    assert final_status(order, store) is None
    run.evaluate(VIEWS[0])
    assert missing_views(order, store) == []
    assert final_status(order, store) == "done"


def test_order_without_views_is_settled_by_its_fit(store: Store, make_order: MakeOrder) -> None:
    order = read_order(make_order()).model_copy(update={"views": ()})
    fake_work._Run(order, store, lambda: False).fit()
    assert final_status(order, store) == "done"


def test_failures_are_outstanding(store: Store, make_order: MakeOrder) -> None:
    order = read_order(make_order())
    spec, failure = order.spec, Failure(kind="killed", message="x")
    store.write_fit(FitRecord(run_id=spec.run_id, spec=spec, status="failed", started="", finished="", failure=failure))
    assert fit_missing(order, store)
    fake_work.execute(order, store=store, should_stop=lambda: False)
    other = order.model_copy(update={"views": (VIEWS[0].model_copy(update={"subset": 9}),)})
    view = other.views[0]
    record = EvaluationRecord(
        run_id=spec.run_id, view_id=view.view_id, view=view, status="failed", started="", finished="", failure=failure
    )
    store.write_evaluation(record)
    assert missing_views(other, store) == [view]
    assert final_status(other, store) is None


def test_fit_or_evaluation_that_did_not_converge_settles_but_shows(store: Store, make_order: MakeOrder) -> None:
    order = read_order(make_order(act="diverge"))
    fake_work.execute(order, store=store, should_stop=lambda: False)
    assert final_status(order, store) == "not_converged"
    assert not fit_missing(order, store)


def test_torn_contingency_is_outstanding(store: Store, make_order: MakeOrder) -> None:
    order = read_order(make_order())
    fake_work.execute(order, store=store, should_stop=lambda: False)
    (store.run_folder(order.spec.run_id) / "evaluations" / f"{VIEWS[0].view_id}.npz").write_bytes(b"torn")
    assert missing_views(order, store) == [VIEWS[0]]


class TestReading:
    def test_round_trip(self, make_order: MakeOrder) -> None:
        path = make_order(3, k=5)
        assert read_order(path).spec == fake_work.spec_of(3, k=5)

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"x\.json: the order cannot be read \(No such file"):
            read_order(tmp_path / "x.json")

    def test_unknown_key_is_named(self, make_order: MakeOrder) -> None:
        path = make_order()
        path.write_text(json.dumps(json.loads(path.read_text()) | {"priority": 3}))
        with pytest.raises(ConfigError, match=r"not a valid order \(priority: Extra inputs"):
            read_order(path)

    def test_wrong_value_is_named(self, make_order: MakeOrder) -> None:
        path = make_order()
        value = json.loads(path.read_text())
        value["spec"]["seed"] = -1
        path.write_text(json.dumps(value))
        with pytest.raises(ConfigError, match=r"not a valid order \(spec\.seed: "):
            read_order(path)

    def test_torn(self, make_order: MakeOrder) -> None:
        path = make_order()
        path.write_bytes(path.read_bytes()[:50])
        with pytest.raises(ConfigError, match=r"not a valid order \(Invalid JSON"):
            read_order(path)
