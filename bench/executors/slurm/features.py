"""The extraction of features that several runs share, as jobs of its own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from spectral_bench.bench.executors.interface import Job
from spectral_bench.bench.order import Order
from spectral_bench.bench.outstanding import fit_outstanding, views_outstanding
from spectral_bench.bench.plan.estimate import is_present, wanted_caches
from spectral_bench.common.files import write_bytes
from spectral_bench.results.identity import digest
from spectral_bench.results.specification import View
from spectral_bench.results.store import Store


@dataclass(frozen=True)
class _Caches:
    """The caches of one run that are still to be written: those of its training images, and of views."""

    training: frozenset[str]
    views: dict[str, View]

    @property
    def keys(self) -> frozenset[str]:
        """Keys of all caches, of training and of views."""
        return self.training | self.views.keys()


def features_first(
    jobs: Sequence[Job],
    orders: dict[str, Order],
    store: Store,
    *,
    queued: Collection[str] = (),
    write: bool = True,
) -> tuple[list[Job], list[Job]]:
    """Take the extraction of features that several jobs read out of them.

    Each cache is written by one job: that of the first run that reads it. A cache that a single run reads is left to
    that run, as nothing would be gained.

    Args:
        jobs: runs.
        orders: their orders, by run id; those of the extractions are added.
        store: where caches lie and orders are written.
        queued: extractions that are in the queue already, by name.
        write: whether to write the orders of the extractions.

    Returns:
        The jobs that extract, and the given ones, which now require them.
    """
    caches = {job.run_id: _outstanding(orders[job.run_id], store) for job in jobs}
    readers: dict[str, int] = {}
    for found in caches.values():
        for key in found.keys:
            readers[key] = readers.get(key, 0) + 1
    shared = {key for key, count in readers.items() if count > 1}
    owner: dict[str, str] = {}
    extracting: list[Job] = []
    waiting: list[Job] = []
    for job in jobs:
        keys = caches[job.run_id].keys & shared
        if missing := keys - owner.keys():
            # Named after what it writes: whoever wants the same finds it in the queue.
            extraction = _job(missing, store)
            owner |= dict.fromkeys(missing, extraction.run_id)
            if extraction.run_id not in queued:
                order = _extraction(orders[job.run_id], caches[job.run_id], missing)
                orders[extraction.run_id] = order
                extracting.append(extraction)
                if write:
                    write_bytes(extraction.order_path, (order.model_dump_json(indent=1) + "\n").encode())
        waiting.append(replace(job, requires=job.requires | {owner[key] for key in keys}))
    return extracting, waiting


def _outstanding(order: Order, store: Store) -> _Caches:
    fitted = not fit_outstanding(order, store)
    wanted = wanted_caches(order.spec, fitted=fitted, missing=views_outstanding(order, store))
    missing = [cache for cache in wanted if not is_present(store.path, cache.key)]
    views = {cache.key: cache.source for cache in missing if isinstance(cache.source, View)}
    return _Caches(frozenset(cache.key for cache in missing) - views.keys(), views)


def _extraction(order: Order, caches: _Caches, keys: frozenset[str]) -> Order:
    views = tuple(view for key, view in caches.views.items() if key in keys)
    return order.model_copy(update={"views": views, "features_only": True, "requires": None})


def _job(keys: frozenset[str], store: Store) -> Job:
    name = f"features-{digest(sorted(keys), 8)}"
    return Job(name, store.path / "slurm" / "orders" / f"{name}.json")
