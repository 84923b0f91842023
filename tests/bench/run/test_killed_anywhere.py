"""A run that SIGKILL ends at any moment and that is ordered again leaves what an undisturbed one leaves."""

from __future__ import annotations

import multiprocessing
import signal
from pathlib import Path

import deadly
import pytest
from deadly import Moment

from spectral_bench.bench.executors.local import PRELOAD
from spectral_bench.bench.work.order import Order
from spectral_bench.results.record import SITTING, EvaluationRecord, FitRecord
from spectral_bench.results.store import Store

SMALL = {"k": 4, "epochs": 2, "batch_size": 2, "depth": 1, "heads": 1, "head_width": 8, "mlp_width": 16}
TIMES = {"started", "finished", "costs"}


def carry_out(order: Order, at: Moment | None = None, told: Path | None = None) -> int | None:
    path = order.store / "order.json"
    path.write_text(order.model_dump_json())
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOAD[:-1], "deadly", PRELOAD[-1]])
    process = context.Process(target=deadly.carry_out, args=(path, at, told))
    process.start()
    process.join()
    return process.exitcode


def left_behind(order: Order) -> dict[str, object]:
    """Records apart from times and the sitting (a process each here), and every payload to the byte."""
    folder = Store.open(order.store).run_folder(order.spec.run_id)
    fit = FitRecord.model_validate_json((folder / "fit.json").read_bytes())
    files = sorted((folder / "evaluations").glob("*.json"))
    records = {path.name: EvaluationRecord.model_validate_json(path.read_bytes()) for path in files}
    for execution in (fit.execution, *(record.execution for record in records.values())):
        assert execution.pop(SITTING)
    said: dict[str, object] = {"fit": fit.model_dump(exclude=TIMES)}
    said |= {name: record.model_dump(exclude=TIMES) for name, record in records.items()}
    payloads = [*folder.glob("*.safetensors"), *folder.glob("evaluations/*.npz")]
    said |= {path.name: path.read_bytes() for path in payloads}
    return said | {"files": sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))}


def telling(told: Path) -> list[Moment]:
    """Before the first and after the last time that each moment comes up: where things begin to be and are whole."""
    lines = (line.split("\t") for line in told.read_text().splitlines())
    return [(name, 1 if name.startswith("before") else int(count)) for name, count in lines]


@pytest.mark.slow
@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.nightly)])
def test_a_kill_at_any_moment_costs_nothing_but_time(make_order, tmp_path, every: int):
    """At each moment by night; a change waits for some of them, from all over the run."""
    undisturbed = make_order("neuralef", SMALL, checkpoint_every=0.0)
    assert carry_out(undisturbed, told=tmp_path / "told") == 0
    expected, moments = left_behind(undisturbed), telling(tmp_path / "told")
    stages = {name.removeprefix("before progress of ") for name, _ in moments if name.startswith("before progress of")}
    assert {"features", "fit", "evaluate"} <= stages
    for number, moment in enumerate(moments[::every]):
        other = Store.open(tmp_path / f"store{number}", create=True)
        order = undisturbed.model_copy(update={"store": other.path})
        assert carry_out(order, at=moment) == -signal.SIGKILL, moment
        other.load_all(verify=True)
        assert carry_out(order) == 0, moment
        assert left_behind(order) == expected, moment
