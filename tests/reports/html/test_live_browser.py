"""The page that is kept up to date, in a real browser, from before there is a store until after the last run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from browsing import CHROMIUM, SAY, console, told
from report_samples import MISSING, Outcome, add_row, write_grid

from spectral_bench.bench.cli.watch import PageKeeper
from spectral_bench.bench.work.progress import LOG_FILE, METRICS_FILE, PROGRESS_FILE, MetricsLog, ProgressFile
from spectral_bench.reports import write_all
from spectral_bench.reports.html import page as page_module
from spectral_bench.results.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")]

# Says of each load how the page looks; and once it shows a run at work, it is used as a reader would.
HARNESS = (
    SAY
    + """
addEventListener("load", () => {
  const table = document.getElementById("table-main");
  const tools = document.querySelector(".tools[data-for=table-main]");
  const panel = document.getElementById("panel");
  const sorted = table && [...table.tHead.rows[0].cells].find((cell) => cell.hasAttribute("aria-sort"));
  const found = {
    stamp: live.dataset.stamp,
    every: Number(live.dataset.every),
    states: [...live.querySelectorAll(".states .state")].map((one) => one.textContent).join(", "),
    lines: [...live.querySelectorAll(":scope > .note")].map((one) => one.textContent.trim()),
    work: [...live.querySelectorAll(".work article")].map((one) => one.textContent.replace(/\\s+/g, " ").trim()),
    points: [...live.querySelectorAll(".work path")].map((one) => one.getAttribute("d").split("L").length),
    share: [...live.querySelectorAll("progress")].map((one) => one.value),
    caption: table ? document.querySelector("#results .caption").textContent.split(".")[0] : null,
    rows: table ? [...table.tBodies[0].rows].map((row) => row.textContent.match(/row [ab]/)[0]) : [],
    sort: sorted ? sorted.textContent.trim() + " " + sorted.getAttribute("aria-sort") : null,
    open: panel ? panel.open : false,
    panel: panel && panel.open ? document.querySelector("#details h2").textContent : null,
    log: panel && panel.open ? document.getElementById("details").textContent.includes("the last words") : null,
    opened: panel ? [...panel.querySelectorAll("details")].map((one) => one.open) : [],
    top: table ? Math.round(document.getElementById("runs").getBoundingClientRect().top) : null,
    left: Number(name),
    filter: tools ? tools.querySelector("input[type=search]").value : null,
    wide: table ? table.classList.contains("wide") : null,
  };
  say(found);
  if (found.work.length && !name) use(table, tools);
});
const use = (table, tools) => {
  const head = [...table.tHead.rows[0].cells].find((cell) => cell.textContent.trim() === "configuration");
  head.querySelector("button").click();
  head.querySelector("button").click();
  tools.querySelector("input.extras").click();
  const input = tools.querySelector("input[type=search]");
  input.value = "row";
  input.dispatchEvent(new Event("input", { bubbles: true }));
  document.getElementById("runs").scrollIntoView();
  name = String(Math.round(document.getElementById("runs").getBoundingClientRect().top));  // lasts as long as the tab
  location.hash = [...table.tBodies[0].rows].find((row) => row.textContent.includes("row b")).querySelector("a").hash;
};
"""
)


class Watch:
    """A watcher in a thread of its own, which is told to end as Ctrl-C would."""

    def __init__(self, out: Path, folder: Path) -> None:
        self._ended = threading.Event()
        self.looks = 0

        def write(store: Store, page: Callable[[Iterable[str]], bytes], page_only: bool) -> None:
            write_all(store, folder, page=page, page_only=page_only)

        self.keeper = PageKeeper(out, folder / "index.html", 0.2, None, write)
        self.thread = threading.Thread(target=lambda: self.keeper.run(self._pause), daemon=True)

    def _pause(self, seconds: float) -> None:
        self.looks += 1
        if self._ended.wait(min(seconds, 0.2)):
            raise KeyboardInterrupt

    def end(self) -> None:
        self._ended.set()
        self.thread.join()


@contextmanager
def watched(out: Path, folder: Path) -> Iterator[Watch]:
    watch = Watch(out, folder)
    watch.keeper.look()  # so that there is a page to open
    watch.thread.start()
    try:
        yield watch
    finally:
        watch.end()


def next_page(lines: Iterator[str], wanted: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """The next load of the page that is as wanted; nothing but what the harness says may stand on the console."""
    last: object = "the page said nothing"
    for line in lines:
        last = found = told(line)
        assert found is not None, line
        if wanted(found):
            return found
    raise AssertionError(f"the page never came to be so; last: {last}")


def test_the_page_follows_a_run_and_leaves_the_reader_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plain = page_module._file
    monkeypatch.setattr(page_module, "_file", lambda name: plain(name) + (HARNESS if name == "live.js" else ""))
    out, folder = tmp_path / "store", tmp_path / "out"
    with watched(out, folder) as watch, console(folder / "index.html", tmp_path / "profile") as lines:
        nothing = next_page(lines, lambda page: True)
        assert nothing["lines"] == [f"Nothing is there yet: waiting for the store {out}"]

        store = Store.open(out, create=True)
        rows = [add_row(store, "row a", {0: Outcome(10)}), add_row(store, "row b", {0: MISSING})]
        run_id = rows[1].runs[0]
        run_folder = store.run_folder(run_id)
        with store.claim(run_id):
            progress = ProgressFile(run_folder / PROGRESS_FILE)
            curve = MetricsLog(run_folder / METRICS_FILE)
            (run_folder / LOG_FILE).write_text("the last words\n")
            curve.append(1, {"loss": 1.0, "lr": 0.1})
            curve.append(2, {"loss": 0.5, "lr": 0.1})
            progress.update("fit", 0, 8)
            write_grid(store, *rows)
            first = next_page(lines, lambda page: page["work"])
            assert first["states"] == "1 done, 1 running"
            assert first["work"][0].startswith("row b, seed 0 fit 0/8")
            assert (first["points"], first["share"]) == ([2], [0])
            assert first["caption"] == "Preliminary: 1 of 2 runs have ended"
            assert first["rows"] == ["row a", "row b"]
            curve.append(3, {"loss": 0.25, "lr": 0.1})
            progress.update("evaluate", 8, 8)

            later = next_page(lines, lambda page: page["open"] and page["share"] == [1])
            assert (later["points"], later["log"]) == ([3], True)
            assert later["panel"] == "One run"
            assert (later["rows"], later["sort"]) == (["row b", "row a"], "configuration descending")
            assert (later["wide"], later["opened"], later["filter"]) == (True, [True], "row")
            assert later["top"] == later["left"] < first["top"]
        add_row(store, "row b", {0: Outcome(20)})

        last = next_page(lines, lambda page: not page["caption"].startswith("Preliminary"))
        assert (last["states"], last["work"], last["caption"]) == ("2 done", [], "Main results")
        assert (last["rows"], last["open"]) == (["row b", "row a"], True)
        watch.end()
        over = next_page(lines, lambda page: page["every"] == 0)
        assert over["open"]
        assert (folder / "numbers.tex").exists()
