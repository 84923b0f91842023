from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from report_samples import FAILED, VIEW, WHOLE, Outcome, add_row, miou, outcomes, write_grid

from spectral_bench.reports.api import all_tables
from spectral_bench.reports.collect import collect
from spectral_bench.reports.figures.all import all_figures
from spectral_bench.reports.figures.style import rendered
from spectral_bench.reports.html.page import _SECTIONS, Drawing, render_html
from spectral_bench.reports.html.runs import RunBook
from spectral_bench.reports.html.view import TableView, table_view
from spectral_bench.reports.table import Cell, CellState, Column, Table, TableRow
from spectral_bench.results.reproduce import grid_of
from spectral_bench.results.specification import Protocol, Scoring
from spectral_bench.results.store import Store

NASTY = '<script>alert("x")</script> & k_means α'


class Tags(HTMLParser):
    """Counts elements, and collects ids and every address that a browser might follow."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "action", "srcset", "data"):
                self.addresses.append(value or "")


def page(store: Store) -> str:
    entries = collect(store)
    return render_html(entries, store, all_tables(entries), {})


def payload(text: str) -> dict[str, list[dict[str, object]]]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    loaded = json.loads(found[1])
    assert isinstance(loaded, dict)
    return loaded


def test_the_page_asks_no_host_for_anything(store: Store):
    write_grid(store, add_row(store, "a", outcomes(10)))
    text = page(store)
    assert all(address.startswith(("#", "data:")) for address in Tags(text).addresses)
    assert "default-src 'none'" in text
    assert not re.search(r"https?://|@import|url\(", text)


def test_names_cannot_break_out_of_the_page(store: Store):
    row = add_row(store, NASTY, {0: Outcome(10), 1: FAILED})
    folder = store.run_folder(row.runs[0])
    (folder / "log.txt").write_text("</script><script>alert(1)</script>\u2028\n")
    text = page(write_grid(store, row, note=NASTY))
    assert Tags(text).tags.count("script") == 2
    assert "alert(&#34;x&#34;)" in text
    assert payload(text)["runs"][0]["log"] == "</script><script>alert(1)</script>\u2028"


def test_ids_are_unique_and_links_lead_somewhere(store: Store):
    rows = [add_row(store, "a", outcomes(10), role="baseline"), add_row(store, "b", outcomes(9), role="variation")]
    tags = Tags(page(write_grid(store, *rows)))
    assert len(tags.ids) == len(set(tags.ids))
    anchors = [address[1:] for address in tags.addresses if address.startswith("#") and not address.startswith("#run=")]
    assert set(anchors) <= set(tags.ids)


def test_the_same_store_gives_the_same_page(store: Store):
    write_grid(store, add_row(store, "a", outcomes(10, 20)))
    assert page(store) == page(store)


def test_runs_are_told_once_with_all_that_is_known(store: Store):
    hungarian = Protocol(name="hungarian", view=VIEW, scoring=Scoring(matching="hungarian"))
    seeds = {0: Outcome(10, environment={"host": "here"}), 1: Outcome(11, environment={"host": "here"}), 2: FAILED}
    write_grid(store, add_row(store, "a", seeds, protocols=[WHOLE, hungarian]))
    data = payload(page(store))
    assert [run["state"] for run in data["runs"]] == ["done", "done", "failed"]
    assert data["environments"] == [{"host": "here"}, {}]
    first, failed = data["runs"][0], data["runs"][2]
    assert isinstance(first["evaluations"], list)
    assert len(first["evaluations"]) == 1
    assert [run["spec"] for run in data["runs"]] == [0, 0, 0]
    assert data["specs"][0]["method"] == "kmeans"
    assert isinstance(failed["failure"], dict)
    assert failed["failure"]["kind"] == "out_of_memory"
    assert [run["environment"] for run in data["runs"]] == [0, 0, 1]


def test_each_run_has_its_own_scores_and_the_grid_that_asks_for_it_again(store: Store):
    hungarian = Protocol(name="hungarian", view=VIEW, scoring=Scoring(matching="hungarian"))
    row = add_row(store, "a", {0: Outcome(10), 3: Outcome(20), 4: FAILED}, protocols=[WHOLE, hungarian])
    text = page(write_grid(store, row))
    data: Any = payload(text)
    assert data["protocols"] == ["whole", "hungarian"]
    assert [[scores["miou"] for scores in run["scores"]] for run in data["runs"]] == [
        [pytest.approx(miou(10))] * 2,
        [pytest.approx(miou(20))] * 2,
        [],
    ]
    assert "mIoU, hungarian (%)" in text
    assert len(data["grids"]) == 1  # of all seeds
    for run in data["runs"]:
        found = data["grids"][run["grid"]]
        for place, value in zip(data["places"], (run["id"], run["id"][-12:], str(run["seed"])), strict=True):
            found = found.replace(place, value)
        fit = store.fit_record(run["id"])
        assert fit is not None
        assert found == grid_of(fit, [WHOLE, hungarian])


def test_a_score_that_is_not_defined_is_no_number_of_the_page(store: Store):
    write_grid(store, add_row(store, "a", outcomes(0)))
    entries = collect(store)
    (result,) = entries[0].seeds
    assert result.scores is not None
    odd = replace(result, scores=replace(result.scores, nmi=math.nan))
    data: Any = json.loads(RunBook([replace(entries[0], seeds=(odd,))], store).payload())
    assert data["runs"][0]["scores"][0]["nmi"] is None
    assert data["runs"][0]["scores"][0]["miou"] == 100


def test_states_are_counted_in_the_head(store: Store):
    write_grid(store, add_row(store, "a", {0: Outcome(10), 1: FAILED, 2: FAILED}))
    text = page(store)
    assert '<span class="state done"><b>1</b> done</span>' in text
    assert '<span class="state failed"><b>2</b> failed</span>' in text


def view(store: Store, *rows: TableRow) -> TableView:
    columns = (
        Column("protocol", "protocol", constant=True),
        Column("name", "name"),
        Column("mIoU", "mIoU", "percent", "higher", "std"),
        Column("hidden", "hidden", "count", machine=True),
        Column("nothing", "nothing", "count", machine=True),
    )
    write_grid(store, add_row(store, "a", outcomes(10, 20)))
    return table_view(Table("t x", "C.", columns, rows), RunBook(collect(store), store))


def test_cells_carry_text_sorting_key_and_runs(store: Store):
    run = add_row(store, "a", outcomes(10, 20)).runs[1]
    cells = {
        "protocol": Cell("whole"),
        "name": Cell("x", marks=("†",)),
        "mIoU": Cell(42.44, std=0.3, bold=True, runs=(run, "unknown")),
        "hidden": Cell(3),
    }
    found = view(store, TableRow(cells, ranked=False), TableRow({"mIoU": Cell(state=CellState.FAILED)}))
    assert found.id == "table-t-x"
    assert [(head.key, head.extra) for head in found.heads] == [
        ("protocol", True),
        ("name", False),
        ("mIoU", False),
        ("hidden", True),
    ]
    assert (found.heads[2].text, found.heads[2].small) == ("mIoU", "± std (%)")
    number = found.rows[0].cells[2]
    assert (number.text, number.sort, number.runs, number.bold) == ("42.4 ± 0.3", "42.44", "1", True)
    assert found.rows[0].cells[1].marks == ("†",)
    assert [row.ranked for row in found.rows] == [False, True]
    failed = found.rows[1].cells[2]
    assert (failed.text, failed.sort, failed.state) == ("failed", "", "failed")


def test_a_run_that_never_began_is_told_too(store: Store):
    write_grid(store, add_row(store, "a", {0: Outcome(fit_status=None, evaluation_status=None)}))
    (run,) = payload(page(store))["runs"]
    assert (run["state"], run["reason"]) == ("missing", "not begun")
    assert "spec" not in run


@pytest.mark.parametrize("name", ["page.html.j2", "page.css", "page.js"])
def test_the_pages_parts_are_package_data(name: str):
    import spectral_bench.reports.html

    assert (Path(str(spectral_bench.reports.html.__file__)).parent / name).is_file()


def test_all_tables_and_figures_are_on_it(store: Store):
    seeds = outcomes(10, 12, 14)
    rows = [add_row(store, f"k={k}", seeds, params={"k": k}) for k in (2, 4)]
    write_grid(store, *rows)
    entries = collect(store)
    against = ["k=2"]
    tables = all_tables(entries, against=against)
    figures = {
        name: Drawing(f"figure {name}.", partial(rendered, figure, "svg"))
        for name, figure in all_figures(entries, store.run_folder, against=against).items()
    }
    shown = {one for _, _, starts in _SECTIONS for one in starts}
    assert {"against", "main"} <= {table.name for table in tables}
    assert any(name.startswith("differences") for name in figures)
    for name in (*(table.name for table in tables), *figures):
        assert any(name.startswith(start) for start in shown), name
    text = render_html(entries, store, tables, figures)
    assert all(f"figure {name}." in text for name in figures)
