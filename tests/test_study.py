"""The study that ships: its capsule gives the same tables again, and the page that tells of it has their numbers."""

from __future__ import annotations

from pathlib import Path

from benchmark_scripts import load_script

from spectral_bench.reports.replay import replay

ROOT = Path(__file__).parents[1]
CAPSULE = ROOT / "results" / "study"
PAGE = ROOT / "docs" / "results.md"


def test_every_table_and_figure_is_computed_again_to_the_byte() -> None:
    found = replay(CAPSULE)
    assert found.equal, (found.problem, found.differences, found.unlike)
    assert {"report/tables/against.md", "report/figures/differences-1.json"} <= set(found.compared)


def test_it_holds_the_grid_that_ships() -> None:
    shipped = ROOT / "grids" / "study_camvid.yaml"
    assert (CAPSULE / "grids" / "study-camvid.yaml").read_bytes() == shipped.read_bytes()


def test_the_page_has_the_numbers_of_the_capsule() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page.count("<!-- study:") == page.count("<!-- end of study -->") > 0
    assert load_script("study_page").rewritten(page, CAPSULE) == page
