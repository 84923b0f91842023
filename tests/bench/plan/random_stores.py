"""Stores of a few runs, each drawn: its records, its claim, its checkpoint, its orders, and what a queue says of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hypothesis import strategies as st
from plan_lab import CODE, NOW, evaluation_record, failure, fit_record, unhealthy

from spectral_bench.bench.work.order import Order
from spectral_bench.results.contingency import ContingencyBuilder
from spectral_bench.results.manifest import Manifest, ManifestRow
from spectral_bench.results.specification import BackboneSpec, FitSpec, Protocol, Scoring, TrainingData, View
from spectral_bench.results.store import Store

VIEWS = tuple(View(dataset="synthetic", split=split) for split in ("train", "val", "test"))
OTHER_CODE = {**CODE, "methods.kmeans": "edited"}

Kept = Literal["nothing", "done", "failed", "cancelled", "not_converged", "torn"]
Stand = Literal["settled", "pending", "running", "ended", "lost", "unknown"]


@dataclass(frozen=True)
class DrawnRun:
    """A run to be stored.

    Attributes:
        seed: of its fit.
        fit: what is kept of its fit; ``torn`` is a record that cannot be read.
        evaluations: what is kept of each view; ``torn`` is a record without its contingency.
        wanted: how many of the views are asked for.
        claimed, checkpoint, ordered: whether it is, has one, was.
        edited: which records, of the fit and of each view, were made with other code than today's.
        stand: what a queue says; None where it is in none.
        turn: whose turn it is in its job: nobody's yet, its own, another's.
    """

    seed: int
    fit: Kept
    evaluations: tuple[Kept, Kept, Kept]
    wanted: int
    claimed: bool
    checkpoint: bool
    ordered: bool
    edited: tuple[bool, bool, bool, bool]
    stand: Stand | None
    turn: Literal["nobody", "own", "other"]

    @property
    def spec(self) -> FitSpec:
        backbone = BackboneSpec(name="random", weights="0123456789ab")
        data = TrainingData(dataset="synthetic")
        return FitSpec(data=data, backbone=backbone, method="kmeans", params={"k": 8}, seed=self.seed)

    @property
    def run_id(self) -> str:
        return self.spec.run_id

    @property
    def views(self) -> tuple[View, ...]:
        return VIEWS[: self.wanted]

    def order(self, store: Store) -> Order:
        return Order(spec=self.spec, views=self.views, store=store.path)

    def write(self, store: Store) -> None:
        folder = store.run_folder(self.run_id)
        if self.fit != "nothing":
            store.write_fit(fit_record(self.spec, **_told(self.fit, self.edited[0])))
            if self.fit == "torn":
                (folder / "fit.json").write_text("{")
        for view, kept, edited in zip(VIEWS, self.evaluations, self.edited[1:], strict=True):
            if kept != "nothing":
                record = evaluation_record(self.spec, view, **_told(kept, edited))
                store.write_evaluation(record, None if record.status == "failed" else ContingencyBuilder(8, 12).build())
                if kept == "torn":
                    (folder / "evaluations" / f"{view.view_id}.npz").unlink()
        if self.checkpoint or self.ordered:
            folder.mkdir(parents=True, exist_ok=True)
        if self.checkpoint:
            (folder / "checkpoint.pt").write_bytes(b"x")
        if self.ordered:
            (folder / "order-01234567.json").write_text(self.order(store).model_dump_json())


def _told(kept: Kept, edited: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"code": OTHER_CODE if edited else CODE}
    if kept in ("failed", "cancelled"):
        kind = "cancelled" if kept == "cancelled" else "exception"
        return told | {"status": "failed", "failure": failure(kind)}
    if kept == "not_converged":
        return told | {"status": kept, "health": [unhealthy()]}
    return told | {"status": "done"}


def _kept() -> st.SearchStrategy[Kept]:
    return st.sampled_from(("done", "done", "done", "nothing", "failed", "cancelled", "not_converged", "torn"))


@st.composite
def drawn_runs(draw: st.DrawFn) -> tuple[DrawnRun, ...]:
    """One to four runs."""
    runs = []
    for seed in range(draw(st.integers(1, 4))):
        run = st.builds(
            DrawnRun,
            seed=st.just(seed),
            fit=_kept(),
            evaluations=st.tuples(_kept(), _kept(), _kept()),
            wanted=st.integers(0, 3),
            claimed=st.sampled_from((False, False, False, True)),
            checkpoint=st.booleans(),
            ordered=st.booleans(),
            edited=st.tuples(*[st.sampled_from((False, False, True))] * 4),
            stand=st.none() | st.sampled_from(("settled", "pending", "running", "ended", "lost", "unknown")),
            turn=st.sampled_from(("nobody", "own", "other")),
        )
        runs.append(draw(run))
    return tuple(runs)


@contextmanager
def stored(runs: tuple[DrawnRun, ...], folder: Path) -> Iterator[Store]:
    """A store of the runs, which one grid asks for, with the claims held for the length of the block."""
    store = Store.open(folder / "store", create=True)
    with ExitStack() as stack:
        for run in runs:
            run.write(store)
            if run.claimed:
                stack.enter_context(store.claim(run.run_id))
        store.write_manifest(Manifest(name="drawn", written=NOW, rows=[_row(run) for run in runs]))
        yield store


def _row(run: DrawnRun) -> ManifestRow:
    return ManifestRow(
        title=f"row {run.seed}",
        method="kmeans",
        dataset="synthetic",
        train_dataset="synthetic",
        backbone="random",
        runs={run.seed: run.run_id},
        protocols=[Protocol(name=view.split, view=view, scoring=Scoring()) for view in run.views],
    )
