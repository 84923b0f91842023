"""What is missing, failed or odd is shown as what it is, in each of the four formats."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_samples import FAILED, NOT_CONVERGED, VIEW, Outcome, add_row, miou, outcomes, write_grid

from spectral_bench.common.errors import StoreError
from spectral_bench.reports import build_tables
from spectral_bench.reports.api import RENDERERS, all_tables
from spectral_bench.reports.collect import collect
from spectral_bench.reports.html.page import render_html
from spectral_bench.results.specification import Protocol, Scoring
from spectral_bench.results.store import Store

FIXTURES = Path(__file__).parents[1] / "results" / "fixtures"
FORMATS = ("markdown", "latex", "csv", "html")
every_format = pytest.mark.parametrize("form", FORMATS)


class Visible(HTMLParser):
    """The text of a page without its scripts and style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self._hidden = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        self.text += "" if self._hidden else data


def shown(store: Store, form: str) -> str:
    """All tables of a store in one format."""
    entries = collect(store)
    tables = all_tables(entries)
    if form == "html":
        return Visible(render_html(entries, store, tables, {})).text
    return "\n".join(RENDERERS[form](table) for table in tables)


def test_an_empty_store_is_an_error_and_no_empty_table(store: Store):
    with pytest.raises(StoreError, match="no results yet"):
        build_tables(store)


@every_format
def test_one_seed_has_no_spread_and_no_interval(store: Store, form: str):
    rows = [
        add_row(store, "base", outcomes(10), role="baseline"),
        add_row(store, "k=4", outcomes(20), role="variation", factor="k", value=4),
    ]
    text = shown(write_grid(store, *rows), form)
    difference = miou(20) - miou(10)
    if form == "csv":
        assert re.search(rf",{re.escape(f'{miou(10):.12f}'[:12])}\d*,,", text)  # no standard deviation
        assert re.search(rf",{re.escape(f'{difference:.12f}'[:12])}\d*,,,", text)  # nor the ends of an interval
    else:
        assert f"{miou(10):.1f}" in text
        assert f"{difference:.1f}" in text
        assert not re.search(r"\d\s*(?:±|\\,\$\\pm\$\\,)\s*\d", text)
        assert not re.search(rf"{difference:.1f}\s*(?:& \\enspace)?\[", text)


@every_format
def test_unequal_seeds_are_counted_and_only_common_ones_compared(store: Store, form: str):
    rows = [
        add_row(store, "base", outcomes(10, 11, 12), role="baseline"),
        add_row(store, "k=4", {1: Outcome(20), 2: Outcome(21), 7: Outcome(90)}, role="variation", factor="k", value=4),
    ]
    text = shown(write_grid(store, *rows), form)
    common = (miou(20) + miou(21) - miou(11) - miou(12)) / 2
    assert (f"{common:.12f}"[:12] if form == "csv" else f"{common:.1f}") in text


@every_format
def test_failed_and_unconverged_rows_say_so_and_have_no_number(store: Store, form: str):
    rows = [
        add_row(store, "bad", {0: FAILED}),
        add_row(store, "odd", {0: NOT_CONVERGED}),
        add_row(store, "part", {0: Outcome(10), 1: FAILED}),
    ]
    text = shown(write_grid(store, *rows), form)
    assert "failed" in text
    assert "not converged" in text
    reason = r"out\_of\_memory" if form == "latex" else "out_of_memory"
    assert f"1 of 2 seeds: seed 1 failed ({reason}: tried to allocate)" in text
    assert "nan" not in text.lower()


@every_format
def test_a_class_that_never_occurs_is_absent_and_no_zero(store: Store, form: str):
    three = Protocol(name="three", view=VIEW, scoring=Scoring(classes="three"))
    text = shown(write_grid(store, add_row(store, "a", outcomes(10, 12), protocols=[three])), form)
    of_class = text[text.index("ship") :].lstrip()[:300]
    assert "absent" in of_class.lower()
    assert "0.0" not in of_class[: of_class.lower().index("absent")]
    assert "neither labelled nor predicted" in text


@every_format
def test_names_of_any_alphabet_are_told_whole(store: Store, form: str):
    text = shown(write_grid(store, add_row(store, "k_means Nyström α 方", outcomes(10), method="my_méthode")), form)
    expected = r"k\_means Nystr\"{o}m \ensuremath{\alpha} {[}U+65B9]" if form == "latex" else "k_means Nyström α 方"
    assert expected in text


@every_format
def test_stores_of_every_older_schema_are_reported(tmp_path: Path, form: str):
    folders = sorted(FIXTURES.glob("store_v*"))
    assert folders
    for folder in folders:
        old = Store.open(shutil.copytree(folder, tmp_path / folder.name))
        text = shown(old, form)
        for manifest in old.manifests():
            for row in manifest.rows:
                assert row.title.replace("_", r"\_" if form == "latex" else "_") in text
        assert "failed" in text
