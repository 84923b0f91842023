"""Methods of one's own: refused for what they import, checked, and marked where their code has not passed."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from cli_lab import Bench

from spectral_bench.results.checks import CheckResult, write_check
from spectral_bench.results.store import Store

EXAMPLE = Path(__file__).parents[3] / "examples" / "random_directions.py"
GRID = """\
name: own
defaults: {subset: 4, eval_subset: 2, seeds: [0]}
runs:
  - {method: "mine.py:RandomDirections", params: {k: 4}}
  - {method: kmeans, params: {k: 4, iterations: 2}}
"""


def project(folder: Path, text: str | None = None) -> None:
    (folder / "mine.py").write_text(EXAMPLE.read_text() if text is None else text)
    (folder / "g.yaml").write_text(GRID)


@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_method_that_imports_the_harness_is_refused_before_work_starts(
    command: str, bench: Bench, tmp_path: Path
) -> None:
    project(tmp_path, f"import lookup_of_mine\n{EXAMPLE.read_text()}")
    (tmp_path / "lookup_of_mine.py").write_text("raise AssertionError('executed')\nfrom datasets import open_data\n")
    result = bench(command, "--grid", "g.yaml", "--out", "o")
    assert (result.code, result.out) == (2, "")
    assert "g.yaml:4" in result.err
    assert "lookup_of_mine.py line 2 imports datasets" in result.err
    assert "a method sees patches, never data sets" in result.err
    assert not (tmp_path / "o" / "records").exists()


def rows(bench: Bench) -> dict[str, dict[str, str]]:
    found = csv.DictReader(io.StringIO(bench("report", "--format", "csv", "--out", "o").out))
    return {row["configuration"]: row for row in found if row.get("configuration")}


@pytest.mark.slow
def test_rows_are_marked_until_the_code_that_made_them_has_passed(bench: Bench, tmp_path: Path) -> None:
    project(tmp_path)
    plan = bench("plan", "--grid", "g.yaml", "--out", "o")
    assert "mine.py:RandomDirections has not passed check-method at its present code" in plan.out
    run = bench("run", "--grid", "g.yaml", "--out", "o", "--executor", "inline", "--threads", "1")
    assert run.code == 0, run.err
    store = Store.open(tmp_path / "o")
    checks = {
        Path(record.method).name: record.method_check for run_id in store.runs() if (record := store.fit_record(run_id))
    }
    assert checks["kmeans"] is None
    own = checks["mine.py:RandomDirections"]
    assert own is not None
    assert own.verdict == "not_checked"
    (evaluation,) = next(one for one in store.load_all() if one.fit.method_check).evaluations.values()
    assert evaluation.method_check == own
    assert {name: row["own_code"] for name, row in rows(bench).items()} == {
        "RandomDirections": "not checked",
        "kmeans": "",
    }
    markdown = bench("report", "--out", "o").out
    assert "RandomDirections [‡]" in markdown
    assert "[‡] Code of one's own that has not passed check-method" in markdown

    checked = bench("check-method", "mine.py:RandomDirections", "--set", "k=4", "--out", "o")
    assert checked.code == 0, checked.out
    assert f"checks/{own.code}/" in checked.out
    assert rows(bench)["RandomDirections"]["own_code"] == "passed"  # the very code that ran, so nothing runs again
    assert "‡" not in bench("report", "--out", "o").out
    assert "check-method" not in bench("plan", "--grid", "g.yaml", "--out", "o").out

    broken = CheckResult(
        method="mine.py:RandomDirections",
        code=own.code,
        params={"k": 5},
        device="cpu",
        finished="",
        promises=["labels"],
        broken={"labels": "it looks at labels"},
    )
    write_check(store.path, broken)
    markdown = bench("report", "--out", "o").out
    assert "RandomDirections [§]" in markdown
    assert "broke a promise of check-method; kept out of rankings" in markdown

    (tmp_path / "mine.py").write_text(EXAMPLE.read_text().replace("range(16)", "range(8)").replace(", 16))", ", 8))"))
    plan = bench("plan", "--grid", "g.yaml", "--out", "o")
    assert "has not passed check-method at its present code" in plan.out, "an edit makes other code"


CHANCE = "torch.randn(patches.channels[-1], self.n_clusters)"


@pytest.mark.slow
def test_a_method_whose_fits_differ_fails_for_that_and_no_label_check_is_judged(bench: Bench, tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    drawn = "torch.randn(patches.channels[-1], self.n_clusters, generator=generator)"
    assert drawn in text
    project(tmp_path, text.replace(drawn, CHANCE))
    result = bench("check-method", "mine.py:RandomDirections", "--set", "k=4", "--out", "o")
    assert result.code == 1
    assert "mine.py:RandomDirections: two fits of one seed differ: draw from context.seeds only" in result.out
    assert "5 cannot be judged" in result.out
    assert "behind the harness's back" not in result.out
    assert "looks at labels" not in result.out
    told = [line for line in result.out.splitlines() if line.startswith("?")]
    assert len(told) == 5
    assert all("cannot be judged: two fits of one seed differ" in line for line in told)
    kept = [json.loads(path.read_text()) for path in (tmp_path / "o" / "checks").rglob("*.json")]
    assert [one["broken"]["determinism"] for one in kept] == [
        "two fits of one seed differ: draw from context.seeds only"
    ]
    assert kept[0]["broken"]["labels"] == "cannot be judged: two fits of one seed differ"


def test_a_folder_that_is_no_store_is_refused_before_the_check(bench: Bench, tmp_path: Path) -> None:
    project(tmp_path)
    result = bench("check-method", "mine.py:RandomDirections", "--out", ".")
    assert result.code == 2
    assert "neither empty nor a store" in result.err
