"""The part of the page that tells what is going on."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

from report_samples import FAILED, MISSING, add_row, outcomes, write_grid

from spectral_bench.reports.api import all_tables
from spectral_bench.reports.collect import collect
from spectral_bench.reports.html.live import HOLE, Frame, Moment, Work, curve_view, preliminary, waiting_page
from spectral_bench.reports.html.page import html_parts
from spectral_bench.reports.run_files import CurveFile, training_curve
from spectral_bench.results.store import Store

NASTY = '</script><script>alert("x")</script>'
WORK = Work("run-s0-012345678901", NASTY, 3, "fit 5/20, 3 s left", 0.25, "12 s", None, f"log {NASTY}")
MOMENT = Moment("12:00 UTC", 10.0, ["Time left: 3 h."], {"running": 1, "not converged": 2}, [WORK])


def test_a_frame_is_filled_anew_and_the_rest_stays(store: Store):
    write_grid(store, add_row(store, "a", outcomes(10)))
    entries = collect(store)
    frame = Frame(html_parts(entries, store, all_tables(entries), {}, hole=HOLE))
    one, two = frame.filled(MOMENT).decode(), frame.filled(replace(MOMENT, stamp="12:10 UTC")).decode()
    assert one != two
    assert one.replace("12:00", "12:10") == two
    assert HOLE not in one
    assert "default-src 'none'" in one
    assert 'data-every="10.0"' in one
    assert "not kept up to date" in frame.filled(replace(MOMENT, every=0.0)).decode()


def test_titles_and_logs_end_no_element():
    text = waiting_page(MOMENT).decode()
    assert NASTY not in text
    assert json.loads(MOMENT.logs) == {WORK.run_id: WORK.log}
    assert "Time left: 3 h." in text


def test_a_page_that_is_not_kept_up_to_date_never_loads_itself(store: Store):
    write_grid(store, add_row(store, "a", outcomes(10)))
    entries = collect(store)
    assert "location.reload" not in "".join(html_parts(entries, store, all_tables(entries), {}))


def test_captions_count_the_runs_to_come(store: Store):
    rows = [add_row(store, "a", outcomes(10, 11)), add_row(store, "b", {0: FAILED, 1: MISSING})]
    entries = collect(write_grid(store, *rows))
    tables = all_tables(entries)
    told = preliminary(tables, entries)
    assert {table.caption.partition(". ")[0] for table in told} == {"Preliminary: 3 of 4 runs have ended"}
    assert [table.caption.partition(". ")[2] for table in told] == [table.caption for table in tables]
    ended = collect(write_grid(store, rows[0]))
    assert preliminary(tables, ended) == tables


def test_a_curve_is_the_loss_and_never_a_schedule():
    assert curve_view({"lr": {0: 1.0, 1: 0.5}}) is None
    assert curve_view({"loss": {0: 1.0}}) is None
    falling = {step: 1.0 / (1 + step) for step in range(1000)}
    found = curve_view({"lr": {0: 1.0, 1: 0.5}, "penalty": {0: 1.0, 1: 2.0}, "loss": falling})
    assert found is not None
    assert (found.name, found.low, found.high, found.last) == ("loss", "0.001", "1", "0.001 at step 999")
    places = [tuple(map(float, place.split())) for place in found.path.removeprefix("M").split("L")]
    assert len(places) <= 121
    assert (places[0], places[-1]) == ((3.0, 3.0), (257.0, 61.0))
    flat = curve_view({"energy": {0: 2.0, 5: 2.0}})
    assert flat is not None
    assert flat.path == "M3.0 32.0L257.0 32.0"


def test_a_growing_curve_is_read_from_where_the_last_look_ended(tmp_path: Path):
    file, curve = tmp_path / "metrics.jsonl", CurveFile(tmp_path)
    assert curve.read() == {}
    file.write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "lo')
    assert curve.read() == {"loss": {1: 0.5}}
    with file.open("a") as stream:
        stream.write('ss": 0.25}\ntorn\n{"step": 3, "loss": null}\n')
    assert curve.read() == {"loss": {1: 0.5, 2: 0.25}} == training_curve(tmp_path)
    file.write_text('{"step": 1, "loss": 9}\n')  # the run was begun anew
    assert curve.read() == {"loss": {1: 9.0}}
    assert all(math.isfinite(value) for value in curve.read()["loss"].values())
