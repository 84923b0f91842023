"""``bench report --all DIR --watch``: what it writes when, how it ends, and what it refuses."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_lab import Bench, Launcher
from plan_lab import SMALL, Lab

from spectral_bench.bench.cli import watch
from spectral_bench.common.errors import StoreError
from spectral_bench.reports.html.live import HOLE
from spectral_bench.results.store import Store

Steps = Callable[..., None]


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """Sets what happens between the looks, one after the other; after the last of it comes Ctrl-C."""

    def steps(*given: Callable[[], object]) -> None:
        left: Iterator[Callable[[], object]] = iter(given)

        def wait(seconds: float) -> None:
            for step in left:
                step()
                return
            raise KeyboardInterrupt

        monkeypatch.setattr(watch, "wait", wait)

    return steps


def text_of(page: Path) -> str:
    """The part of the page that tells what is going on, as a reader sees it."""
    found = re.search(r'<section id="live".*?</section>', page.read_text(), re.DOTALL)
    assert found is not None
    return " ".join(re.sub(r"<script.*?</script>|<[^>]*>", " ", found[0], flags=re.DOTALL).split())


def test_a_store_that_appears_later_is_reported_and_ctrl_c_is_no_failure(
    bench: Bench, launch: Launcher, lab: Lab, between: Steps
) -> None:
    page = lab.folder / "rep" / "index.html"
    seen: list[str] = []
    between(
        lambda: seen.append(text_of(page)),
        lambda: Store.open(lab.out, create=True),
        lambda: seen.append(text_of(page)),
        lambda: launch(SMALL),
    )
    result = bench("report", "--all", page.parent, "--watch", "--out", lab.out, "--no-gallery")
    assert (result.code, result.err) == (0, "")
    assert "Nothing is there yet: waiting for the store" in seen[0]
    assert "again every 10 s" in seen[0]
    assert "Waiting for a grid: none was launched" in seen[1]
    assert "4 done" in text_of(page)
    assert "not kept up to date any more" in text_of(page)
    assert "Preliminary" not in page.read_text()
    assert (page.parent / "numbers.tex").exists()
    assert "4 runs: 4 done" in result.out


def test_tables_are_made_anew_only_when_results_change(launch: Launcher, lab: Lab, between: Steps) -> None:
    launch(SMALL)
    made: list[bool] = []
    page = lab.folder / "index.html"

    def write(store: Store, frame: Any, page_only: bool) -> None:
        made.append(page_only)
        page.write_bytes(frame([HOLE]))

    run_id = lab.store.runs()[0]
    keeper = watch.PageKeeper(lab.out, page, 1.0, None, write)

    def evaluated_again() -> None:
        keeper._ready = 0.0
        (file,) = (lab.store.run_folder(run_id) / "evaluations").glob("*.json")
        file.write_bytes(file.read_bytes() + b"\n")

    between(lambda: None, lambda: None, evaluated_again, lambda: None)
    keeper.run()
    assert made == [False, False]


def test_runs_at_work_make_the_page_preliminary(bench: Bench, launch: Launcher, lab: Lab, between: Steps) -> None:
    launch(SMALL)
    page = lab.folder / "rep" / "index.html"
    run_id = lab.store.runs()[0]
    lab.store.discard(run_id)
    seen: list[str] = []
    between(lambda: seen.append(page.read_text()))
    with lab.store.claim(run_id):
        assert bench("report", "--all", page.parent, "--watch", "1", "--out", lab.out, "--no-gallery").code == 0
    assert "Preliminary: 3 of 4 runs have ended." in seen[0]
    assert "starting" in text_of(page)
    assert [path.name for path in page.parent.iterdir()] == ["index.html"]


def test_a_store_that_fails_for_a_while_is_warned_of_once(
    bench: Bench, launch: Launcher, lab: Lab, between: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch(SMALL)

    def lost(*given: Any) -> Any:
        raise StoreError("records: stale file handle")

    between(lambda: monkeypatch.setattr(watch, "runs_of_store", lost), lambda: None)
    result = bench("report", "--all", lab.folder / "rep", "--watch", "--out", lab.out, "--no-gallery")
    assert result.code == 0
    assert result.err == "warning: records: stale file handle; the page stays as it is, and is tried again\n"
    result = bench("report", "--all", lab.folder / "rep", "--watch", "--out", lab.out)
    assert (result.code, result.err) == (2, "error: records: stale file handle\n")


def test_fits_alone_have_a_page_too(bench: Bench, launch: Launcher, lab: Lab, between: Steps) -> None:
    launch(f"{SMALL}protocols: []\n")
    between()
    assert bench("report", "--all", "rep", "--watch", "--out", lab.out).code == 0
    assert "nothing to score" in text_of(Path("rep/index.html"))


def test_bad_input_is_told_before_anything_is_written(bench: Bench, launch: Launcher, lab: Lab, between: Steps) -> None:
    between()
    store = ["--out", lab.out]
    assert "say which: --all DIR --watch" in bench("report", "--watch", *store).err
    assert "give --json in a command of its own" in bench("report", "--all", "rep", "--watch", "--json", *store).err
    assert "--per-run runs.csv: writes runs" in bench("report", "--watch", "5", "--per-run", "runs.csv", *store).err
    assert bench("report", "--all", "rep", "--watch", "0.5", *store).code == 2
    launch(SMALL)
    result = bench("report", "smal", "--all", "rep", "--watch", *store)
    assert (result.code, 'unknown grid "smal"; did you mean "small"?' in result.err) == (2, True)
    assert not Path("rep").exists()
    other = lab.folder / "other.yaml"
    other.write_text("name: later\n")
    assert bench("report", other, "--all", "rep", "--watch", *store).code == 0  # a file: it may be launched yet
    assert "Waiting for the grid later" in text_of(Path("rep/index.html"))
