"""Names for clusters: the classes that a run's own matching gives them, which uses the labels of its evaluation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spectral_bench.bench.predict.pictures import Key, palette
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import how_many, unknown
from spectral_bench.common.registry import short_name
from spectral_bench.reports.scoring import Reader, run_scores, todays_lists
from spectral_bench.results.specification import Protocol
from spectral_bench.results.store import Store


def class_key(store: Store, run_id: str, protocol: str | None = None) -> Key:
    """What masks of classes hold: the class of each cluster of a run, by the matching of one of its protocols.

    Args:
        store: the store of the run.
        run_id: a finished run.
        protocol: its name; None: the first under which a grid asks for the run.

    Raises:
        ConfigError: no grid asks for the run under a protocol, or under none of this name, or it is not evaluated
            under it, or its clusters are matched to classes in each image by itself.
        UserError: the classes of its data set are not known, or no pixel that it was evaluated on has one.
    """
    chosen = _chosen(store, run_id, protocol)
    record = store.evaluation_record(run_id, chosen.view.view_id)
    if record is None or record.status != "done":
        how = "not evaluated" if record is None else record.status.replace("_", " ")
        raise ConfigError(f"run {run_id}: {how} under protocol {chosen.name}, so nothing tells classes of its clusters")
    reader = Reader(store)
    lists = todays_lists([reader])
    classes = lists.find(chosen.view.data_name, chosen.scoring.classes)
    scores = run_scores(reader, run_id, chosen, classes, lists)
    if scores.matching is None:
        raise ConfigError(
            f"protocol {chosen.name}: {chosen.scoring.matching} gives a cluster another class in each image, by labels "
            "that these images do not have; name a protocol of another matching"
        )
    matched = np.asarray(scores.matching)
    named, used = len(set(matched[matched >= 0].tolist())), len(scores.classes)
    view = chosen.fit_view or chosen.view
    labels = f"labels of {short_name(view.dataset)} {view.split}"
    told = (
        f"classes by the matching of protocol {chosen.name} ({chosen.scoring.matching}), which uses the {labels}: "
        f"{named} of {used} classes for {how_many(len(matched), 'cluster')}"
    )
    return Key(
        _colours(classes.table.palette if classes is not None else [], used),
        scores.classes,
        matched,
        told,
        f"{labels}, protocol {chosen.name} ({chosen.scoring.matching})",
    )


def _chosen(store: Store, run_id: str, name: str | None) -> Protocol:
    rows = [row for manifest in store.manifests() for row in manifest.rows if run_id in row.runs.values()]
    protocols = {protocol.name: protocol for row in reversed(rows) for protocol in reversed(row.protocols)}
    if not protocols:
        raise ConfigError(
            f"run {run_id}: no grid of the store asks for it under a protocol, so nothing tells classes of its "
            "clusters; run a grid with protocols, which evaluates the stored fit"
        )
    if name is None:
        return next(reversed(protocols.values()))
    if name not in protocols:
        raise ConfigError(unknown(f"protocol of run {run_id}", name, protocols))
    return protocols[name]


def _colours(stated: list[list[int]], n_classes: int) -> NDArray[np.uint8]:
    """(C, 3) colours of the data set; those of clusters where it states none."""
    return np.array(stated, np.uint8) if len(stated) == n_classes else palette(n_classes)
