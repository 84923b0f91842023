"""bench compare: exit codes for CI, forms of references, JSON, and bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_lab import TABLE, Bench
from plan_lab import SMALL, Lab, evaluation_record, failure, fit_record

from spectral_bench.results.contingency import Contingency, ContingencyBuilder

FIVE = SMALL.replace("[0, 1]", "[0, 1, 2, 3, 4]")


def counts(wrong: int) -> Contingency:
    """A hundred pixels of each of two classes, ``wrong`` of them in the other's cluster."""
    clusters = np.repeat([0, 1], 100).reshape(2, 100)
    labels = clusters.copy()
    labels[:, :wrong] = 1 - labels[:, :wrong]
    builder = ContingencyBuilder(8, 2)
    builder.add("a", clusters, labels)
    return builder.build()


def fill(folder: Path, text: str, wrong: int, *, fails: bool = False) -> Lab:
    folder.mkdir(exist_ok=True)
    lab = Lab(folder)
    plan = lab.plan(text)
    lab.store.write_manifest(plan.manifest)
    for run in plan.runs:
        status: dict[str, Any] = {"status": "failed", "failure": failure()} if fails else {}
        lab.store.write_fit(fit_record(run.spec, **status))
        if not fails:
            facts = {"n_raw_labels": 2, "class_sets": {"2": TABLE}, "default_classes": "2"}
            record = evaluation_record(run.spec, run.views[0], **facts)
            lab.store.write_evaluation(record, counts(wrong + run.spec.seed))
    return lab


def test_equal_stores_exit_0(bench: Bench, tmp_path: Path) -> None:
    a, b = fill(tmp_path / "a", FIVE, 10), fill(tmp_path / "b", FIVE, 10)
    result = bench("compare", a.out, b.out)
    assert (result.code, result.err) == (0, "")
    assert "4 cells of 2 rows: 4 same" in result.out
    assert result.out.endswith("nothing changed beyond noise and tolerance\n")


def test_a_change_beyond_noise_exits_1_with_the_cells(bench: Bench, tmp_path: Path) -> None:
    a, b = fill(tmp_path / "a", FIVE, 10), fill(tmp_path / "b", FIVE, 20)
    result = bench("compare", a.out, b.out)
    assert result.code == 1
    assert result.out.splitlines()[0].split()[:4] == ["verdict", "row", "protocol", "metric"]
    assert result.out.count("worse") == 4 + 1
    assert "-10.00 [-10.00, -10.00]" in result.out
    assert result.out.endswith("4 changed\n")
    assert bench("compare", a.out, b.out, "--tolerance", "20").code == 0


def test_few_seeds_make_no_claim_unless_every_difference_counts(bench: Bench, tmp_path: Path) -> None:
    a, b = fill(tmp_path / "a", SMALL, 10), fill(tmp_path / "b", SMALL, 20)
    result = bench("compare", a.out, b.out)
    assert result.code == 0
    assert "no claim: 2 of 5 seeds" in result.out
    assert bench("compare", a.out, b.out, "--exact").code == 1
    assert bench("compare", a.out, b.out, "--exact", "--tolerance", "20").code == 0


def test_a_run_that_fails_now_is_a_change(bench: Bench, tmp_path: Path) -> None:
    a, b = fill(tmp_path / "a", SMALL, 10), fill(tmp_path / "b", SMALL, 10, fails=True)
    result = bench("compare", a.out, b.out)
    assert result.code == 1
    assert "done in A, failed in B" in result.out


def test_two_grids_of_one_store_and_folder_with_grid(bench: Bench, tmp_path: Path) -> None:
    lab = fill(tmp_path / "a", SMALL, 10)
    other = lab.plan(SMALL.replace("name: small", "name: other"))
    lab.store.write_manifest(other.manifest)
    assert bench("compare", "small", "other", "--out", lab.out).code == 0
    assert bench("compare", f"{lab.out}:small", f"{lab.out}:other").code == 0
    assert bench("compare", lab.out, lab.folder / "g.yaml", "--out", lab.out).code == 0


def test_rows_on_one_side_only_are_named_and_count_on_request(bench: Bench, tmp_path: Path) -> None:
    a = fill(tmp_path / "a", SMALL, 10)
    b = fill(tmp_path / "b", SMALL.replace("[last, last_l2]", "[last, last_l2, all_standardised_l2]"), 10)
    result = bench("compare", a.out, b.out)
    assert result.code == 0
    assert "only in B: kmeans, input=all_standardised_l2 (synthetic, whole)" in result.out
    assert bench("compare", a.out, b.out, "--strict").code == 1


def test_json(bench: Bench, tmp_path: Path) -> None:
    a, b = fill(tmp_path / "a", FIVE, 10), fill(tmp_path / "b", FIVE, 20)
    result = bench("compare", a.out, b.out, "--json")
    told = json.loads(result.out)
    assert (result.code, told["changed"], told["counts"]) == (1, True, {"worse": 4})
    (cell, *_) = told["cells"]
    assert (cell["metric"], cell["word"], cell["a"]["n"], cell["difference"]["n"]) == ("mIoU", "worse", 5, 5)
    assert cell["p"] < 1e-5
    assert (told["only_a"], told["only_b"]) == ([], [])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing", "a/out"], "nothing: no such folder"),
        (["a", "a/out"], "expected a store of results"),
        (["a/out", "a/out:smal"], 'unknown grid "smal"; did you mean "small"?'),
        (["a/out", "a/out", "--protocol", "hole"], 'did you mean "whole"?'),
        (["a/out", "a/out", "--matching", "hungarain"], 'did you mean "hungarian"?'),
        (["a/out", "a/out", "--tolerance", "-1"], "tolerance"),
        (["a/out", "c/out"], "have no row in common"),
    ],
)
def test_bad_input_exits_2(bench: Bench, tmp_path: Path, arguments: list[str], says: str) -> None:
    fill(tmp_path / "a", SMALL, 10)
    fill(tmp_path / "c", "name: c\nruns: [{method: kmeans, name: alone, params: {k: 3}, subset: 5}]\n", 10)
    result = bench("compare", *arguments)
    assert (result.code, result.out) == (2, "")
    assert len(result.errors) == 1
    assert says in result.err
