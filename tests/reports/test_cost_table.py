from __future__ import annotations

import pytest
from report_samples import FAILED, Outcome, add_row, outcomes, write_grid

from spectral_bench.reports import build_table, render
from spectral_bench.reports.collect import collect
from spectral_bench.reports.cost_table import Stage, cost_table, stages
from spectral_bench.reports.hardware import entry_hardware, hardware
from spectral_bench.reports.table import Table
from spectral_bench.results.store import Store

CPU = {"cpu": "Some CPU", "gpus": []}
GPU = {"cpu": "Some CPU", "gpus": [{"name": "First GPU"}, {"name": "Second GPU"}]}


def timed(environment: dict[str, object], **execution: object) -> dict[int, Outcome]:
    return {0: Outcome(10, environment=environment, execution=execution)}


def costs(store: Store) -> Table:
    return cost_table(collect(store))


def test_each_stage_has_a_column_fits_first(store: Store):
    seeds = {0: Outcome(1, fit_s=10.0, reused=("network",)), 1: Outcome(1, fit_s=20.0)}
    write_grid(store, add_row(store, "a", seeds))
    found = stages(collect(store))
    assert found == [Stage("fit", "features"), Stage("fit", "fit"), Stage("evaluation", "evaluate")]
    (row,) = costs(store).rows
    assert (row.cells["fit_fit_s"].value, row.cells["fit_fit_s"].n) == (15.0, 2)
    assert row.cells["fit_features_s"].value == 3.0
    assert row.cells["features_rss_bytes"].value == 2 * 10**9
    assert row.cells["peak_rss_bytes"].value == 4 * 10**8
    assert row.cells["evaluation_evaluate_s"].value == 2.0
    assert row.cells["images_per_s"].value == 0.5
    assert row.cells["parameters"].value == 1234


def test_a_failed_row_has_no_costs_rather_than_zeros(store: Store):
    write_grid(store, add_row(store, "a", outcomes(10)), add_row(store, "b", {0: FAILED}))
    row = costs(store).rows[1]
    assert [row.cells[key].value for key in ("fit_fit_s", "images_per_s", "parameters")] == [None, None, None]


@pytest.mark.parametrize(
    ("environment", "execution", "expected"),
    [
        (CPU, {"device": "cpu", "threads": 2}, "Some CPU, 2 threads"),
        (CPU, {"device": "cpu", "threads": 1}, "Some CPU, 1 thread"),
        (CPU, {"device": "cpu"}, "Some CPU"),
        (GPU, {"device": "cuda"}, "First GPU"),
        (GPU, {"device": "cuda:1"}, "Second GPU"),
        (CPU, {"device": "cuda:1"}, None),
        ({}, {}, None),
        ({"gpus": [{}]}, {"device": "cuda"}, None),
    ],
)
def test_hardware_of_a_record(
    store: Store, environment: dict[str, object], execution: dict[str, object], expected: str | None
):
    write_grid(store, add_row(store, "a", timed(environment, **execution)))
    (entry,) = collect(store)
    assert entry.seeds[0].fit is not None
    assert hardware(entry.seeds[0].fit) == expected
    assert entry_hardware(entry) == expected


@pytest.mark.parametrize("kind", ["main", "costs"])
@pytest.mark.parametrize("form", ["markdown", "latex", "csv"])
def test_times_from_unlike_hardware_are_marked(store: Store, kind: str, form: str):
    rows = (
        add_row(store, "usual", timed(CPU, device="cpu", threads=2)),
        add_row(store, "fast", timed(GPU, device="cuda")),
        add_row(store, "broken", {0: FAILED}),
        add_row(store, "usual too", timed(CPU, device="cpu", threads=2)),
    )
    write_grid(store, *rows)
    table = costs(store) if kind == "costs" else build_table(store)
    usual, fast, broken, too = table.rows
    (mark,) = {mark for key in ("fit_s", "fit_fit_s") if key in fast.cells for mark in fast.cells[key].marks}
    assert fast.cells["peak_rss_bytes"].marks == (mark,)
    assert not [row for row in (usual, too, broken) if any(mark in cell.marks for cell in row.cells.values())]
    text = render(table, form)
    assert "Timed on First GPU: not to be compared with rows of another or no such mark." in text
    if form != "csv":  # where the hardware is a column and each row has its notes
        assert "rows without a hardware mark: Some CPU, 2 threads" in text


def test_like_hardware_is_told_once_in_the_caption(store: Store):
    rows = [add_row(store, name, timed(CPU, device="cpu", threads=2)) for name in ("a", "b")]
    write_grid(store, *rows)
    assert "hardware: Some CPU, 2 threads" in costs(store).folded().caption
    assert "not to be compared" not in render(costs(store), "markdown")


def test_seeds_of_one_row_on_unlike_hardware_are_both_named(store: Store):
    seeds = timed(GPU, device="cuda") | {1: Outcome(10, environment=CPU, execution={"device": "cpu"})}
    write_grid(store, add_row(store, "a", seeds))
    assert costs(store).rows[0].cells["hardware"].value == "First GPU and Some CPU"


def test_operations_of_backbone_and_prediction_add_up(store: Store):
    seeds = {0: Outcome(1, flops=(3 * 10**9, 10**9)), 1: Outcome(1, flops=(3 * 10**9, 10**9))}
    write_grid(store, add_row(store, "a", seeds), add_row(store, "b", {0: Outcome(1, flops=(10**9, None))}))
    first, second = costs(store).rows
    assert (first.cells["flops"].value, first.cells["flops"].n) == (4 * 10**9, 2)
    assert (second.cells["flops"].value, second.cells["flops_features"].value) == (None, 10**9)
    text = render(costs(store), "markdown")
    assert "FLOPs an image (GFLOP)" in text
    assert "| 4.0" in text or " 4.0 |" in text


def test_energy_is_that_of_all_stages_or_none(store: Store):
    known = {0: Outcome(1, energy=500.0, reused=("network",)), 1: Outcome(1, energy=700.0)}
    write_grid(store, add_row(store, "gpu", known), add_row(store, "cpu", {0: Outcome(1)}))
    gpu, cpu = costs(store).rows
    assert (gpu.cells["energy_j"].value, gpu.cells["energy_j"].n) == (2 * 600.0, 2)  # fit and evaluation
    assert cpu.cells["energy_j"].value is None
    assert "energy ± std (kJ)" in render(costs(store), "markdown")


def test_records_of_before_have_neither(store: Store):
    write_grid(store, add_row(store, "a", outcomes(10)))
    assert "FLOPs an image (" not in render(costs(store), "markdown")
    assert "energy" not in render(costs(store), "markdown").split("Times:")[0]


BESIDE = {"cohort": ["a-s0-1", "b-s0-2"]}


def test_rows_of_cohorts_are_marked_beside_others(store: Store):
    together, alone = timed(CPU, **BESIDE), timed(CPU)
    write_grid(store, add_row(store, "a", together), add_row(store, "b", alone))
    table = costs(store)
    first, second = table.rows
    for key in ("fit_fit_s", "peak_rss_bytes"):
        (mark,) = first.cells[key].marks
        assert any(note.symbol == mark and "shared a process with others" in note.text for note in table.notes)
        assert second.cells[key].marks == ()


def test_where_all_runs_were_in_cohorts_it_is_said_once(store: Store):
    write_grid(store, add_row(store, "a", timed(CPU, **BESIDE)), add_row(store, "b", timed(CPU, **BESIDE)))
    table = costs(store)
    assert all(row.cells["fit_fit_s"].marks == () for row in table.rows)
    assert sum("All runs shared processes" in note.text for note in table.notes) == 1


def test_peaks_are_those_of_runs_that_were_alone_where_there_are_some(store: Store):
    seeds = {0: Outcome(10, execution=BESIDE, peak_device=900), 1: Outcome(10, peak_device=500)}
    write_grid(store, add_row(store, "a", seeds))
    (row,) = costs(store).rows
    assert row.cells["peak_device_bytes"].value == 500
