"""Writes ``fixtures/store_v<schema>``, once, when a schema is new. A committed one is never written again.

Usage: ``python tests/results/make_store_fixture.py FOLDER``
"""

from __future__ import annotations

import sys
from pathlib import Path

from store_samples import OTHER_VIEW, contingency, evaluation, fit, manifest

from spectral_bench.results.record import HealthCheck
from spectral_bench.results.specification import Crf, Resize, Transform, View
from spectral_bench.results.store import Store

RICH_VIEW = View(
    dataset="camvid",
    split="val",
    subset=7,
    resize=Resize(mode="short_side", short_side=512),
    centre_crop=320,
    label_resize=True,
    window=480,
    stride=320,
    crf=Crf(),
)


def write(folder: Path) -> None:
    """A store with a run of each kind, and with every optional part of a record somewhere."""
    store = Store.open(folder, create=True)
    store.lock_weights("random", "0123456789ab")
    store.write_manifest(manifest())
    collapsed = HealthCheck(name="clusters in use", value=1.0, limit=2.0, passed=False, note="collapsed")
    store.write_fit(fit(0, parameters=123, data_digest="abcdef", warnings=["one image is black"]))
    store.write_evaluation(evaluation(0), contingency())
    store.write_evaluation(evaluation(0, view=RICH_VIEW), contingency(scale=3))
    store.write_fit(fit(1, status="failed"))
    store.write_fit(fit(2, status="failed"))
    store.write_fit(fit(2, status="not_converged", health=[collapsed]))
    store.write_evaluation(evaluation(2, view=OTHER_VIEW, status="failed"))
    changed = fit(3).spec.model_copy(
        update={
            "data": fit(3).spec.data.model_copy(
                update={"transform": Transform(scale=(0.5, 2.0), crop=480, flip=True, photometric=True), "subset": 64}
            ),
            "precision": "bfloat16",
        }
    )
    store.write_fit(fit(3, spec=changed, run_id=changed.run_id, uses_labels=True))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
