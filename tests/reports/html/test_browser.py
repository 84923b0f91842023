"""The page in a real browser: no error on the console, and sorting, filtering and the panel of runs work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browsing import CHROMIUM, SAY, console, told
from report_samples import FAILED, WHOLE, Outcome, add_row, outcomes, write_grid

from spectral_bench.reports.api import all_tables
from spectral_bench.reports.collect import collect
from spectral_bench.reports.html.page import Drawing, render_html
from spectral_bench.results.reproduce import grid_of
from spectral_bench.results.store import Store

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="244.8pt" height="100pt"><rect width="90" height="9"/></svg>'
HARNESS = (
    f"<script>{SAY}"
    + """
addEventListener("load", () => {
  const found = {};
  const table = document.getElementById("table-main");
  const tools = document.querySelector(".tools[data-for=table-main]");
  const names = () => [...table.tBodies[0].rows].filter((row) => !row.hidden)
    .map((row) => row.textContent.match(/row [a-z]/)[0].slice(4)).join("");
  const head = (text) => [...table.tHead.rows[0].cells].find((cell) => cell.textContent.trim().startsWith(text));
  const click = (text) => { head(text).querySelector("button").click(); return names(); };
  const type = (text) => {
    const input = tools.querySelector("input[type=search]");
    input.value = text;
    input.dispatchEvent(new Event("input", { bubbles: true }));
    return names();
  };
  found.before = names();
  found.best_first = click("mIoU");
  found.order = head("mIoU").getAttribute("aria-sort");
  found.worst_first = click("mIoU");
  found.by_name = click("configuration");
  found.filtered = type("row b");
  found.count = tools.querySelector(".count").textContent;
  found.nothing = type("no such row");
  found.all = type("");
  const labels = tools.querySelector("input.labels");
  labels.click();
  found.without_labels = names();
  labels.click();
  const extras = tools.querySelector("input.extras");
  const isShown = (cell) => getComputedStyle(cell).display !== "none";
  const visible = () => [...table.tHead.rows[0].cells].filter(isShown).length;
  found.columns = visible();
  extras.click();
  found.all_columns = visible();
  const runs = document.getElementById("table-runs");
  found.runs_heads = [...runs.tHead.rows[0].cells].map((cell) => cell.textContent);
  found.runs_scores = [...runs.tBodies[0].rows].map((row) => row.cells[6].textContent);
  found.run_rows = document.getElementById("table-runs").tBodies[0].rows.length;
  const picture = document.getElementById("picture");
  document.querySelector(".zoom").click();
  found.enlarged = [picture.open, picture.querySelector("img").naturalWidth > 0, picture.textContent.includes("mIoU")];
  picture.querySelector(".close").click();
  found.enlarged.push(picture.open);
  const panel = document.getElementById("panel");
  addEventListener("hashchange", () => {
    found.open = panel.open;
    const texts = (row) => [...row.cells].map((cell) => cell.textContent);
    found.seeds = [...document.querySelector("#details > table").tBodies[0].rows].map(texts);
    const second = document.querySelectorAll("#details details")[1];
    const told = [...second.querySelectorAll("pre")].map((one) => one.textContent);
    found.grid = told.find((text) => text.startsWith("# Asks"));
    found.panel = document.getElementById("details").textContent;
    panel.addEventListener("close", () => {
      found.closed = !panel.open;
      found.hash = location.hash;
      say(found);
    });
    panel.querySelector(".close").click();
  }, { once: true });
  location.hash = table.querySelector("td a").getAttribute("href");
});
</script>
"""
)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_sorting_filtering_and_the_panel_work_without_an_error(store: Store, tmp_path: Path):
    rows = [
        add_row(store, "row c", outcomes(30, 31)),
        add_row(store, "row a", outcomes(10, 11)),
        add_row(store, "row f", {0: FAILED}),
        add_row(store, "row b", {0: Outcome(20)}),
        add_row(store, "row p", {0: Outcome(1)}, uses_labels=True),
    ]
    (store.run_folder(rows[0].runs[0]) / "log.txt").write_text("the last words\n")
    found, errors = look(write_grid(store, *rows), tmp_path)
    assert errors == []
    assert found["before"] == "cafbp"
    assert (found["best_first"], found["order"]) == ("pabcf", "descending")
    assert found["worst_first"] == "cbapf"  # a failed row is last in both directions
    assert found["by_name"] == "abcfp"
    assert (found["filtered"], found["count"]) == ("b", "1 of 5 rows")
    assert (found["nothing"], found["all"], found["without_labels"]) == ("", "abcfp", "abcf")
    assert found["all_columns"] > found["columns"]
    assert found["run_rows"] == 7
    assert found["enlarged"] == [True, True, True, False]
    assert (found["open"], found["closed"], found["hash"]) == (True, True, "")
    assert "row a, seed 0" in found["panel"]
    assert "specification" in found["panel"]
    assert found["runs_heads"] == [
        "run",
        "configuration",
        "state",
        "started",
        "host",
        "seed",
        "mIoU (%)",
        "wall clock (s)",
    ]
    # Seed by seed: of the first row's two seeds, of the failed run, and of the last.
    assert found["runs_scores"] == ["53.8", "52.7", "81.8", "80.2", "–", "66.7", "98.0"]
    assert found["seeds"] == [["row a", "0", "81.8", "done"], ["row a", "1", "80.2", "done"]]
    fit = store.fit_record(rows[1].runs[1])
    assert fit is not None
    assert found["grid"] == grid_of(fit, [WHOLE])


def look(store: Store, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """What the harness found in the page, and the lines of the console."""
    entries = collect(store)
    text = render_html(entries, store, all_tables(entries), {"trade-off-1": Drawing("mIoU", lambda: SVG)}).replace(
        "</body>", HARNESS + "</body>"
    )
    (folder / "page.html").write_text(text, encoding="utf-8")
    lines: list[str] = []
    # The page says when it is done; a fixed span of time would be too short on a machine that is busy.
    with console(folder / "page.html", folder / "profile") as spoken:
        for line in spoken:
            lines.append(line)
            if (found := told(line)) is not None:
                return found, lines[:-1]
            if "Uncaught" in line:
                break
    raise AssertionError("".join(lines) or "the page said nothing")
