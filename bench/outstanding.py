"""What of an order is stored already and what is still to be done. Needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from spectral_bench.bench.order import Order
from spectral_bench.common.errors import ConfigError

if TYPE_CHECKING:
    from spectral_bench.results.specification import View
    from spectral_bench.results.store import Store


def read_order(path: Path) -> Order:
    """The order in a JSON file.

    Raises:
        ConfigError: the file is missing or holds no valid order.
    """
    try:
        return Order.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: the order cannot be read ({error.strerror})") from error
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        place = ".".join(map(str, problem["loc"]))
        raise ConfigError(f"{path}: not a valid order ({place + ': ' if place else ''}{problem['msg']})") from error


def fit_outstanding(order: Order, store: Store) -> bool:
    """Whether the order's fit has no record, or only a failed one."""
    record = store.fit_record(order.spec.run_id)
    return record is None or record.status == "failed"


def views_outstanding(order: Order, store: Store) -> list[View]:
    """The order's views whose evaluation has no intact record, or only a failed one."""
    run_id = order.spec.run_id
    records = ((view, store.evaluation_record(run_id, view.view_id)) for view in order.views)
    return [view for view, record in records if record is None or record.status == "failed"]


def settled(order: Order, store: Store) -> Literal["done", "not_converged"] | None:
    """How an order ended of which everything is stored; None where something is outstanding."""
    fit = store.fit_record(order.spec.run_id)
    if fit is None or fit.status == "failed":
        return None
    statuses = [fit.status]
    for view in order.views:
        record = store.evaluation_record(order.spec.run_id, view.view_id)
        if record is None or record.status == "failed":
            return None
        statuses.append(record.status)
    return "not_converged" if "not_converged" in statuses else "done"
