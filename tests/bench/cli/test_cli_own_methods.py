"""Methods of one's own: refused for what they import, checked, and marked where their code has not passed."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from cli_lab import Bench
from PIL import Image

from spectral_bench.common.errors import WorkFailed
from spectral_bench.methods.errors import NumericalError
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


LINE = "scores = batch.features[-1] @ self.directions.to(batch.pixels.device)"


def photographs(folder: Path) -> Path:
    (folder / "photos").mkdir()
    for name in ("a", "b"):
        Image.effect_noise((64, 64), 80).convert("RGB").save(folder / "photos" / f"{name}.png")
    return folder / "photos"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (EXAMPLE.read_text().replace(LINE, "raise KeyError('lost\\nand more')"), "KeyError: 'lost\\nand more'"),
        (EXAMPLE.read_text().replace(LINE, "raise ValueError('a\\nb')"), "ValueError: a"),
        (EXAMPLE.read_text().replace(LINE, "scores = aid.scores()"), "RuntimeError: of aid"),
        (EXAMPLE.read_text().replace(LINE, "raise AssertionError"), "AssertionError"),
    ],
)
def test_what_a_method_raises_is_one_line_with_its_place(bench: Bench, tmp_path: Path, text: str, says: str) -> None:
    project(tmp_path, text.replace("\nimport torch\n", "\nimport aid\nimport torch\n"))
    (tmp_path / "aid.py").write_text("def scores():\n    raise RuntimeError('of aid')\n")
    at = "aid.py, line 2" if "aid" in says else f"mine.py, line {line_of(tmp_path / 'mine.py', 'raise')}"
    given = ["cluster", photographs(tmp_path), "--to", "m", "--method", "mine.py:RandomDirections", "--size", 64]
    result = bench(*given)
    place = f"({tmp_path}/{at}); --debug shows the traceback"
    assert result.errors == [f"error: method mine.py:RandomDirections: {says} {place}"]
    assert (result.code, result.out, (tmp_path / "m").exists()) == (1, "", False)
    with pytest.raises(WorkFailed) as raised:
        bench(*given, "--debug")
    assert type(raised.value.__cause__).__name__ == says.partition(":")[0]


def line_of(path: Path, text: str) -> int:
    return next(number for number, line in enumerate(path.read_text().splitlines(), 1) if text in line)


def test_what_a_method_gives_that_is_no_use_is_its_failure(bench: Bench, tmp_path: Path) -> None:
    project(tmp_path, EXAMPLE.read_text().replace("return scores.permute(0, 3, 1, 2)", "return self.last(scores)"))
    with (tmp_path / "mine.py").open("a") as file:
        file.write("\n    def last(self, scores):\n        self.seen = getattr(self, 'seen', 0) + 1\n")
        file.write("        return scores.permute(0, 3, 1, 2) if self.seen < 3 else None\n")
    result = bench("cluster", photographs(tmp_path), "--to", "m", "--method", "mine.py:RandomDirections", "--size", 64)
    assert (result.code, len(result.errors)) == (1, 1)
    assert result.errors[0].startswith("error: method mine.py:RandomDirections: AttributeError: 'NoneType' object")


def test_what_it_raises_at_a_prediction_is_one_line(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = EXAMPLE.read_text().replace(LINE, f"if 'BREAK' in os.environ: raise ValueError('later')\n        {LINE}")
    project(tmp_path, text.replace("\nimport torch\n", "\nimport os\nimport torch\n"))
    (tmp_path / "g.yaml").write_text(GRID.replace("  - {method: kmeans, params: {k: 4, iterations: 2}}\n", ""))
    run = bench("run", "--grid", "g.yaml", "--out", "o", "--executor", "inline", "--threads", "1")
    assert run.code == 0, run.err
    (run_id,) = Store.open(tmp_path / "o").runs()
    monkeypatch.setenv("BREAK", "1")
    result = bench("predict", run_id, photographs(tmp_path), "--to", "m", "--out", "o")
    place = f"({tmp_path}/mine.py, line {line_of(tmp_path / 'mine.py', 'later')})"
    told = f"error: method {tmp_path}/mine.py:RandomDirections: ValueError: later {place}; --debug shows the traceback"
    assert (result.code, result.errors) == (1, [told])


def test_a_method_that_ships_and_cannot_be_fitted_is_one_line(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(self: object, source: object, *, context: object) -> None:
        raise NumericalError("level 0: not finite")

    monkeypatch.setattr("spectral_bench.methods.kmeans.KMeans.fit", fit)
    given = ["--to", "m", "--method", "kmeans", "--size", 64, "--k", 2]
    result = bench("cluster", photographs(tmp_path), *given)
    assert (result.code, len(result.errors)) == (1, 1)
    assert result.errors[0].startswith("error: method kmeans: NumericalError: level 0: not finite (")
