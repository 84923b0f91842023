from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from report_samples import FAILED, VIEW, WHOLE, Outcome, add_row, outcomes, write_grid

from spectral_bench.common.errors import StoreError
from spectral_bench.reports import render, write_all
from spectral_bench.reports.api import all_tables
from spectral_bench.reports.collect import collect
from spectral_bench.reports.renderers.macros import render_macros
from spectral_bench.results.record import HealthCheck
from spectral_bench.results.specification import Protocol, Scoring
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


@pytest.fixture
def rich(store: Store) -> Store:
    """What gives every kind of table: two data sets, an ablation, failures, checks, long names, unlike hardware."""
    city = Protocol(name="whole", view=VIEW.model_copy(update={"dataset": "cityscapes"}), scoring=Scoring())
    checks = [HealthCheck(name="orthogonality_error_of_the_functions", value=0.5, limit=0.1, passed=False, note="far")]
    rows = []
    for method in ("k_means", "Nyström & 方", "neuralef, with a rather long name of its own"):
        for dataset, protocol in (("synthetic", WHOLE), ("cityscapes", city)):
            seeds = {seed: Outcome(10 + len(method) + seed, health=checks, peak_device=10**9) for seed in range(5)}
            seeds[5] = FAILED if dataset == "synthetic" else Outcome(30, environment={"cpu": "Some [other] CPU"})
            settings = {"dataset": dataset, "backbone": "vit_small_patch16_384"}
            title = f"{method}, dataset={dataset}"
            own = {"protocols": [protocol], "dataset": dataset, "settings": settings}
            rows.append(add_row(store, title, seeds, method=method, backbone="vit_small_patch16_384", **own))
    rows += [
        add_row(store, "base_line", outcomes(10, 12), role="baseline", settings={"k": 8}),
        add_row(store, "k=4", {0: Outcome(20), 1: FAILED}, role="variation", factor="k", value=4),
    ]
    return write_grid(store, *rows)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_every_table_compiles_alone_without_an_overfull_box(rich: Store, tmp_path: Path):
    tables = all_tables(collect(rich))
    kinds = {table.name.split("-")[0] for table in tables}
    assert kinds == {"main", "overview", "ablation", "costs", "per", "health"}
    for table in tables:
        document = tmp_path / f"{table.name}.tex"
        document.write_text(render(table, "standalone"), encoding="utf-8")
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", document.name]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120)
        assert done.returncode == 0, done.stdout[-2000:]
        assert "Overfull" not in done.stdout, document.name


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_numbers_can_be_named_in_a_document(rich: Store, tmp_path: Path):
    macros = render_macros(all_tables(collect(rich)))
    names = re.findall(r"csname bench:([^#]\S*?)\\endcsname", macros)
    assert len(names) == len(set(names)) > 100
    body = "\n".join(rf"\benchnumber{{{name}}}" for name in names)
    (tmp_path / "numbers.tex").write_text(macros)
    text = rf"\documentclass{{article}}\input{{numbers}}\begin{{document}}\raggedright {body}\end{{document}}"
    (tmp_path / "prose.tex").write_text(text)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "prose.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
