"""``docs/columns.md`` names the columns and keys that commands write: all of them, and no others."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "reports"))  # for report_samples

from cli_lab import Bench
from plan_lab import SMALL, Lab
from report_samples import Outcome, add_row, make_store, outcomes, write_grid

from spectral_bench.reports.ablation_table import ablation_tables
from spectral_bench.reports.against_table import against_table
from spectral_bench.reports.collect import collect
from spectral_bench.reports.cost_table import cost_table
from spectral_bench.reports.health_table import health_table
from spectral_bench.reports.main_table import main_table
from spectral_bench.reports.overview_table import overview_table
from spectral_bench.reports.per_class_table import per_class_tables
from spectral_bench.reports.published.table import published_table
from spectral_bench.reports.renderers.csv import render_csv
from spectral_bench.reports.rows import ScoredRow
from spectral_bench.reports.settings import SETTING_COLUMNS
from spectral_bench.reports.table import Table
from spectral_bench.results.published import load_published
from spectral_bench.results.record import HealthCheck
from spectral_bench.results.specification import Protocol, Scoring

PAGE = Path(__file__).parents[3] / "docs" / "columns.md"
SETTINGS = [column.key for column in SETTING_COLUMNS]
END = ["state", "notes", "runs"]
PLACEHOLDERS = {"STAGE": r"[a-z_]+", "CHECK": r"(?!passed)[a-z_]+", "NUMBER": r"\d+", "TITLE": r".+"}
PROTOCOLS = [
    Protocol(name="whole", view={"dataset": "synthetic", "split": "val"}, scoring=Scoring(matching=matching))
    for matching in ("iou", "majority")
]


def told(heading: str) -> list[str]:
    """The names in the first cells of the tables under a heading, up to the next one."""
    section = re.split(r"^#+ ", PAGE.read_text(encoding="utf-8").partition(f"# {heading}\n")[2], flags=re.MULTILINE)[0]
    cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def unlike(names: Iterable[str], written: Iterable[str]) -> list[str]:
    """The names that stand for nothing that is written, and what is written that no name stands for."""
    names, written = list(names), list(written)
    patterns = {name: re.compile(re.sub("|".join(PLACEHOLDERS), lambda m: PLACEHOLDERS[m[0]], name)) for name in names}
    plain = set(names) & set(written)
    loose = [text for text in written if text not in plain]
    unused = [name for name in names if name not in plain and not any(map(patterns[name].fullmatch, loose))]
    return [*unused, *(text for text in loose if not any(one.fullmatch(text) for one in patterns.values()))]


def header(table: Table | None) -> list[str]:
    assert table is not None
    return render_csv(table).splitlines()[0].split(",")


def _called_by_text(entry: ScoredRow) -> ScoredRow:
    """As if a pass over the images had called its clusters by text."""
    return replace(entry, seeds=tuple(replace(result, called=result.evaluation) for result in entry.seeds))


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, list[str]]:
    """The columns of each table of a small store, without those that close a row."""
    store = make_store(tmp_path)
    check = HealthCheck(name="orthogonality_error", value=0.1, passed=True)
    base = {0: Outcome(10, health=[check], health_s=1.0), 1: Outcome(20, health=[check], health_s=1.0)}
    write_grid(
        store,
        add_row(store, "base", base, protocols=PROTOCOLS, role="baseline"),
        add_row(store, "k=2", outcomes(10, 20), protocols=PROTOCOLS, role="variation", factor="k", value=2),
        add_row(store, "other", outcomes(10, 20), protocols=PROTOCOLS),
    )
    entries = collect(store)
    found = {
        "main": main_table(entries, lambda entry: None),
        "ablation-GRID": ablation_tables(entries)[0],
        "against": against_table(entries, ["base"]),
        "costs": cost_table([_called_by_text(entry) for entry in entries]),
        "health": health_table(entries),
        "per-class": per_class_tables(entries)[0],
        "overview": overview_table(entries),
        "published": published_table(entries, load_published(), ["all"]),
    }
    columns = {name: header(table) for name, table in found.items()}
    assert all(names[-3:] == END for names in columns.values())
    return {name: names[:-3] for name, names in columns.items()}


def test_the_settings_and_the_end_of_a_row() -> None:
    assert sorted(told("Settings")) == sorted(SETTINGS)
    assert told("End of each row") == END


@pytest.mark.parametrize("name", ["main", "ablation-GRID", "against", "costs", "health"])
def test_tables_with_all_settings(tables: dict[str, list[str]], name: str) -> None:
    written = tables[name]
    assert set(SETTINGS) <= set(written)
    assert not unlike(told(name), [column for column in written if column not in SETTINGS])


def test_tables_of_another_form(tables: dict[str, list[str]]) -> None:
    shared = PAGE.read_text(encoding="utf-8").partition("stand in front:")[2].partition("\n\n")[0]
    in_front = re.findall(r"`(\w+)`", shared)
    assert not unlike([*in_front, *told("per-class")], tables["per-class"])
    assert not unlike(told("overview"), tables["overview"])
    assert sorted(told("published")) == sorted(tables["published"])


def test_json_of_status_and_plan(bench: Bench, lab: Lab) -> None:
    lab.store.write_manifest(lab.plan(SMALL).manifest)
    status = json.loads(bench("status", "--out", lab.out, "--json").out)
    assert sorted(told("status --json")) == sorted(status[0])
    plan = json.loads(bench("plan", "--grid", lab.write(SMALL), "--out", lab.out, "--json").out)
    assert sorted(told("plan --json")) == sorted(plan)
    assert sorted(told("runs")) == sorted(plan["runs"][0])
    assert sorted(told("caches")) == sorted(plan["caches"][0])


def test_json_of_a_report_has_the_columns_of_main(bench: Bench, tmp_path: Path, tables: dict[str, list[str]]) -> None:
    report = json.loads(bench("report", "--out", tmp_path / "store", "--json").out)
    images = [name for name in tables["main"] if name.startswith("mIoU_images")]
    assert list(report[0]) == [name for name in [*tables["main"], *END, "params"] if name not in images]
    front = PAGE.read_text(encoding="utf-8").partition("## Settings")[0]
    assert "last comes `params`" in front


@pytest.mark.parametrize(
    ("names", "written", "found"),
    [
        (["a", "fit_STAGE_s"], ["a", "fit_graph_s"], []),
        (["a"], ["a", "b"], ["b"]),
        (["a", "b"], ["a"], ["b"]),
        (["NUMBER: TITLE_std"], ["1: kmeans"], ["NUMBER: TITLE_std", "1: kmeans"]),
    ],
)
def test_a_planted_difference_is_found(names: list[str], written: list[str], found: list[str]) -> None:
    assert unlike(names, written) == found
