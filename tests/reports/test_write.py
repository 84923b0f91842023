from __future__ import annotations

import re
from pathlib import Path

import pytest
from report_samples import FAILED, Outcome, add_row, outcomes, write_grid

from spectral_bench.common.errors import StoreError
from spectral_bench.reports import write_all
from spectral_bench.results.store import Store


@pytest.fixture
def filled(store: Store) -> Store:
    rows = [
        add_row(store, "base_line", outcomes(10, 12), role="baseline", settings={"k": 8}),
        add_row(store, "k=4", {0: Outcome(20), 1: FAILED}, role="variation", factor="k", value=4),
    ]
    return write_grid(store, *rows)


def test_everything_is_written_and_indexed(filled: Store, tmp_path: Path):
    steps: list[tuple[str, int, int]] = []
    paths = write_all(filled, tmp_path / "out", progress=lambda *step: steps.append(step))
    names = {str(path.relative_to(tmp_path / "out")) for path in paths}
    assert {"index.html", "index.md", "numbers.tex", "tables/main.csv", "tables/main.tex"} <= names
    assert {"tables/ablation-example-standalone.tex", "tables/costs.md", "figures/stages-1.pdf"} <= names
    assert all(path.stat().st_size > 0 for path in paths)
    assert [number for _, number, _ in steps] == list(range(1, len(paths) + 1))
    assert {total for *_, total in steps} == {len(paths)}
    index = (tmp_path / "out" / "index.md").read_text()
    linked = re.findall(r"\]\(([^)]*)\)", index)
    assert set(linked) | {"index.md"} == names
    assert paths[-1].name == "index.html"
    assert "data:image/svg+xml" in (tmp_path / "out" / "index.html").read_text()


@pytest.mark.slow
def test_the_same_store_gives_the_same_bytes(filled: Store, tmp_path: Path):
    first, second = (write_all(filled, tmp_path / name) for name in ("one", "two"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_an_empty_store_writes_nothing(store: Store, tmp_path: Path):
    with pytest.raises(StoreError, match="no results yet"):
        write_all(store, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_store_of_failures_is_reported_too(store: Store, tmp_path: Path):
    write_grid(store, add_row(store, "a", {0: FAILED}))
    names = {path.name for path in write_all(store, tmp_path / "out")}
    assert "main.csv" in names
    assert not {name for name in names if name.endswith(".png")}
