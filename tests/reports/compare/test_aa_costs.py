"""The script behind the A/A table of docs/measurements.md, on stores whose costs are known."""

from __future__ import annotations

from pathlib import Path

from benchmark_scripts import load_script
from report_samples import Outcome, add_row, write_grid

from spectral_bench.results.store import Store


def store(folder: Path, seconds: tuple[float, ...], sittings: tuple[str, ...], hours: tuple[int, ...]) -> Path:
    environment, execution = {"cpu": "Some CPU"}, {"device": "cpu", "threads": 1}
    seeds = {
        seed: Outcome(
            10,
            fit_s=seconds[seed],
            started=f"2026-01-02T{hours[seed]:02}:00:00+00:00",
            environment=environment,
            execution=execution | {"sitting": sittings[seed]},
        )
        for seed in range(5)
    }
    made = Store.open(folder, create=True)
    write_grid(made, add_row(made, "a", seeds))
    return folder


def test_a_busy_hour_is_a_difference_of_seeds_and_no_claim(tmp_path: Path) -> None:
    script = load_script("aa_costs")
    quiet = store(tmp_path / "a", (1.0, 1.1, 0.9, 1.0, 1.1), ("one",) * 5, (1,) * 5)
    busy = store(tmp_path / "b", (2.0, 2.2, 1.9, 2.0, 2.1), ("two",) * 5, (2,) * 5)
    found = script.compared(quiet, busy)
    assert (script.claims_by_seed(found), script.claims(found)) == ({"fit_s"}, set())
    assert script.line("x", [{"fit_s"}, set()]) == "| x | 50.0 | 0.0 | 0.0 | 50.0 |\n"


def test_a_difference_that_is_there_is_claimed_over_sittings(tmp_path: Path) -> None:
    script = load_script("aa_costs")
    before = store(tmp_path / "a", (1.0, 1.1, 0.9, 1.0, 1.1), tuple("abcde"), (0, 3, 4, 7, 8))
    after = store(tmp_path / "b", (2.0, 2.2, 1.9, 2.0, 2.1), tuple("fghij"), (1, 2, 5, 6, 9))
    assert script.claims(script.compared(before, after)) == {"fit_s"}
