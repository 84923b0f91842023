"""What a worker is told: one fit, the evaluations of it that are wanted, and how to execute them.

Also: which part of an order is stored already, and which is still to be done. Needs no torch.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spectral_bench.common.errors import ConfigError
from spectral_bench.results.documents import names_in
from spectral_bench.results.specification import FitSpec, View
from spectral_bench.results.state import Ended, StoredRun

if TYPE_CHECKING:
    from spectral_bench.results.store import Store

ORDER_PREFIX = "order-"
"""What the names of the files of orders begin with, in the folder of their run."""

_ORDER_FILE = re.compile(rf"{ORDER_PREFIX}[0-9a-f]{{8}}\.json")


def order_files(folder: Path) -> list[Path]:
    """The files of all orders in the folder of a run; copies of sync clients are passed over."""
    return [folder / name for name in names_in(folder) if _ORDER_FILE.fullmatch(name)]


def newest_order(folder: Path) -> Path | None:
    """The file of the order that was last written into the folder of a run; None where none was."""
    return max(order_files(folder), key=lambda path: path.stat().st_mtime_ns, default=None)


class Execution(BaseModel):
    """How a run is executed. None of it is part of an identity.

    Workers, inference batch, executor, cache and checkpoints change no result beyond 1e-4. Device and threads change
    rounding, which the training of a network amplifies: what is trained with others is another sample, like another
    seed's (docs/devices.md).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: str = Field("auto", description="auto (CUDA where there is one), cpu, cuda, cuda:N")
    threads: int = Field(0, ge=0, description="torch threads; 0: all cores divided by the jobs")
    workers: int = Field(2, ge=0, description="threads that decode and augment images, and processes that compute CRFs")
    inference_batch: int = Field(8, ge=1, description="images a forward pass of the backbone")
    cache_limit: int = Field(50 * 10**9, ge=0, description="bytes that the feature caches of a plan may take")
    checkpoint_every: float = Field(120.0, ge=0, description="seconds between checkpoints of a fit")
    executor: str = "inline"


class Order(BaseModel):
    """One unit of work. A worker is started with the path of its JSON; the records are its only result."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    spec: FitSpec
    views: tuple[View, ...] = ()
    requires: str | None = Field(None, description="run id of the fit that this one starts from (fit_from)")
    store: Path = Field(description="absolute path of the store")
    data_roots: tuple[Path, ...] = ()
    execution: Execution = Execution()
    features_only: bool = Field(False, description="extract the cached features and stop (a job that runs share)")


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


def fit_missing(order: Order, store: Store) -> bool:
    """Whether the order's fit has no record, or only a failed one."""
    return not StoredRun(store.fit_record(order.spec.run_id)).fitted


def missing_views(order: Order, store: Store) -> list[View]:
    """The order's views whose evaluation has no intact record, or only a failed one, whatever became of the fit."""
    run_id = order.spec.run_id
    records = ((view, store.evaluation_record(run_id, view.view_id)) for view in order.views)
    return [view for view, record in records if record is None or record.status == "failed"]


def final_status(order: Order, store: Store) -> Literal["done", "not_converged"] | None:
    """How an order ended of which everything is stored; None where something is missing."""
    run_id = order.spec.run_id
    fit = store.fit_record(run_id)
    if not StoredRun(fit).fitted:  # spares most runs that wait a look at their views
        return None
    stored: StoredRun[Ended] = StoredRun(
        fit, {view.view_id: store.evaluation_record(run_id, view.view_id) for view in order.views}
    )
    if stored.missing:
        return None
    return "done" if stored.not_converged is None else "not_converged"
