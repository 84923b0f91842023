"""pdfLaTeX sets what the renderers write: every kind of table, and the macros of numbers, in one document."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from report_samples import AGAINST_PUBLISHED, FAILED, VIEW, WHOLE, Outcome, add_row, make_store, outcomes, write_grid
from test_latex import HUGE, TABLE

from spectral_bench.reports import render
from spectral_bench.reports.api import all_tables
from spectral_bench.reports.collect import collect
from spectral_bench.reports.published.table import published_table
from spectral_bench.reports.renderers.macros import render_macros
from spectral_bench.reports.table import Table
from spectral_bench.results.published import load_published
from spectral_bench.results.record import HealthCheck
from spectral_bench.results.specification import Protocol, Scoring

pytestmark = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")


def pdflatex(document: str, folder: Path) -> tuple[int, str]:
    """The exit code, and what was said."""
    (folder / "t.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=300)
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> list[Table]:
    """Every kind of table: two data sets, an ablation, failures, checks, long names, unlike hardware."""
    store = make_store(tmp_path_factory.mktemp("rich"))
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
    return all_tables(collect(write_grid(store, *rows)))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> list[Table]:
    """Published numbers of one data set and of all, below measured ones."""
    store = make_store(tmp_path_factory.mktemp("published"))
    rows = [
        add_row(store, title, outcomes(*wrong), protocols=AGAINST_PUBLISHED, dataset="cityscapes")
        for title, wrong in (("good", (1, 2, 1, 2, 1)), ("bad", (70, 71, 70, 71, 72)))
    ]
    entries = collect(write_grid(store, *rows))
    return [published_table(entries, load_published(), datasets) for datasets in ([], ["all"])]


@pytest.mark.slow
def test_every_table_compiles_without_a_warning(measured: list[Table], published: list[Table], tmp_path: Path):
    """Each on a page of its own, under the head that it has in a document of its own."""
    kinds = {table.name.split("-")[0] for table in measured}
    assert kinds == {"main", "overview", "ablation", "costs", "per", "health"}
    tables = [TABLE, Table("empty", "Nothing.", (), ()), HUGE, *measured, *published]
    head, end = (part for part in render(TABLE, "standalone").split(render(TABLE, "latex")))
    assert head.endswith("\\begin{document}\n")
    assert end == "\\end{document}\n"
    texts = [render(table, "latex") for table in tables]
    assert [render(table, "standalone") for table in tables] == [head + text + end for text in texts]
    pages = [f"\\typeout{{Here: {number}}}\n{text}\\clearpage\n" for number, text in enumerate(texts)]
    code, said = pdflatex(head + "".join(pages) + end, tmp_path)
    assert code == 0, said[-3000:]
    assert (tmp_path / "t.pdf").exists()
    for number, part in enumerate(re.split(r"Here: \d+", said)[1:]):
        for trouble in ("Overfull", "Float too large", "Undefined", "Too many"):
            assert trouble not in part, tables[number].name
    assert said.count("Here: ") == len(tables)


def test_one_table_compiles_alone(tmp_path: Path):
    code, said = pdflatex(render(HUGE, "standalone"), tmp_path)
    assert code == 0, said[-3000:]
    assert "Overfull" not in said


def test_numbers_can_be_named_in_a_document_and_an_unknown_name_is_an_error(measured: list[Table], tmp_path: Path):
    macros = render_macros(measured)
    names = re.findall(r"csname bench:([^#]\S*?)\\endcsname", macros)
    assert len(names) == len(set(names)) > 100
    (tmp_path / "numbers.tex").write_text(macros)
    body = "\n".join(rf"\benchnumber{{{name}}}" for name in names)
    text = rf"\documentclass{{article}}\input{{numbers}}\begin{{document}}\raggedright {body} SAID\end{{document}}"
    code, said = pdflatex(text.replace("SAID", ""), tmp_path)
    assert code == 0, said[-2000:]
    code, said = pdflatex(text.replace("SAID", r"\benchnumber{main/nobody/miou}"), tmp_path)
    assert code != 0
    assert "main/nobody/miou" in said
